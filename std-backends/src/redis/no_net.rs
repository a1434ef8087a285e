//! Stand-ins for `net` without a runtime feature: no value of these types exists, so no connection is made.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{Cmd, RedisError, Value};
use traffik_core::storage::BackendError;

use super::budgets::Budgets;
use super::known::KnownScripts;
use crate::util::evictions::Evictions;
use crate::util::warning::LogWriter;

pub(super) enum Place {}

pub(super) enum Network {}

pub(super) enum Link {}

pub(super) enum NetSession {}

#[derive(Default)]
pub(super) struct Tls;

pub(super) const fn prepare() {}

/// Whether a runtime offers a timer for calls.
pub(super) const HAS_TIMER: bool = false;

pub(super) const fn has_timer() -> Result<(), BackendError> {
    Ok(())
}

pub(super) async fn wait(_: Duration) {}

impl NetSession {
    pub(super) async fn ask(&mut self, _: &Cmd) -> Result<Value, RedisError> {
        match *self {}
    }
}

impl Link {
    pub(super) async fn call<T, F: Future<Output = Result<T, RedisError>>>(
        &self,
        _: Instant,
        _: impl Fn(NetSession) -> F,
    ) -> Result<T, BackendError> {
        match *self {}
    }
}

impl Network {
    pub(super) fn new(
        place: Place,
        _: Tls,
        _: Budgets,
        _: LogWriter,
        _: (Arc<Evictions>, Arc<KnownScripts>),
    ) -> Result<Self, BackendError> {
        match place {}
    }

    pub(super) async fn call<T, F: Future<Output = Result<T, RedisError>>>(
        &self,
        _: &[u8],
        _: Instant,
        _: impl Fn(NetSession) -> F,
    ) -> Result<T, BackendError> {
        match *self {}
    }

    pub(super) async fn connect(&self, _: &[u8], _: Instant) -> Result<(), BackendError> {
        match *self {}
    }

    pub(super) fn node(&self, _: impl FnOnce() -> Vec<u8>) -> Option<Arc<str>> {
        match *self {}
    }

    pub(super) fn faults(&self) -> Vec<(Arc<str>, Option<BackendError>)> {
        match *self {}
    }

    pub(super) async fn masters(&self, _: Instant) -> Result<Vec<Arc<Link>>, BackendError> {
        match *self {}
    }

    pub(super) async fn key_of_each(
        &self,
        _: Instant,
        _: impl Fn(u32) -> Vec<u8>,
    ) -> Result<Vec<Vec<u8>>, BackendError> {
        match *self {}
    }

    pub(super) async fn look(&self, _: Instant) {
        match *self {}
    }

    pub(super) const fn is_cluster(&self) -> bool {
        match *self {}
    }

    pub(super) fn close(&self) {
        match *self {}
    }
}
