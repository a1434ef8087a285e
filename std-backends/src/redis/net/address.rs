//! Addresses of servers, as users write them and as other servers report them.

use redis::{ConnectionAddr, ConnectionInfo, ErrorKind, IntoConnectionInfo, RedisError};

use super::tls;
use crate::redis::failure;

/// The address of a server, with the user and the database: a URL, a host and a port, or a type of the redis
/// crate. Constructors of [`RedisStorage`](crate::RedisStorage) that take several servers accept it.
///
/// The redis crate's [`IntoConnectionInfo`] is not enough: it reads `rediss://` only if the redis crate is
/// built with its own TLS.
///
/// ```
/// use traffik::{RedisStorage, ServerAddress};
///
/// let by_url = RedisStorage::cluster(["redis://user:secret@10.0.0.1", "redis://user:secret@10.0.0.2"]);
/// let by_port = RedisStorage::cluster([("10.0.0.1", 6379), ("10.0.0.2", 6379)]);
/// assert!(by_url.is_ok() && by_port.is_ok());
///
/// assert_eq!("redis://10.0.0.1/7".into_info().unwrap().redis_settings().db(), 7);
/// assert!("10.0.0.1".into_info().is_err()); // a text needs its scheme
/// ```
pub trait ServerAddress {
    /// Converts the address into the redis crate's form.
    ///
    /// # Errors
    ///
    /// Fails if the text is no address, or names a server that this build or system cannot connect to.
    fn into_info(self) -> Result<ConnectionInfo, RedisError>;
}

impl ServerAddress for &str {
    fn into_info(self) -> Result<ConnectionInfo, RedisError> {
        let is_tls = |scheme: &str| ["rediss", "valkeys"].iter().any(|it| scheme.eq_ignore_ascii_case(it));
        let Some((_, rest)) = self.split_once("://").filter(|(scheme, _)| is_tls(scheme)) else {
            return settled(parsed(self)?);
        };
        let (rest, fragment) = rest.split_once('#').map_or((rest, None), |(rest, it)| (rest, Some(it)));
        if fragment.is_some_and(|fragment| fragment != "insecure") {
            return Err((ErrorKind::InvalidClientConfig, "a Redis URL ends in #insecure or has no #").into());
        }
        let info = parsed(&format!("redis://{rest}"))?;
        let (host, port) = address(&info)?;
        let insecure = fragment.is_some();
        settled(info.set_addr(ConnectionAddr::TcpTls { host, port, insecure, tls_params: None }))
    }
}

/// Parses a URL. The error shows a correct one, and leaves out this one, which may contain a password.
fn parsed(url: &str) -> Result<ConnectionInfo, RedisError> {
    url.into_connection_info().map_err(|error| {
        let what = failure::invalid_config(&error).to_lowercase();
        let what =
            format!("{what}; write redis://USER:PASSWORD@HOST:PORT/DATABASE, rediss://HOST or unix:///PATH");
        (ErrorKind::InvalidClientConfig, "the address is not a Redis URL", what).into()
    })
}

macro_rules! by_text {
    ($($type:ty),+) => {$(
        impl ServerAddress for $type {
            fn into_info(self) -> Result<ConnectionInfo, RedisError> {
                (&**self).into_info()
            }
        }
    )+};
}
by_text!(&&str, &String);

impl ServerAddress for String {
    fn into_info(self) -> Result<ConnectionInfo, RedisError> {
        self.as_str().into_info()
    }
}

macro_rules! by_redis {
    ($($type:ty),+) => {$(
        impl ServerAddress for $type {
            fn into_info(self) -> Result<ConnectionInfo, RedisError> {
                settled(self.into_connection_info()?)
            }
        }
    )+};
}
by_redis!(ConnectionAddr, ConnectionInfo, (&str, u16), (String, u16));

/// Returns the address as the storage connects to it: with `TCP_NODELAY`, since a command is small and waits
/// for no other.
///
/// # Errors
///
/// Fails if this build or system cannot connect to it.
pub(in super::super) fn settled(info: ConnectionInfo) -> Result<ConnectionInfo, RedisError> {
    let words = match info.addr() {
        address if address.is_supported() => None,
        ConnectionAddr::TcpTls { insecure: true, .. } => Some(
            "#insecure does nothing, since certificates are checked; give the authority that signed them \
             (RedisBuilder::tls), or turn on TLS and tls-rustls-insecure of the redis crate",
        ),
        ConnectionAddr::TcpTls { .. } if tls::IS_ON => None,
        ConnectionAddr::TcpTls { .. } => Some("the address needs TLS; turn on the feature redis-tls"),
        _ => Some("this operating system has no Unix sockets; write redis://HOST:PORT"),
    };
    if let Some(words) = words {
        return Err((ErrorKind::InvalidClientConfig, words).into());
    }
    let settings = info.tcp_settings().clone().set_nodelay(true);
    Ok(info.set_tcp_settings(settings))
}

/// A host and a port.
pub(super) type HostPort = (String, u16);

/// Returns the host and the port of a server.
pub(super) fn address(info: &ConnectionInfo) -> Result<HostPort, RedisError> {
    match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Ok((host.clone(), *port))
        }
        _ => Err((
            ErrorKind::InvalidClientConfig,
            "a node of a cluster is reached by a host and a port; write redis://HOST:PORT",
        )
            .into()),
    }
}

/// Returns this address, with the kind of connection of `like`.
pub(super) fn at(like: &ConnectionAddr, (host, port): &HostPort) -> ConnectionAddr {
    match like.clone() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure, tls_params }
        }
        _ => ConnectionAddr::Tcp(host.clone(), *port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_over_tls_are_read_whatever_the_redis_crate_can_do() {
        let read = |url: &str| url.into_info().map(|info| (info.addr().to_string(), info));
        let (name, info) = read("REDISS://me:%40b@[::1]/7?protocol=resp3").unwrap();
        assert_eq!((&*name, info.redis_settings().db()), ("::1:6379", 7));
        assert_eq!(info.redis_settings().username(), Some("me"));
        assert_eq!(info.redis_settings().password(), Some("@b"));
        assert!(matches!(info.addr(), ConnectionAddr::TcpTls { insecure: false, .. }));
        assert!(info.tcp_settings().nodelay());
        for wrong in ["rediss://", "rediss://h:x", "rediss://h/x", "rediss://h#other", "http://h", "h"] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        // The redis crate alone can skip the check of certificates.
        let insecure = read("rediss://h#insecure");
        assert_eq!(
            insecure.is_ok(),
            ConnectionAddr::TcpTls { host: String::new(), port: 0, insecure: true, tls_params: None }
                .is_supported()
        );
    }
}
