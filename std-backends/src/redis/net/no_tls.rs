//! Where TLS is not turned on, the redis crate connects over it, or says that it cannot.

use std::io;

use redis::ConnectionAddr;

use super::wire::Stream;

/// Whether servers can be connected to over TLS.
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

    pub(super) async fn over(&self, _: Box<dyn Stream>, _: &str) -> io::Result<Box<dyn Stream>> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
