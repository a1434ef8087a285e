//! Storages that tasks and interrupts share.

use core::cell::RefCell;

use critical_section::Mutex;

use super::access::{Access, Naming, run_in, sealed};
use super::fixed::{Fixed, FixedState};
use super::one_key::{OneKey, OneKeyState};
use super::waiting::Queue;
use super::{StorageError, WaitQueue};
use crate::{Seed, Strategy};

/// The access to a [`Fixed`] or a [`OneKey`] that tasks and interrupts share, which can be a `static`.
///
/// Choose it where more than one task, an interrupt, or another core uses a limiter. It needs the feature
/// `critical-section`; the binary chooses the implementation of critical sections, by a feature of its chip's
/// crate.
///
/// ```
/// use traffik::{Fixed, Limiter, ManualClock, Shared, Timestamp, TokenBucket, rate};
///
/// // With a clock of your own, such as `EmbassyClock::new()`.
/// static CLOCK: ManualClock = ManualClock::new(Timestamp::EPOCH);
/// static COMMANDS: Limiter<TokenBucket, Fixed<TokenBucket, &ManualClock, 16, Shared<4>>> =
///     Limiter::new(TokenBucket::new(rate!("5/s")), Fixed::shared(&CLOCK, 1));
///
/// // At boot, from a source of random numbers: a constant seed is known to everybody.
/// COMMANDS.storage().reseed(0x5eed_5eed_5eed_5eed);
/// assert!(COMMANDS.check("pump-7")?.is_allowed()); // in a task or in an interrupt
/// # Ok::<(), traffik::StorageError>(())
/// ```
///
/// * **Critical sections.** A check in a `Fixed` takes two: a short one for the seed, and one that reads the
///   clock and decides. A check in a `OneKey` takes only the second. The key is hashed between the two, so
///   the length of a section does not depend on the key. The section takes fewer instructions than the whole
///   check, for which [`Fixed`](crate::Fixed#choosing-n) states figures; that of a `OneKey` takes no more
///   than that of a known key. `save`, `restore`, `reseed` and `len` look at every slot in one section, so
///   call them when no interrupt is urgent.
/// * **Waiting.** [`until_ready`](crate::Limiter::until_ready) serves the waiters of a key in the order in
///   which they came. `WAITERS` of them may wait at a time, over all keys. One more fails with
///   [`WaitError::TooLong`](crate::WaitError::TooLong), which holds the wait that would have been necessary.
///   A place takes 40 bytes on a 32-bit processor. With `Shared<0>` there is no queue: each waiter tries
///   again after its own denial, in no order.
/// * **Drop.** A future that is dropped while it waits gives its place to the next one, which wakes at once,
///   outside of the critical section.
#[derive(Debug)]
pub enum Shared<const WAITERS: usize> {}

impl<const WAITERS: usize> sealed::Sealed for Shared<WAITERS> {}

impl<const WAITERS: usize> Access for Shared<WAITERS> {
    const IS_AWAITED: bool = true;

    type Cell<T> = Mutex<RefCell<T>>;
    type Queue<K: Naming> = Queue<K, WAITERS>;

    #[inline]
    fn with<T, R>(
        cell: &Mutex<RefCell<T>>,
        run: impl FnOnce(&mut T) -> Result<R, StorageError>,
    ) -> Result<R, StorageError> {
        critical_section::with(|section| run_in(cell.borrow(section), run))
    }

    fn queue<K: Naming>(queue: &Queue<K, WAITERS>) -> Option<&dyn WaitQueue> {
        if WAITERS == 0 { None } else { Some(queue) }
    }

    fn rename<K: Naming>(queue: &Queue<K, WAITERS>, names: K) {
        queue.rename(names);
    }
}

impl<S: Strategy, C, const N: usize, const WAITERS: usize> Fixed<S, C, N, Shared<WAITERS>> {
    /// Creates an empty storage that tasks and interrupts share.
    ///
    /// A `static` cannot draw a random seed: [`reseed`](Self::reseed) it at boot wherever others choose the
    /// keys.
    #[must_use]
    pub const fn shared(clock: C, seed: u64) -> Self {
        let cell = Mutex::new(RefCell::new(FixedState::new(seed)));
        Self::of(cell, Queue::new(Seed::new(seed)), clock)
    }
}

impl<S: Strategy, C, const WAITERS: usize> OneKey<S, C, Shared<WAITERS>> {
    /// Creates a storage with a fresh state that tasks and interrupts share.
    #[must_use]
    pub const fn shared(clock: C) -> Self {
        Self::of(Mutex::new(RefCell::new(OneKeyState::NEW)), Queue::new(()), clock)
    }
}
