//! The interface for TCP connections.

use std::future::Future;
use std::io;

use futures_io::{AsyncRead, AsyncWrite};

use crate::Runtime;

/// A runtime that can open TCP connections, which storages on servers need. Implement it beside [`Runtime`]
/// for a runtime other than tokio, smol and async-std.
///
/// * `address` is a host and a port, such as `cache.internal:11211` or `[::1]:11211`. The name lookup MUST
///   NOT block other tasks. All addresses of a name MUST be tried, one after another.
/// * Writes MUST be sent without delay (`TCP_NODELAY`).
/// * Dropping the stream MUST close the connection, and dropping the future of `connect` MUST leave none
///   open. Closing the stream need not notify the server: async-std's does not.
///
/// ```
/// use std::time::Duration;
/// use traffik::runtime::{Connect, Elapsed};
///
/// /// Reports whether a server accepts connections, within a second.
/// async fn is_up(runtime: impl Connect, address: &str) -> Result<bool, Elapsed> {
///     let connection = runtime.timeout(Duration::from_secs(1), runtime.connect(address)).await?;
///     Ok(connection.is_ok())
/// }
/// ```
pub trait Connect: Runtime {
    /// The stream of bytes to and from the server.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Opens a connection.
    ///
    /// Waits for the name lookup and for the server, for as long as the operating system does, which can be
    /// minutes: bound it by a [`timeout`](Runtime::timeout). Dropping the future leaves no connection open.
    ///
    /// # Errors
    ///
    /// Fails with [`InvalidInput`](io::ErrorKind::InvalidInput) if `address` is not a host and a port. Fails
    /// with the error of the name lookup, or with the error of the last address that was tried.
    fn connect(&self, address: &str) -> impl Future<Output = io::Result<Self::Stream>> + Send + 'static;
}
