//! The builder of a storage in memory.

use std::marker::PhantomData;

use traffik_core::Clock;
use traffik_core::storage::WhenFull;
use traffik_core::strategy::State;

use super::shards::Shards;
use crate::util::setters::setters;
use crate::{FifoQueue, MonotonicClock};

/// The options of a [`Memory`](crate::Memory) or a [`SharedMemory`](crate::SharedMemory).
///
/// [`Memory::builder`](crate::Memory::builder) and [`SharedMemory::builder`](crate::SharedMemory::builder)
/// create it. Every option has a default.
///
/// ```
/// use traffik::storage::WhenFull;
/// use traffik::{Memory, TokenBucket};
///
/// let builder = Memory::<TokenBucket>::builder().capacity(1_000).when_full(WhenFull::Refuse);
/// let storage = builder.track_denied_keys(10).max_waiting(100).build();
/// assert!(storage.is_empty());
/// ```
#[derive(Debug)]
#[must_use]
pub struct MemoryBuilder<S, C = MonotonicClock> {
    capacity: usize,
    when_full: WhenFull,
    clock: C,
    names: usize,
    max_waiting: usize,
    strategy: PhantomData<fn() -> S>,
}

impl<S> MemoryBuilder<S> {
    pub(super) fn new() -> Self {
        let (when_full, clock) = (WhenFull::default(), MonotonicClock::default());
        let max_waiting = usize::MAX;
        Self { capacity: 1 << 16, when_full, clock, names: 0, max_waiting, strategy: PhantomData }
    }
}

impl<S, C> MemoryBuilder<S, C> {
    setters! {
        /// Sets the number of keys in use at a time. Defaults to 65 536.
        pub const fn capacity(capacity: usize) => capacity = capacity;

        /// Sets the policy for a new key that finds no free slot. Defaults to [`WhenFull::Evict`], which
        /// gives up the key that would be fresh soonest.
        pub const fn when_full(when_full: WhenFull) => when_full = when_full;

        /// Sets how many of the most denied keys are remembered by name, for
        /// [`Memory::denied`](crate::Memory::denied). Rounded up to a multiple of eight. Defaults to 0, so
        /// that the storage keeps nothing that a client wrote.
        pub const fn track_denied_keys(most: usize) => names = most;

        /// Sets the most callers that may wait for each key in
        /// [`until_ready`](traffik_core::Limiter::until_ready). A caller beyond that fails at once, with the
        /// wait it would have had. Defaults to no bound.
        pub const fn max_waiting(max: usize) => max_waiting = max;
    }

    /// Sets the clock. Defaults to a [`MonotonicClock`].
    pub fn clock<D: Clock>(self, clock: D) -> MemoryBuilder<S, D> {
        let Self { capacity, when_full, names, max_waiting, strategy, .. } = self;
        MemoryBuilder { capacity, when_full, clock, names, max_waiting, strategy }
    }

    /// Returns the same options for states of another type.
    pub(super) fn of<T>(self) -> MemoryBuilder<T, C> {
        let Self { capacity, when_full, clock, names, max_waiting, .. } = self;
        MemoryBuilder { capacity, when_full, clock, names, max_waiting, strategy: PhantomData }
    }

    /// Returns the parts of a storage.
    pub(super) fn parts<T: State>(self, secret: u64) -> (Shards<T>, C, FifoQueue) {
        let shards = Shards::new(self.capacity, self.when_full, self.names, secret);
        (shards, self.clock, FifoQueue::new().with_max(self.max_waiting))
    }
}
