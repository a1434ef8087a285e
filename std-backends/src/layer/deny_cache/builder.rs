//! How many denials are remembered, and by which clock.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::Arc;

use portable_atomic::AtomicU64;
use traffik_core::{Clock, Strategy, debug_fields};

use crate::MonotonicClock;
use crate::layer::deny_cache::storage::{DenyCache, DenyCacheInner};
use crate::layer::deny_cache::table::DenialTable;
use crate::util::random::random;
use crate::util::setters::setters;

/// What a [`DenyCache`] is to be like.
#[must_use]
pub struct DenyCacheBuilder<S, T> {
    storage: T,
    limit: PhantomData<fn(S)>,
    keys: usize,
    clock: Option<Box<dyn Clock + Send + Sync>>,
    seed: Option<u64>,
}

impl<S: Strategy + PartialEq, T> DenyCacheBuilder<S, T> {
    setters! {
        /// Remembers up to so many denials, rounded up to a multiple of eight: 10 000 if nothing is said.
        /// Where there is no room, whichever is over first gives way.
        pub const fn keys(most: usize) => keys = most;

        /// Goes by this clock, which should not step; by a [`MonotonicClock`] if nothing is said.
        pub fn clock(clock: impl Clock + Send + Sync + 'static) => clock = Some(Box::new(clock));

        /// Tells keys apart by a hash that is keyed with this, which clients must not know; with a random
        /// number if nothing is said.
        pub const fn seed(seed: u64) => seed = Some(seed);
    }

    /// The storage.
    #[must_use]
    pub fn build(self) -> DenyCache<S, T> {
        let denials = DenialTable::new(self.keys, self.seed.unwrap_or_else(random));
        let clock = self.clock.unwrap_or_else(|| Box::new(MonotonicClock::default()));
        let inner = Arc::new(DenyCacheInner { denials, clock, answered: AtomicU64::new(0) });
        DenyCache { storage: self.storage, inner }
    }
}

impl<S: Strategy + PartialEq, T> DenyCache<S, T> {
    /// The storage, not asked again about what it has just denied, once the builder is built.
    ///
    /// The builder has three options: `keys`, a `usize`, how many denials are remembered, rounded up to a
    /// multiple of eight, 10 000 by default; `clock`, which should not step, a [`MonotonicClock`] by default;
    /// and `seed`, a `u64` that clients must not know and keys are hashed with, random by default.
    pub const fn builder(storage: T) -> DenyCacheBuilder<S, T> {
        DenyCacheBuilder { storage, limit: PhantomData, keys: 10_000, clock: None, seed: None }
    }
}

debug_fields!([S, T: Debug] DenyCacheBuilder<S, T>: storage, keys);
