//! Hosts and ports of servers that are found by others.

use redis::{ConnectionAddr, ConnectionInfo, ErrorKind, RedisError};

/// A host and a port.
pub(super) type Address = (String, u16);

/// Returns the address of a server.
pub(super) fn address(info: &ConnectionInfo) -> Result<Address, RedisError> {
    match info.addr() {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Ok((host.clone(), *port))
        }
        _ => Err((ErrorKind::InvalidClientConfig, "a node of a cluster has a host and a port").into()),
    }
}

/// This address, connected to as another one.
pub(super) fn at(like: &ConnectionAddr, (host, port): &Address) -> ConnectionAddr {
    match like.clone() {
        ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
            ConnectionAddr::TcpTls { host: host.clone(), port: *port, insecure, tls_params }
        }
        _ => ConnectionAddr::Tcp(host.clone(), *port),
    }
}
