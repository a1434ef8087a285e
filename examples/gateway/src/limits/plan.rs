//! The throttles to build, and the text form of each part, on the command line or in the file.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;
use http::{HeaderName, Method};
use tokio_util::task::TaskTracker;
use traffik::runtime::Tokio;
use traffik::storage::WhenFull;
use traffik::web::{ClassHeaders, HeaderFormat, Networks};
use traffik::{MemcachedBuilder, MemcachedStorage, Rate, RedisStorage};

use crate::limits::keys::KeySpec;
use crate::limits::parameters::{Parameters, PositiveDuration, WHOLE};
use crate::limits::spec::Spec;

/// The settings of one throttle.
#[derive(Clone)]
pub(crate) struct ThrottlePlan {
    pub(crate) uid: String,
    /// The policy names of the rates, in the same order.
    pub(crate) names: Vec<String>,
    pub(crate) rates: Vec<Rate>,
    pub(crate) strategy: Spec,
    pub(crate) storage: StorageSpec,
    pub(crate) keys: Vec<KeySpec>,
    pub(crate) cost: u32,
    pub(crate) cost_header: Option<HeaderName>,
    pub(crate) rules: Vec<RulePlan>,
    pub(crate) on_error: OnErrorSpec,
    pub(crate) headers: HeaderFormat,
    pub(crate) shadow: bool,
    /// The file and the line of the throttle, as a prefix of its errors; empty for the command line.
    pub(crate) place: String,
}

/// Most rates of a throttle.
pub(crate) const MOST_RATES: usize = 8;

/// The settings that all throttles share.
#[derive(Clone, Debug)]
pub(crate) struct CommonSettings {
    /// The background tasks of throttles, which shutdown waits for.
    pub(crate) tasks: TaskTracker,
    pub(crate) namespace: String,
    /// Set by `--check`: a storage's faults are then reported as the result, and not logged.
    pub(crate) is_check: bool,
    /// Deadline of one call to a shared storage.
    pub(crate) timeout: Duration,
    /// Deadline of one attempt to connect to a shared storage.
    pub(crate) connect_timeout: Duration,
    pub(crate) bypass_preflights: bool,
    pub(crate) exempt: Networks,
    pub(crate) trusted: Networks,
    pub(crate) classes: ClassHeaders,
    /// The same for requests that a trusted proxy asks about, whose headers it sends itself.
    pub(crate) asked_classes: ClassHeaders,
}

/// A condition on the requests that a throttle applies to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RulePlan {
    pub(crate) path: Option<String>,
    pub(crate) methods: Vec<Method>,
    pub(crate) ignore_case: bool,
}

/// The action on a request when the storage fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum OnErrorSpec {
    Allow,
    Throttle {
        wait: Duration,
    },
    /// Counts in memory, at the limit divided by the number of gateway instances.
    Fallback {
        instances: u32,
    },
}

impl Default for OnErrorSpec {
    fn default() -> Self {
        Self::Throttle { wait: Duration::from_secs(1) }
    }
}

impl FromStr for OnErrorSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, parameters) = text.split_once(':').unwrap_or((text, ""));
        let mut given = Parameters::parse(name, parameters)?;
        let spec = match name {
            "allow" => Self::Allow,
            "throttle" => {
                let wait = given.take::<PositiveDuration>("wait", "a time such as 5s")?;
                wait.map_or(Self::default(), |wait| Self::Throttle { wait: wait.0 })
            }
            "fallback" => {
                let instances = given.take::<NonZeroU32>("instances", "a whole number of at least 1")?;
                Self::Fallback { instances: instances.map_or(1, NonZeroU32::get) }
            }
            _ => return Err(format!("{text:?} is not an action; write allow, throttle or fallback")),
        };
        given.finish()?;
        Ok(spec)
    }
}

/// The storage of a throttle's states.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StorageSpec {
    Memory { capacity: usize, when_full: WhenFull },
    Redis(String),
    RedisCluster(String),
    Memcached(String),
}

impl StorageSpec {
    /// Returns the URL of a shared storage.
    pub(crate) fn url(&self) -> Option<&String> {
        match self {
            Self::Memory { .. } => None,
            Self::Redis(url) | Self::RedisCluster(url) | Self::Memcached(url) => Some(url),
        }
    }

    /// Returns a URL for each node of a cluster, each with the user and the password that the text names
    /// once.
    pub(crate) fn nodes(&self) -> Vec<String> {
        let (scheme, rest) = self.url().and_then(|url| url.split_once("+cluster://")).unwrap_or_default();
        let (user, nodes) =
            rest.rsplit_once('@').map_or((String::new(), rest), |(user, nodes)| (format!("{user}@"), nodes));
        nodes.split(',').map(|node| format!("{scheme}://{user}{node}")).collect()
    }
}

/// Checks the server of a URL, `USER:PASSWORD@HOST:PORT`; user, password and port are optional.
pub(crate) fn server(text: &str) -> Result<(), String> {
    let (_, server) = text.rsplit_once('@').unwrap_or(("", text));
    // The colons of an IPv6 address stand in brackets, so the port is searched after these.
    let after = server.rfind(']').map_or(0, |end| end + 1);
    let (host, port) = server.split_at(server[after..].find(':').map_or(server.len(), |at| after + at));
    match port.strip_prefix(':') {
        _ if host.is_empty() => Err(format!("{server:?} names no host; write HOST:PORT")),
        Some(port) if !port.parse::<u16>().is_ok_and(|port| port > 0) => {
            Err(format!("{server}: {port:?} is not a port; write 1 to 65535"))
        }
        _ => Ok(()),
    }
}

impl Default for StorageSpec {
    fn default() -> Self {
        Self::Memory { capacity: 100_000, when_full: WhenFull::Evict }
    }
}

impl FromStr for StorageSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parameters = match text.split_once(':') {
            Some(("memory", parameters)) => parameters,
            Some(("redis" | "rediss", rest)) => {
                let authority = rest.strip_prefix("//").unwrap_or_default();
                if !authority.is_empty() {
                    server(authority.split(['/', '?', '#']).next().unwrap_or_default())?;
                }
                return RedisStorage::url(text)
                    .map(|_| Self::Redis(text.to_owned()))
                    .map_err(|error| format!("{error}; write redis://USER:PASSWORD@HOST:PORT/DATABASE"));
            }
            Some(("redis+cluster" | "rediss+cluster", _)) => {
                let spec = Self::RedisCluster(text.to_owned());
                let nodes = spec.nodes();
                let servers = nodes.iter().filter_map(|url| Some(url.split_once("://")?.1));
                servers.filter(|it| !it.is_empty()).try_for_each(server)?;
                return RedisStorage::cluster(spec.nodes())
                    .map(|_| spec)
                    .map_err(|error| format!("{error}; write redis+cluster://HOST:PORT,HOST:PORT"));
            }
            Some(("memcached", _)) => {
                return MemcachedStorage::url(Tokio, text)
                    .and_then(MemcachedBuilder::build)
                    .map(|_| Self::Memcached(text.to_owned()))
                    .map_err(|error| error.to_string());
            }
            _ => {
                return Err(
                    "the storages are memory:, memory:capacity=100000,full=evict|refuse, redis://HOST:PORT, \
                            redis+cluster://HOST:PORT,HOST:PORT and memcached://HOST:PORT"
                        .to_owned(),
                );
            }
        };
        let mut parameters = Parameters::parse("memory", parameters)?;
        let capacity = parameters.take::<u32>("capacity", WHOLE)?.unwrap_or(100_000);
        if capacity == 0 {
            return Err("capacity is 0, which has room for no client; write at least 1".to_owned());
        }
        let when_full = match parameters.take::<String>("full", "evict or refuse")?.as_deref() {
            None | Some("evict") => WhenFull::Evict,
            Some("refuse") => WhenFull::Refuse,
            Some(other) => return Err(format!("full={other} is unknown; write full=evict or full=refuse")),
        };
        parameters.finish()?;
        Ok(Self::Memory { capacity: capacity as usize, when_full })
    }
}

/// The format of rate-limit headers, by its name.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Headers {
    Draft10,
    Draft07,
    XRatelimit,
    None,
}

impl From<Headers> for HeaderFormat {
    fn from(headers: Headers) -> Self {
        match headers {
            Headers::Draft10 => Self::Draft10,
            Headers::Draft07 => Self::Draft07,
            Headers::XRatelimit => Self::XRateLimit,
            Headers::None => Self::None,
        }
    }
}

impl FromStr for Headers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        ValueEnum::from_str(text, false).map_err(|_| {
            format!("{text:?} is not a header format; write draft10, draft07, x-ratelimit or none")
        })
    }
}

/// Returns the policy names of a throttle's rates: its uid, numbered if there are several.
pub(crate) fn names(of: &str, rates: usize) -> Vec<String> {
    match rates {
        1 => vec![of.to_owned()],
        _ => (1..=rates).map(|number| format!("{of}-{number}")).collect(),
    }
}

impl fmt::Display for ThrottlePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: Vec<String>| items.join(" and ");
        let rate = |rate: &Rate| match (rate.is_unlimited(), rate.limit()) {
            (true, _) => format!("{rate} (no limit)"),
            (false, 0) => format!("{rate} (admits nothing)"),
            (false, _) => rate.to_string(),
        };
        write!(f, "{}: ", self.uid)?;
        write!(f, "{}, {}", list(self.rates.iter().map(rate).collect()), self.strategy.text)?;
        write!(f, ", by {}", list(self.keys.iter().map(KeySpec::to_string).collect()))?;
        match &self.storage {
            StorageSpec::Memory { capacity, .. } => write!(f, ", in memory for {capacity} keys")?,
            StorageSpec::Redis(_) => f.write_str(", on redis")?,
            StorageSpec::RedisCluster(_) => f.write_str(", on a redis cluster")?,
            StorageSpec::Memcached(_) => f.write_str(", on memcached")?,
        }
        match &self.cost_header {
            Some(header) => write!(f, ", cost in {header}")?,
            None if self.cost != 1 => write!(f, ", cost {}", self.cost)?,
            None => {}
        }
        for rule in &self.rules {
            write!(f, ", for {rule}")?;
        }
        match self.on_error {
            OnErrorSpec::Allow => f.write_str(", all pass if the store fails")?,
            OnErrorSpec::Fallback { instances: 1 } => f.write_str(", in memory if the store fails")?,
            OnErrorSpec::Fallback { instances } => {
                write!(f, ", in memory at 1/{instances} of the limit if the store fails")?;
            }
            OnErrorSpec::Throttle { .. } => {}
        }
        f.write_str(if self.shadow { ", as a shadow" } else { "" })
    }
}

impl fmt::Display for RulePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods: Vec<_> = self.methods.iter().map(Method::as_str).collect();
        match (&self.path, methods.is_empty()) {
            (Some(path), true) => f.write_str(path),
            (Some(path), false) => write!(f, "{} {path}", methods.join("|")),
            (None, _) => write!(f, "{} anywhere", methods.join("|")),
        }
    }
}
