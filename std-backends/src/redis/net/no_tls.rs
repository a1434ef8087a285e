//! A stand-in without the feature `redis-tls`: the redis crate connects over TLS, or reports that it cannot.

use std::io;

use redis::ConnectionAddr;

use super::wire::NetStream;

/// Whether this build can connect over TLS.
pub(super) const IS_ON: bool = false;

#[derive(Clone, Default)]
pub(in super::super) struct Tls;

pub(in super::super) const fn prepare() {}

impl Tls {
    pub(super) const fn is_given(&self) -> bool {
        false
    }

    pub(super) const fn is_for(&self, _: &ConnectionAddr) -> bool {
        false
    }

    pub(super) async fn over(&self, _: Box<dyn NetStream>, _: &str) -> io::Result<Box<dyn NetStream>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
