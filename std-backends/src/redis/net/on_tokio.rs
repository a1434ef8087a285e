//! Timers, tasks and sockets of tokio.

use std::io;
use std::path::Path;
use std::time::Duration;

use redis::io::tcp::TcpSettings;
use socket2::SockRef;
use tokio::net::TcpStream;
#[cfg(unix)]
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;

use super::wire::{self, NetStream};

/// The identity of a tokio runtime. The functions here must be called within one.
pub(super) type Id = tokio::runtime::Id;

/// Returns the present runtime.
#[inline]
pub(super) fn current() -> Option<Id> {
    Handle::try_current().ok().map(|tokio| tokio.id())
}

pub(super) async fn wait(_: Id, time: Duration) {
    tokio::time::sleep(time).await;
}

/// A background task, which ends when this is dropped.
pub(in super::super) struct Task(Option<JoinHandle<()>>);

pub(super) fn spawn(_: Id, future: impl Future<Output = ()> + Send + 'static) -> Task {
    Task(Some(tokio::spawn(future)))
}

impl Task {
    /// Lets the task run to its end.
    pub(super) fn detach(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if let Some(handle) = &self.0 {
            handle.abort();
        }
    }
}

pub(super) async fn tcp(
    _: Id,
    host: &str,
    port: u16,
    settings: &TcpSettings,
) -> io::Result<Box<dyn NetStream>> {
    let stream = TcpStream::connect((host, port)).await?;
    wire::set(&SockRef::from(&stream), settings)?;
    Ok(Box::new(stream))
}

#[cfg(unix)]
pub(super) async fn unix(_: Id, path: &Path) -> io::Result<Box<dyn NetStream>> {
    Ok(Box::new(UnixStream::connect(path).await?))
}

#[cfg(not(unix))]
pub(super) async fn unix(_: Id, _: &Path) -> io::Result<Box<dyn NetStream>> {
    Err(io::ErrorKind::Unsupported.into())
}

impl NetStream for TcpStream {
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(self)
    }
}

#[cfg(unix)]
impl NetStream for UnixStream {
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(self)
    }
}
