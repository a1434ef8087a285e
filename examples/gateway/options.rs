//! What is asked for on the command line; whatever is wrong is told with what would be right.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use http::{HeaderName, Uri};
use traffik::Rate;
use traffik::http::Dialect;
use traffik::storage::WhenFull;

/// A reverse proxy that limits what passes through it.
#[derive(Clone, Debug, Parser)]
#[command(name = "gateway")]
pub(crate) struct Options {
    /// Where to listen; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub(crate) listen: SocketAddr,

    /// Where to send admitted requests, such as http://127.0.0.1:3000; without it they are answered "ok".
    #[arg(long, value_name = "URL", value_parser = upstream)]
    pub(crate) upstream: Option<Uri>,

    /// How much is allowed in how long, such as 100/min. Several are one limit: all admit or none is charged.
    #[arg(long, value_name = "RATE", default_value = "10/10s")]
    pub(crate) rate: Vec<Rate>,

    /// fixed-window, token-bucket[:burst=150][,debt=50], gcra[:burst=10], or gcra:tolerance=500ms.
    #[arg(long, value_name = "SPEC", default_value = "fixed-window")]
    pub(crate) strategy: StrategySpec,

    /// memory: or memory:capacity=100000,full=evict|refuse.
    #[arg(long, value_name = "URL", default_value = "memory:")]
    pub(crate) storage: StorageSpec,

    /// Whom to count for: peer, or header:NAME. Several are combined.
    #[arg(long, value_name = "KEY", default_value = "peer")]
    pub(crate) key: Vec<KeySpec>,

    /// How clients are told where they stand.
    #[arg(long, value_name = "DIALECT", value_enum, default_value_t = Headers::Draft10)]
    pub(crate) headers: Headers,
}

/// A header dialect by its name.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Headers {
    Draft10,
    Draft07,
    XRatelimit,
    None,
}

impl From<Headers> for Dialect {
    fn from(headers: Headers) -> Self {
        match headers {
            Headers::Draft10 => Self::Draft10,
            Headers::Draft07 => Self::Draft07,
            Headers::XRatelimit => Self::XRateLimit,
            Headers::None => Self::None,
        }
    }
}

/// What a client is counted by.
#[derive(Clone, Debug)]
pub(crate) enum KeySpec {
    Peer,
    Header(HeaderName),
}

impl FromStr for KeySpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "peer" => Ok(Self::Peer),
            Some(("header", name)) => {
                let name = name
                    .parse()
                    .map_err(|_| format!("{name:?} is no name of a header; write header:x-api-key"))?;
                Ok(Self::Header(name))
            }
            _ => Err("the keys are peer and header:NAME".to_owned()),
        }
    }
}

/// A strategy and its parameters.
#[derive(Clone, Copy, Debug)]
pub(crate) enum StrategySpec {
    FixedWindow,
    TokenBucket { burst: Option<u32>, debt: u32 },
    Gcra { burst: Option<u32>, tolerance: Option<Duration> },
}

impl FromStr for StrategySpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, parameters) = text.split_once(':').unwrap_or((text, ""));
        let mut parameters = Parameters::parse(name, parameters)?;
        let spec = match name {
            "fixed-window" => Self::FixedWindow,
            "token-bucket" => Self::TokenBucket {
                burst: parameters.take("burst", WHOLE)?,
                debt: parameters.take("debt", WHOLE)?.unwrap_or(0),
            },
            "gcra" => {
                let (burst, tolerance) = (
                    parameters.take("burst", WHOLE)?,
                    parameters.take::<Period>("tolerance", "a time such as 500ms")?,
                );
                if burst.is_some() && tolerance.is_some() {
                    return Err("burst and tolerance say the same thing; give gcra one of them".to_owned());
                }
                Self::Gcra { burst, tolerance: tolerance.map(|period| period.0) }
            }
            _ => return Err("the strategies are fixed-window, token-bucket and gcra".to_owned()),
        };
        parameters.finish(match name {
            "token-bucket" => "burst and debt",
            "gcra" => "burst or tolerance",
            _ => "none",
        })?;
        Ok(spec)
    }
}

/// Where states are kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StorageSpec {
    pub(crate) capacity: usize,
    pub(crate) when_full: WhenFull,
}

impl FromStr for StorageSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Some(("memory", parameters)) = text.split_once(':') else {
            return Err("the storages are memory: and memory:capacity=100000,full=evict|refuse".to_owned());
        };
        let mut parameters = Parameters::parse("memory", parameters)?;
        let capacity = parameters.take::<u32>("capacity", WHOLE)?.unwrap_or(100_000);
        if capacity == 0 {
            return Err("capacity is 0, which holds nobody; write at least 1".to_owned());
        }
        let when_full = match parameters.take::<String>("full", "evict or refuse")?.as_deref() {
            None | Some("evict") => WhenFull::Evict,
            Some("refuse") => WhenFull::Refuse,
            Some(other) => return Err(format!("full={other} is unknown; write full=evict or full=refuse")),
        };
        parameters.finish("capacity and full")?;
        Ok(Self { capacity: capacity as usize, when_full })
    }
}

const WHOLE: &str = "a whole number up to 4294967295";

/// `name=value` pairs separated by commas.
struct Parameters<'a> {
    of: &'a str,
    values: HashMap<&'a str, &'a str>,
}

impl<'a> Parameters<'a> {
    fn parse(of: &'a str, text: &'a str) -> Result<Self, String> {
        let mut values = HashMap::new();
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let Some((name, value)) = pair.split_once('=') else {
                return Err(format!("{pair:?} is no parameter of {of}; write name=value"));
            };
            if values.insert(name, value).is_some() {
                return Err(format!("{name} is given twice for {of}"));
            }
        }
        Ok(Self { of, values })
    }

    /// The value of a parameter; `right` says what it should look like.
    fn take<T: FromStr>(&mut self, name: &str, right: &str) -> Result<Option<T>, String> {
        let Some(value) = self.values.remove(name) else { return Ok(None) };
        value.parse().map(Some).map_err(|_| format!("{name}={value} is not {right}"))
    }

    fn finish(self, known: &str) -> Result<(), String> {
        match self.values.keys().next() {
            None => Ok(()),
            Some(name) => Err(format!("{} has no parameter {name}; it has {known}", self.of)),
        }
    }
}

/// A duration written as the period of a rate.
struct Period(Duration);

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rate: Result<Rate, _> = format!("1/{text}").parse();
        rate.map(|rate| Self(rate.period())).map_err(|error| error.advice().to_owned())
    }
}

fn upstream(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error| format!("{error}; write http://HOST:PORT"))?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("http"), Some(_)) => Ok(uri),
        _ => Err("only http is spoken to an upstream; write http://HOST:PORT".to_owned()),
    }
}
