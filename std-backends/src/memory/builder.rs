//! How a storage in memory is set up.

use std::marker::PhantomData;

use traffik_core::Clock;
use traffik_core::storage::WhenFull;
use traffik_core::strategy::State;

use super::shards::Shards;
use crate::util::setters::setters;
use crate::{FifoQueue, MonotonicClock};

/// The options of a [`Memory`](crate::Memory).
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
        /// Room for this many keys in use at a time.
        pub const fn capacity(capacity: usize) => capacity = capacity;

        /// Sets what gives way when there is no room.
        pub const fn when_full(when_full: WhenFull) => when_full = when_full;

        /// Remembers the names of about as many keys, those that are denied most, for
        /// [`Memory::denied`](crate::Memory::denied). Defaults to none: then nothing that a client
        /// wrote is kept.
        pub const fn track_denied_keys(most: usize) => names = most;

        /// The most that may wait for each key in [`until_ready`](traffik_core::Limiter::until_ready):
        /// one that comes then is refused at once, with the time it would have taken. Defaults to no bound.
        pub const fn max_waiting(max: usize) => max_waiting = max;
    }

    /// Which clock to use.
    pub fn clock<D: Clock>(self, clock: D) -> MemoryBuilder<S, D> {
        let Self { capacity, when_full, names, max_waiting, strategy, .. } = self;
        MemoryBuilder { capacity, when_full, clock, names, max_waiting, strategy }
    }

    /// The same for states of another kind.
    pub(super) fn of<T>(self) -> MemoryBuilder<T, C> {
        let Self { capacity, when_full, clock, names, max_waiting, .. } = self;
        MemoryBuilder { capacity, when_full, clock, names, max_waiting, strategy: PhantomData }
    }

    /// The parts of a storage.
    pub(super) fn parts<T: State>(self, secret: u64) -> (Shards<T>, C, FifoQueue) {
        let shards = Shards::new(self.capacity, self.when_full, self.names, secret);
        (shards, self.clock, FifoQueue::new().with_max(self.max_waiting))
    }
}
