//! Timers, tasks and sockets of smol, which also serves async-std and every other executor.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use redis::io::tcp::TcpSettings;
use smol::net::TcpStream;
#[cfg(unix)]
use smol::net::unix::UnixStream;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::wire::{self, NetStream};

/// The identity of smol's runtime, of which there is one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Id;

/// Returns the runtime. Any executor will do, since smol's own threads drive timers and sockets.
#[inline]
pub(super) const fn current() -> Option<Id> {
    Some(Id)
}

pub(super) async fn wait(_: Id, time: Duration) {
    smol::Timer::after(time).await;
}

/// A background task, which ends when this is dropped.
pub(in super::super) struct Task(smol::Task<()>);

pub(super) fn spawn(_: Id, future: impl Future<Output = ()> + Send + 'static) -> Task {
    Task(smol::spawn(future))
}

impl Task {
    /// Lets the task run to its end.
    pub(super) fn detach(self) {
        self.0.detach();
    }
}

// Connected by smol's own reactor thread, so this also works on an executor without one.
pub(super) async fn tcp(
    _: Id,
    host: &str,
    port: u16,
    settings: &TcpSettings,
) -> io::Result<Box<dyn NetStream>> {
    // Tries each address of the host until one accepts.
    let stream = TcpStream::connect((host, port)).await?;
    wire::set(&SockRef::from(&stream), settings)?;
    Ok(Box::new(OnSmol(stream)))
}

#[cfg(unix)]
pub(super) async fn unix(_: Id, path: &Path) -> io::Result<Box<dyn NetStream>> {
    Ok(Box::new(OnSmol(UnixStream::connect(path).await?)))
}

#[cfg(not(unix))]
pub(super) async fn unix(_: Id, _: &Path) -> io::Result<Box<dyn NetStream>> {
    Err(io::ErrorKind::Unsupported.into())
}

/// A stream of smol's with the traits of tokio.
struct OnSmol<T>(T);

impl<T: smol::io::AsyncRead + Unpin> AsyncRead for OnSmol<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // The redis crate reads by tokio's traits. smol reads into initialized bytes, hence
        // `initialize_unfilled`; `advance` then counts those that were read.
        let read = Pin::new(&mut self.0).poll_read(context, into.initialize_unfilled());
        read.map_ok(|length| into.advance(length))
    }
}

impl<T: smol::io::AsyncWrite + Unpin> AsyncWrite for OnSmol<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(context)
    }
}

impl NetStream for OnSmol<TcpStream> {
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(&self.0)
    }
}

#[cfg(unix)]
impl NetStream for OnSmol<UnixStream> {
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(&self.0)
    }
}
