//! Connections to servers, without saying on what.

use std::future::Future;
use std::io;

use futures_io::{AsyncRead, AsyncWrite};

use crate::Runtime;

/// A runtime that can connect to servers over TCP.
///
/// * `address` is a host and a port, such as `cache.internal:11211` or `[::1]:11211`. A name MUST be looked
///   up without holding up other tasks; of several addresses that it has, one after another MUST be tried.
/// * What is written MUST be sent without delay (`TCP_NODELAY`).
/// * A connection MUST be closed once its stream is dropped, and none MUST be left of a future that is
///   dropped. Closing the stream need not tell the server anything: async-std's does not.
///
/// It waits for as long as the operating system does, which can be minutes: put it under a
/// [`timeout`](Runtime::timeout).
pub trait Connect: Runtime {
    /// What is read from and written to.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// A new connection.
    ///
    /// # Errors
    ///
    /// Of an address that is none ([`InvalidInput`](io::ErrorKind::InvalidInput)), of looking its name up, or
    /// of the last address that was tried.
    fn connect(&self, address: &str) -> impl Future<Output = io::Result<Self::Stream>> + Send + 'static;
}
