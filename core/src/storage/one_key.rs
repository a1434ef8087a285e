//! The state of one key, without a table: the smallest storage.

use core::cell::RefCell;
use core::fmt;

use super::access::{Access, SingleThread};
use super::restored_offset::RestoredOffset;
use super::saved::{self, Image};
use super::{Answer, Storage, StorageError, WaitQueue};
use crate::{Clock, Key, Op, State, Strategy, Timestamp};

/// The state of one key, for a limit that is one for all: of an uplink, an alarm, a log.
///
/// Choose it where there is nothing to tell apart. It has no table, no hash and no seed, and is asked with
/// whatever key: **all keys are the same one**. Use `&()`.
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
/// Those who [wait](crate::Limiter::until_ready) do so in the order of the key that they name: use the same
/// one everywhere, such as `&()`. Beyond the state it takes 16 bytes, and what the clock takes. A clock that is
/// set back locks it for no longer than its limit lasts, if the limit can be [rebased](Strategy::rebase), as
/// all of this crate can.
pub struct OneKey<S: Strategy, C, A: Access = SingleThread> {
    cell: A::Cell<OneKeyState<S::State>>,
    queue: A::Queue<()>,
    clock: C,
}

/// A state, and how far the time of the storage is ahead of its clock.
#[derive(Debug)]
pub(super) struct OneKeyState<T> {
    state: T,
    offset: RestoredOffset,
}

impl<T: State> OneKeyState<T> {
    pub(super) const NEW: Self = Self { state: T::FRESH, offset: RestoredOffset::NONE };

    /// Applies an operation, at a time that was read before or, if it is that, at the present.
    #[inline]
    fn apply<S: Strategy<State = T>>(
        &mut self,
        strategy: &S,
        op: &Op<S>,
        now: Option<Timestamp>,
        clock: &impl Clock,
    ) -> Answer<S> {
        // Read while nobody comes between: an older time than that of the state is that of a clock which was
        // set back. A time that was read before may have been overtaken.
        let present = self.offset.of(clock.now());
        // Does nothing but compare two times, unless the clock was set back.
        let _ = strategy.rebase(&mut self.state, now.map_or(present, |now| now.max(present)));
        Ok(op.run(strategy, &mut self.state, now.unwrap_or(present)))
    }
}

impl<S: Strategy, C> OneKey<S, C> {
    /// A storage of one key never seen, for use from one thread or core.
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
    /// Writes what is remembered to the front of `out`, for [`restore`](Self::restore) after a reset. Returns
    /// how many bytes that takes.
    ///
    /// # Errors
    ///
    /// Fails with [`Invalid`](crate::ErrorKind::Invalid) if `out` is too short; [`SAVED`](Self::SAVED) bytes
    /// always do.
    pub fn save(&self, out: &mut [u8]) -> Result<usize, StorageError> {
        let clock = self.clock.now();
        let length = A::with(&self.cell, |it| {
            saved::write::<S::State>(out, saved::ONE, it.offset.of(clock), |out| it.state.encode(out))
        })?;
        saved::seal(out, length)
    }

    /// Takes over what was saved before a reset, in place of what is remembered now. Bytes behind it do not
    /// matter.
    ///
    /// The storage goes on from the time of saving, or from that of its clock if that is later: see
    /// [`Fixed::restore`](super::Fixed::restore).
    ///
    /// # Errors
    ///
    /// Fails with [`DecodeError`](crate::ErrorKind::Corrupt) if the bytes are cut short or changed, or were not
    /// saved by a storage of one key with such a limit; the storage is then as it was.
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
