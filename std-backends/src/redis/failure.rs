//! Failures of calls: their kinds, their texts, and advice.

use std::error::Error;
use std::fmt;

use redis::{ErrorKind as Kind, RedisError, ServerErrorKind as Server};
use traffik_core::storage::{BackendError, ErrorKind};

#[cfg(any(feature = "smol", feature = "tokio"))]
mod unsent;

#[cfg(any(feature = "smol", feature = "tokio"))]
pub(super) use unsent::{is_not_sent, refusal, unsent};

/// An error of a server: the cause of a failure, which names the server and the error once each.
#[derive(Debug)]
struct ServerError {
    server: String,
    error: RedisError,
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redis at {}: {}", self.server, words(&self.error))?;
        match advice(&self.error) {
            "" => Ok(()),
            advice => write!(f, "; {advice}"),
        }
    }
}

impl Error for ServerError {}

/// Returns the failure of a call that may have been sent.
pub(super) fn failure(server: &str, error: RedisError) -> BackendError {
    let kind = match error.kind() {
        // The connection broke before or within the answer, so the outcome is unknown.
        Kind::Io | Kind::Parse => ErrorKind::Timeout,
        Kind::Client => ErrorKind::Unavailable,
        Kind::AuthenticationFailed | Kind::Server(Server::NoPerm) => ErrorKind::Denied,
        Kind::Server(
            Server::BusyLoading
            | Server::MasterDown
            | Server::ClusterDown
            | Server::ReadOnly
            | Server::TryAgain
            | Server::Moved
            | Server::Ask,
        ) => ErrorKind::Unavailable,
        Kind::InvalidClientConfig => ErrorKind::Invalid,
        Kind::UnexpectedReturnType => ErrorKind::Corrupt,
        _ => match error.code() {
            // A storage writes strings only, so another program wrote this value.
            Some("WRONGTYPE") => ErrorKind::Corrupt,
            // The server answers, but no limit can be counted there.
            Some("OOM" | "MISCONF" | "NOREPLICAS" | "BUSY") => ErrorKind::Unavailable,
            Some("NOAUTH" | "WRONGPASS" | "DENIED") => ErrorKind::Denied,
            _ if is_full_of_clients(&error) => ErrorKind::Unavailable,
            _ if is_forbidden(&error) || is_no_database(&error) => ErrorKind::Denied,
            _ if is_unknown(&error) || is_no_cluster(&error) => ErrorKind::Denied,
            _ => ErrorKind::Other,
        },
    };
    BackendError::new(kind, ServerError { server: server.to_owned(), error })
}

/// Returns the driver's error behind a failure, if there is one.
pub(super) fn cause(failure: &BackendError) -> Option<&RedisError> {
    failure.cause().downcast_ref().map(|it: &ServerError| &it.error)
}

/// Returns whether a node of a cluster refused keys of several slots. It charged none.
pub(super) fn is_cross_slot(failure: &BackendError) -> bool {
    cause(failure).is_some_and(|error| error.kind() == Kind::Server(Server::CrossSlot))
}

/// Turns a timeout into `Unavailable`, for a call that charges nothing and so has no unknown outcome.
pub(super) fn nothing_charged(failure: BackendError) -> BackendError {
    match failure.kind() {
        ErrorKind::Timeout => failure.with_kind(ErrorKind::Unavailable),
        _ => failure,
    }
}

/// Returns a failure of this kind that names the server.
pub(super) fn of(server: &str, kind: ErrorKind, words: &str) -> BackendError {
    BackendError::new(kind, format!("Redis at {server}: {words}"))
}

/// Returns the error of a command that was certainly not sent.
pub(super) fn not_sent(words: String) -> RedisError {
    (Kind::Client, NOT_SENT, words).into()
}

const NOT_SENT: &str = "nothing was sent";

fn is_full_of_clients(error: &RedisError) -> bool {
    says(error, "max number of clients")
}

/// Returns whether a script may not use one of its commands or keys.
fn is_forbidden(error: &RedisError) -> bool {
    says(error, "can't run this command") || says(error, "can't access at least one of the keys")
}

fn is_no_database(error: &RedisError) -> bool {
    says(error, "DB index is out of range") || says(error, "invalid DB index")
}

fn is_unknown(error: &RedisError) -> bool {
    says(error, "unknown command")
}

fn is_no_cluster(error: &RedisError) -> bool {
    says(error, "cluster support disabled")
}

fn says(error: &RedisError, words: &str) -> bool {
    error.detail().is_some_and(|detail| detail.contains(words))
}

/// Returns the root cause, in its own words.
pub(super) fn words(error: &RedisError) -> String {
    // The line of the script that failed does not help the user, and the arguments of a command contain the
    // key, which may be a secret.
    let first = |detail, end| str::split(detail, end).next().unwrap_or(detail);
    let detail = error.detail().map(|detail| first(first(detail, " script: "), ", with args beginning with"));
    let detail = detail.map(|detail| detail.trim_end_matches('.'));
    // The driver shows the text of an error only as "text - Kind", or "text - Kind: detail".
    let shown = error.to_string();
    let text = shown.split_once(&format!(" - {:?}", error.kind())).map(|(text, _)| text);
    let name = text.unwrap_or(error.category());
    match (error.kind(), error.code(), detail) {
        (Kind::Client, _, Some(detail)) if name == NOT_SENT => format!("{detail}; {NOT_SENT}"),
        (Kind::InvalidClientConfig, ..) => invalid_config(error),
        (Kind::AuthenticationFailed, ..) => error.category().to_owned(),
        (_, Some("ERR"), Some(detail)) => detail.to_owned(),
        (_, Some(code), Some(detail)) => format!("{code} {detail}"),
        (Kind::Io, ..) if error.is_timeout() => "no answer in time".to_owned(),
        (Kind::Parse, ..) => "its answer cannot be read".to_owned(),
        (Kind::Io, ..) if text.is_none() => shown.lines().next().unwrap_or_default().to_owned(),
        (_, _, Some(detail)) => format!("{name}: {detail}"),
        _ => name.to_owned(),
    }
}

/// Returns advice for the user, or an empty text.
fn advice(error: &RedisError) -> &'static str {
    match error.code() {
        Some("NOAUTH") => "give a password, such as redis://:PASSWORD@HOST",
        Some("WRONGPASS") => "the user or the password is wrong",
        Some("NOPERM") => RIGHTS,
        Some("OOM") => "limits fail there until it has memory, so raise maxmemory",
        Some("MISCONF") => "limits fail there until it can save its data",
        Some("NOREPLICAS") => "limits fail there until it has its replicas",
        Some("READONLY") => "it is a replica, so name the master or its sentinels",
        Some("CLUSTERDOWN") => "set cluster-require-full-coverage no, so that other nodes still serve",
        Some("BUSY") => "limits fail there until another client's script has ended",
        Some("MOVED" | "ASK") => "it is a node of a cluster, so use RedisStorage::cluster",
        _ if is_forbidden(error) => RIGHTS,
        _ if is_full_of_clients(error) => "raise maxclients, or disconnect idle clients",
        _ if is_no_database(error) => "use a database that the server has, such as redis://HOST/0",
        _ if is_no_cluster(error) => "it is a single server, so use RedisStorage::url",
        _ if is_unknown(error) => "the server must be Redis 7.0 or later, with EVALSHA and SCRIPT",
        _ if error.kind() == Kind::Parse => {
            "the server does not speak the protocol of Redis, so check the port"
        }
        _ if error.kind() == Kind::AuthenticationFailed => "the user or the password is wrong",
        _ if error.to_string().contains("invalid peer certificate") => {
            "trust the authority that signed it (RedisBuilder::tls), or give the server another one"
        }
        _ => "",
    }
}

/// Returns the text of an error of an address, without the name of the kind in its middle.
pub(super) fn invalid_config(error: &RedisError) -> String {
    error.to_string().replace(" - InvalidClientConfig", "")
}

const RIGHTS: &str = "grant the user the commands of the scripts: +eval +evalsha +script|load +time +get +set \
                      +del +pttl +pexpire +getrange +setrange +strlen on the keys NAMESPACE:* and \
                      NAMESPACE#*, and for clear() also +scan +unlink";
