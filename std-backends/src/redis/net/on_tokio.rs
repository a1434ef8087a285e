//! Waiting, tasks and sockets of tokio.

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

use super::wire::{self, Stream};

/// A runtime of tokio's. Its functions are called within one.
pub(super) type Id = tokio::runtime::Id;

/// Returns the runtime that this runs on.
#[inline]
pub(super) fn current() -> Option<Id> {
    Handle::try_current().ok().map(|tokio| tokio.id())
}

pub(super) async fn wait(_: Id, time: Duration) {
    tokio::time::sleep(time).await;
}

/// A future that runs until it has ended, or this is dropped.
pub(in super::super) struct Task(Option<JoinHandle<()>>);

pub(super) fn spawn(_: Id, future: impl Future<Output = ()> + Send + 'static) -> Task {
    Task(Some(tokio::spawn(future)))
}

impl Task {
    /// Lets it run to its end.
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

pub(super) async fn tcp(_: Id, host: &str, port: u16, settings: &TcpSettings) -> io::Result<Box<dyn Stream>> {
    let stream = TcpStream::connect((host, port)).await?;
    wire::set(&SockRef::from(&stream), settings)?;
    Ok(Box::new(stream))
}

#[cfg(unix)]
pub(super) async fn unix(_: Id, path: &Path) -> io::Result<Box<dyn Stream>> {
    Ok(Box::new(UnixStream::connect(path).await?))
}

#[cfg(not(unix))]
pub(super) async fn unix(_: Id, _: &Path) -> io::Result<Box<dyn Stream>> {
    Err(io::ErrorKind::Unsupported.into())
}

impl Stream for TcpStream {
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(self)
    }
}

#[cfg(unix)]
impl Stream for UnixStream {
    fn socket(&self) -> SockRef<'_> {
        SockRef::from(self)
    }
}
