//! A storage of one key, without a table: the smallest one.

use core::cell::RefCell;
use core::fmt;

use super::access::{Access, SingleThread};
use super::restored_offset::RestoredOffset;
use super::saved::{self, Image};
use super::{Answer, Storage, StorageError, WaitQueue};
use crate::{Clock, Key, Op, State, Strategy, Timestamp};

/// A storage of a single state, for a limit that is the same for all: of an uplink, an alarm, a log.
///
/// Choose it where there is only one thing to limit; for several keys choose [`Fixed`](crate::Fixed). It has
/// no table, no hash and no seed. It accepts any key, and **all keys are the same one**: use `&()`.
///
/// ```
/// use traffik::{Gcra, Limiter, ManualClock, OneKey, rate};
///
/// let uplink = Limiter::new(Gcra::new(rate!("2/s")), OneKey::new(ManualClock::default()));
/// assert!(uplink.check(&())?.is_allowed());
/// assert!(!uplink.check(&())?.is_allowed());
/// # Ok::<(), traffik::StorageError>(())
/// ```
///
/// Waiters in [`until_ready`](crate::Limiter::until_ready) queue by the key that they name: use the same key
/// everywhere, such as `&()`. Beyond the state and the clock it takes 16 bytes, and a shared one more for its
/// waiters. A clock that is set back locks it for no longer than its limit lasts, if the strategy can be
/// [rebased](Strategy::rebase), as all of this crate can.
pub struct OneKey<S: Strategy, C, A: Access = SingleThread> {
    cell: A::Cell<OneKeyState<S::State>>,
    queue: A::Queue<()>,
    clock: C,
}

/// The part of a `OneKey` that changes: the state, and the offset of its time from the clock.
#[derive(Debug)]
pub(super) struct OneKeyState<T> {
    state: T,
    offset: RestoredOffset,
}

impl<T: State> OneKeyState<T> {
    pub(super) const NEW: Self = Self { state: T::FRESH, offset: RestoredOffset::NONE };

    /// Applies an operation at `now`, which was read before, or at the present if it is `None`.
    #[inline]
    fn apply<S: Strategy<State = T>>(
        &mut self,
        strategy: &S,
        op: &Op<S>,
        now: Option<Timestamp>,
        clock: &impl Clock,
    ) -> Answer<S> {
        // Read within the section, so that no interrupt comes between: a time older than that of the state
        // can then only come from a clock that was set back. An interrupt may have overtaken an earlier
        // reading.
        let present = self.offset.of(clock.now());
        // It only compares two times, unless the clock was set back.
        let _ = strategy.rebase(&mut self.state, now.map_or(present, |now| now.max(present)));
        Ok(op.run(strategy, &mut self.state, now.unwrap_or(present)))
    }
}

impl<S: Strategy, C> OneKey<S, C> {
    /// Creates a storage with a fresh state, for use from one thread or core.
    #[inline]
    #[must_use]
    pub const fn new(clock: C) -> Self {
        Self::of(RefCell::new(OneKeyState::NEW), (), clock)
    }
}

impl<S: Strategy, C, A: Access> OneKey<S, C, A> {
    /// The most bytes that [`save`](Self::save) writes.
    pub const SAVED: usize = saved::FRAME + S::State::MAX_LEN;

    pub(super) const fn of(cell: A::Cell<OneKeyState<S::State>>, queue: A::Queue<()>, clock: C) -> Self {
        Self { cell, queue, clock }
    }
}

impl<S: Strategy, C: Clock, A: Access> OneKey<S, C, A> {
    /// Writes the state to the front of `out`, for [`restore`](Self::restore) after a reset.
    ///
    /// Returns the number of bytes written.
    ///
    /// ```
    /// use traffik::{Gcra, Limiter, ManualClock, OneKey, rate};
    ///
    /// let limiter = Limiter::new(Gcra::new(rate!("1/min")), OneKey::new(ManualClock::default()));
    /// assert!(limiter.check(&())?.is_allowed());
    /// let mut image = [0; OneKey::<Gcra, ManualClock>::SAVED];
    /// limiter.storage().save(&mut image)?;
    ///
    /// let after = Limiter::new(Gcra::new(rate!("1/min")), OneKey::new(ManualClock::default()));
    /// after.storage().restore(&image)?;
    /// assert!(!after.check(&())?.is_allowed());
    /// # Ok::<(), traffik::StorageError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails with [`Invalid`](crate::ErrorKind::Invalid) if `out` is too short; [`SAVED`](Self::SAVED) bytes
    /// are always enough.
    pub fn save(&self, out: &mut [u8]) -> Result<usize, StorageError> {
        let clock = self.clock.now();
        let length = A::with(&self.cell, |it| {
            saved::write::<S::State>(out, saved::ONE, it.offset.of(clock), |out| it.state.encode(out))
        })?;
        saved::seal(out, length)
    }

    /// Replaces the state by one that was saved before a reset. Bytes behind the saved ones do not matter.
    ///
    /// The storage goes on from the time of saving, or from that of its clock if that is later: see
    /// [`Fixed::restore`](super::Fixed::restore).
    ///
    /// # Errors
    ///
    /// Fails with [`Corrupt`](crate::ErrorKind::Corrupt) if the bytes are cut short or changed, or were not
    /// saved by a storage of one key with such a limit; the storage then stays as it was.
    pub fn restore(&self, bytes: &[u8]) -> Result<(), StorageError> {
        let mut image = Image::open::<S::State>(bytes, saved::ONE)?;
        let state = S::State::decode(&mut image.body)?;
        image.check(&image.body)?;
        let offset = RestoredOffset::from(image.at, self.clock.now());
        A::with(&self.cell, |it| {
            *it = OneKeyState { state, offset };
            Ok(())
        })
    }
}

debug_fields!([S: Strategy, C: fmt::Debug, A: Access] OneKey<S, C, A>: clock);

impl<S: Strategy, C: Clock, A: Access> Storage<S> for OneKey<S, C, A> {
    fn now(&self) -> Timestamp {
        let clock = self.clock.now();
        A::with(&self.cell, |it| Ok(it.offset.of(clock))).unwrap_or(clock)
    }

    #[inline]
    fn apply<K: Key + ?Sized>(&self, strategy: &S, _: &K, op: &Op<S>, now: Timestamp) -> Answer<S> {
        A::with(&self.cell, |it| it.apply(strategy, op, Some(now), &self.clock))
    }

    #[inline]
    fn apply_now<K: Key + ?Sized>(&self, strategy: &S, _: &K, op: &Op<S>) -> Answer<S> {
        A::with(&self.cell, |it| it.apply(strategy, op, None, &self.clock))
    }

    fn load<K: Key + ?Sized>(&self, _: &K) -> Result<S::State, StorageError> {
        A::with(&self.cell, |it| Ok(it.state.clone()))
    }

    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        A::queue(&self.queue)
    }
}
