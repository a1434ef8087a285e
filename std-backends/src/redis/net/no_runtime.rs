//! A stand-in for a runtime whose feature is off: no value of [`Id`] exists, so nothing runs on it.

use std::io;
use std::path::Path;
use std::time::Duration;

use redis::io::tcp::TcpSettings;

use super::wire::NetStream;

/// The identity of a runtime, of which there is none.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Id {}

pub(super) const fn current() -> Option<Id> {
    None
}

pub(super) async fn wait(id: Id, _: Duration) {
    match id {}
}

pub(in super::super) struct Task;

pub(super) fn spawn(id: Id, _: impl Future<Output = ()> + Send + 'static) -> Task {
    match id {}
}

impl Task {
    pub(super) fn detach(self) {}
}

pub(super) async fn tcp(id: Id, _: &str, _: u16, _: &TcpSettings) -> io::Result<Box<dyn NetStream>> {
    match id {}
}

pub(super) async fn unix(id: Id, _: &Path) -> io::Result<Box<dyn NetStream>> {
    match id {}
}
