//! The text form of a storage: a memory, or the URL of a shared store.

use std::fmt;
use std::str::FromStr;

use traffik::runtime::Tokio;
use traffik::storage::WhenFull;
use traffik::{MemcachedBuilder, MemcachedStorage, RedisBuilder, RedisStorage};

use crate::limits::parameters::{Parameters, WHOLE};
use crate::limits::plain::message;

/// The port of a sentinel whose URL names none.
const SENTINEL_PORT: u16 = 26_379;

/// The storage of a throttle's states.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StorageSpec {
    Memory { capacity: usize, when_full: WhenFull },
    Redis { url: String, kind: RedisKind },
    Memcached(String),
}

/// The way to the server that Redis' keys are on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum RedisKind {
    /// One server, by TCP or by a Unix socket.
    Server,
    Cluster,
    /// The server that sentinels name.
    Sentinels,
}

impl StorageSpec {
    /// Returns the URL of a shared storage.
    pub(crate) fn url(&self) -> Option<&String> {
        match self {
            Self::Memory { .. } => None,
            Self::Redis { url, .. } | Self::Memcached(url) => Some(url),
        }
    }
}

impl RedisKind {
    /// Returns the builder of the client of a URL.
    ///
    /// # Errors
    ///
    /// Fails if the URL cannot be read. The error shows a correct one, and no part of this one that may be a
    /// secret.
    pub(crate) fn client(self, url: &str) -> Result<RedisBuilder, String> {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let scheme = scheme.split('+').next().unwrap_or_default();
        match self {
            Self::Server => RedisStorage::url(url).map_err(message),
            Self::Cluster => {
                let (user, nodes) = rest.rsplit_once('@').map_or(("", rest), |(user, nodes)| (user, nodes));
                let nodes = nodes.split(',').map(|node| with_user(scheme, user, node));
                RedisStorage::cluster(nodes.collect::<Vec<_>>()).map_err(|error| {
                    format!("{}; write {scheme}+cluster://HOST:PORT,HOST:PORT", reason(error))
                })
            }
            Self::Sentinels => {
                let set = SentinelSet::parse(rest)
                    .map_err(|error| format!("{error}; write {scheme}+sentinel://{SENTINELS}"))?;
                let sentinels = set.sentinels.iter().map(|server| with_user(scheme, "", server));
                let master = with_user(scheme, set.user, &set.master);
                RedisStorage::sentinel(sentinels.collect::<Vec<_>>(), master)
                    .map_err(|error| format!("{}; write {scheme}+sentinel://{SENTINELS}", reason(error)))
            }
        }
    }

    /// Checks a URL, without its scheme.
    fn check(self, rest: &str) -> Result<(), String> {
        let authority = |rest: &str| rest.split(['/', '?', '#']).next().unwrap_or_default().to_owned();
        let servers = match self {
            Self::Server | Self::Sentinels if authority(rest).is_empty() => return Ok(()),
            Self::Server => return server(&authority(rest)),
            Self::Cluster => rest.rsplit_once('@').map_or(rest, |(_, nodes)| nodes).to_owned(),
            // `SentinelSet` checks them.
            Self::Sentinels => return Ok(()),
        };
        servers.split(',').filter(|it| !it.is_empty()).try_for_each(server)
    }
}

/// The form of a URL with sentinels, after its scheme.
const SENTINELS: &str = "USER:PASSWORD@HOST:PORT,HOST:PORT/MASTER/DATABASE, with the name of the master and, \
                         if it needs them, its user, password and database";

/// The parts of a URL with sentinels.
struct SentinelSet<'a> {
    /// The user and the password of the master.
    user: &'a str,
    sentinels: Vec<String>,
    /// The name of the master, and its database after a slash.
    master: String,
}

impl<'a> SentinelSet<'a> {
    fn parse(rest: &'a str) -> Result<Self, String> {
        let (user, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (servers, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (name, database) = path.split_once('/').unwrap_or((path, ""));
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if name.is_empty() {
            return Err("the URL names no master".to_owned());
        }
        if !name.bytes().all(is_name) {
            return Err(format!("{name:?} is not the name of a master: letters, digits, . _ -"));
        }
        if !database.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(format!("{database:?} is not the number of a database"));
        }
        let with_port = |text: &str| {
            server(text)?;
            let has_port = text.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
            Ok(if has_port { text.to_owned() } else { format!("{text}:{SENTINEL_PORT}") })
        };
        let sentinels = servers.split(',').map(with_port).collect::<Result<_, String>>()?;
        Ok(Self { user, sentinels, master: path.to_owned() })
    }
}

/// Returns an error of the library without its example, which is of another sort of URL.
fn reason(error: impl fmt::Display) -> String {
    let error = error.to_string();
    error.split("; write ").next().unwrap_or_default().to_owned()
}

/// Returns the URL of a server, with a user and a password if there are any.
fn with_user(scheme: &str, user: &str, server: &str) -> String {
    if user.is_empty() { format!("{scheme}://{server}") } else { format!("{scheme}://{user}@{server}") }
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
        let (scheme, rest) = text.split_once(':').unwrap_or_default();
        let authority = rest.strip_prefix("//").unwrap_or_default();
        // Valkey is reached like Redis, so its schemes are other words for those of Redis.
        let scheme = scheme.replacen("valkey", "redis", 1);
        let kind = match &*scheme {
            "memory" => return memory(rest),
            "memcached" => {
                return MemcachedStorage::url(Tokio, text)
                    .and_then(MemcachedBuilder::build)
                    .map(|_| Self::Memcached(text.to_owned()))
                    .map_err(message);
            }
            "redis+unix" if !authority.starts_with('/') => {
                return Err("a Unix socket needs its whole path; write redis+unix:///PATH?db=DATABASE".into());
            }
            "redis" | "rediss" | "redis+unix" => RedisKind::Server,
            "redis+cluster" | "rediss+cluster" => RedisKind::Cluster,
            "redis+sentinel" | "rediss+sentinel" => RedisKind::Sentinels,
            _ => {
                return Err("the storages are memory:, memory:capacity=100000,full=evict|refuse, \
                            redis://HOST:PORT, redis+cluster://HOST:PORT,HOST:PORT, \
                            redis+sentinel://HOST:PORT,HOST:PORT/MASTER, redis+unix:///PATH and \
                            memcached://HOST:PORT"
                    .to_owned());
            }
        };
        kind.check(authority)?;
        let url = format!("{scheme}:{rest}");
        let _ = kind.client(&url).map_err(|error| match &*scheme {
            "redis+unix" => format!("{}; write redis+unix:///PATH?db=DATABASE", reason(error)),
            _ if error.contains("; write ") => error,
            _ => format!("{error}; write {scheme}://USER:PASSWORD@HOST:PORT/DATABASE"),
        })?;
        Ok(Self::Redis { url, kind })
    }
}

/// Parses the parameters of a memory.
fn memory(parameters: &str) -> Result<StorageSpec, String> {
    let mut parameters = Parameters::parse("memory", parameters)?;
    let capacity = parameters.take::<u32>("capacity", WHOLE)?.unwrap_or(100_000);
    if capacity == 0 {
        return Err("capacity is 0, which has room for no client; write at least 1".to_owned());
    }
    check_memory(capacity)?;
    let when_full = match parameters.take::<String>("full", "evict or refuse")?.as_deref() {
        None | Some("evict") => WhenFull::Evict,
        Some("refuse") => WhenFull::Refuse,
        Some(other) => return Err(format!("full={other} is unknown; write full=evict or full=refuse")),
    };
    parameters.finish()?;
    Ok(StorageSpec::Memory { capacity: capacity as usize, when_full })
}

impl fmt::Display for StorageSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory { capacity, .. } => write!(f, "in memory for {capacity} keys"),
            Self::Redis { kind: RedisKind::Server, .. } => f.write_str("on redis"),
            Self::Redis { kind: RedisKind::Cluster, .. } => f.write_str("on a redis cluster"),
            Self::Redis { kind: RedisKind::Sentinels, .. } => f.write_str("on redis by sentinels"),
            Self::Memcached(_) => f.write_str("on memcached"),
        }
    }
}

/// Least size of a client's state, in bytes.
const STATE: u64 = 32;

/// Checks that this machine has the memory for so many clients, as far as it says how much it has.
fn check_memory(capacity: u32) -> Result<(), String> {
    let known = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = known.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let total = total.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    let Some(total) = total.map(|kilobytes| kilobytes * 1024) else { return Ok(()) };
    let (needed, most) = (u64::from(capacity) * STATE, total / STATE);
    if needed <= total {
        return Ok(());
    }
    Err(format!(
        "capacity={capacity} takes at least {} MiB, and this machine has {}; write at most {most}",
        needed >> 20,
        total >> 20
    ))
}
