//! The builder of a deny cache.

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

/// The options of a [`DenyCache`].
///
/// [`DenyCache::builder`] creates it. Every option has a default.
///
/// ```
/// use traffik::layer::DenyCache;
/// use traffik::storage::Local;
/// use traffik::{CoarseClock, Memory, TokenBucket};
///
/// let store = Local(Memory::<TokenBucket>::new(1_000));
/// let builder = DenyCache::<TokenBucket, _>::builder(store).keys(1_000);
/// let storage = builder.clock(CoarseClock::default()).build();
/// assert_eq!(storage.remembered(), 0);
/// ```
#[must_use]
pub struct DenyCacheBuilder<S, T> {
    storage: T,
    strategy: PhantomData<fn(S)>,
    keys: usize,
    clock: Option<Box<dyn Clock + Send + Sync>>,
    seed: Option<u64>,
}

impl<S: Strategy + PartialEq, T> DenyCacheBuilder<S, T> {
    setters! {
        /// Sets the number of denials to remember, rounded up to a multiple of eight. Defaults to 10 000.
        /// Keys are spread over sets of eight; in a full set the denial that ends first gives way.
        pub const fn keys(most: usize) => keys = most;

        /// Sets the clock, which should not step. Defaults to a [`MonotonicClock`].
        pub fn clock(clock: impl Clock + Send + Sync + 'static) => clock = Some(Box::new(clock));

        /// Sets the secret that keys are hashed with, which clients must not know. Defaults to a random
        /// number.
        pub const fn seed(seed: u64) => seed = Some(seed);
    }

    /// Builds the storage.
    #[must_use]
    pub fn build(self) -> DenyCache<S, T> {
        let denials = DenialTable::new(self.keys, self.seed.unwrap_or_else(random));
        let clock = self.clock.unwrap_or_else(|| Box::new(MonotonicClock::default()));
        let inner = Arc::new(DenyCacheInner { denials, clock, answered: AtomicU64::new(0) });
        DenyCache { storage: self.storage, inner }
    }
}

impl<S: Strategy + PartialEq, T> DenyCache<S, T> {
    /// Creates a builder of a deny cache around `storage`.
    ///
    /// The builder has three options. `keys`, a `usize`, is the number of denials to remember, rounded up
    /// to a multiple of eight; it defaults to 10 000. `clock` should not step; it defaults to a
    /// [`MonotonicClock`]. `seed`, a `u64` that clients must not know, is the secret of the keys' hashes;
    /// it defaults to a random number.
    pub const fn builder(storage: T) -> DenyCacheBuilder<S, T> {
        DenyCacheBuilder { storage, strategy: PhantomData, keys: 10_000, clock: None, seed: None }
    }
}

debug_fields!([S, T: Debug] DenyCacheBuilder<S, T>: storage, keys);
