//! What is asked for on the command line; whatever is wrong is told with what would be right.

use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use http::{HeaderName, Uri};
use traffik::http::Dialect;
use traffik::storage::WhenFull;
use traffik::{Rate, RedisStorage};

use crate::spec::{Parameters, Spec, WHOLE};

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

    /// How it is limited, such as token-bucket:burst=150; --help tells all.
    ///
    /// fixed-window; sliding-window[:strict=10]; sliding-log; token-bucket[:burst=150][,debt=50]; leaky-bucket[:capacity=5];
    /// leaky-bucket-queue[:queue=20]; gcra[:burst=10] or gcra:tolerance=500ms;
    /// adaptive[:threshold=0.8,reduction=0.6,recovery=0.1,floor=0.3]; quota-rollover[:percent=50,max=500];
    /// cost-based[:burst=200,window=100,floor=0.5]; fair-share:instance=a,weight=1;
    /// regions:us=2/5,eu=3/10,default=3/10,spill=true; or one of these in up to three wrappers:
    /// tiered(free=1,premium=5)/token-bucket, time-of-day(00:00-08:00=2,utc=+05:30)/fixed-window,
    /// priority(low=50%,normal=25%)/gcra:burst=10.
    #[arg(long, value_name = "SPEC", default_value = "fixed-window")]
    pub(crate) strategy: Spec,

    /// memory:, memory:capacity=100000,full=evict|refuse, or redis://HOST:PORT (rediss:// for TLS).
    #[arg(long, value_name = "URL", default_value = "memory:")]
    pub(crate) storage: StorageSpec,

    /// What the names of all keys on a shared storage begin with.
    #[arg(long, value_name = "NAME", default_value = "traffik")]
    pub(crate) namespace: String,

    /// How long a shared storage may take to answer, such as 500ms or 2s.
    #[arg(long, value_name = "TIME", default_value = "500ms")]
    pub(crate) timeout: Timeout,

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

/// Where states are kept.
#[derive(Clone, Debug)]
pub(crate) enum StorageSpec {
    Memory { capacity: usize, when_full: WhenFull },
    Redis(String),
}

impl FromStr for StorageSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parameters = match text.split_once(':') {
            Some(("memory", parameters)) => parameters,
            Some(("redis" | "rediss", _)) => {
                return RedisStorage::url(text)
                    .map(|_| Self::Redis(text.to_owned()))
                    .map_err(|error| format!("{error}; write redis://USER:PASSWORD@HOST:PORT/DATABASE"));
            }
            _ => {
                return Err("the storages are memory:, memory:capacity=100000,full=evict|refuse and redis://HOST:PORT"
                    .to_owned());
            }
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
        Ok(Self::Memory { capacity: capacity as usize, when_full })
    }
}

/// A time that is more than none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeout(pub(crate) Duration);

impl FromStr for Timeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        // The period of a rate has the grammar of a time.
        match format!("1/{text}").parse::<Rate>() {
            Ok(rate) if !rate.period().is_zero() => Ok(Self(rate.period())),
            _ => Err(format!("{text:?} is no time; write 500ms or 2s")),
        }
    }
}

fn upstream(text: &str) -> Result<Uri, String> {
    let uri: Uri = text.parse().map_err(|error| format!("{error}; write http://HOST:PORT"))?;
    match (uri.scheme_str(), uri.authority()) {
        (Some("http"), Some(_)) => Ok(uri),
        _ => Err("only http is spoken to an upstream; write http://HOST:PORT".to_owned()),
    }
}
