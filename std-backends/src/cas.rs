//! The compare-and-swap executor: any strategy on any store that can load and swap.
//!
//! A [`Coalescing`] carries operations on one key that come at the same time by one load and one swap:
//! contention is among processes then, not among the tasks of one.

use std::future::{pending, poll_fn};
use std::task::Poll;
use std::time::Duration;

use traffik_core::storage::BackendError;
use traffik_core::strategy::{State, decode, encode};
use traffik_core::{Class, Strategy, Timestamp};

use crate::util::kept::kept_for;

mod batch;
mod coalescing;
mod drive;
mod operation;
#[cfg(test)]
mod tests;

pub use coalescing::Coalescing;

// What stands in signatures, and nobody has to name.
#[doc(hidden)]
pub use coalescing::PendingOp;
#[doc(hidden)]
pub use operation::Abandoned;

/// A store that keeps bytes by key, and replaces them if they are still what they were.
///
/// * A swap MUST be one atomic step: of two that were loaded alike, one is refused.
/// * What is stored MUST be gone once its time to live is over, and MUST NOT be gone before, unless the store
///   says so.
/// * The clock MUST be one for all that share the store, or else the store states what its skew may add.
/// * A swap whose outcome is unknown MUST be reported as
///   [`ErrorKind::Timeout`](traffik_core::ErrorKind::Timeout).
pub trait CompareAndSwap: Send + Sync + 'static {
    /// What tells whether bytes are still what they were: a version, or the bytes themselves.
    type Version: Send + 'static;

    /// What is stored at a key.
    fn load(&self, key: &[u8])
    -> impl Future<Output = Result<Versioned<Self::Version>, BackendError>> + Send;

    /// Replaces what is stored at a key if it is still what was loaded; else answers what is there now.
    fn swap(
        &self,
        key: &[u8],
        version: Self::Version,
        change: Write,
    ) -> impl Future<Output = Result<Option<Versioned<Self::Version>>, BackendError>> + Send;

    /// Waits before another attempt, after others have changed a key several times. A store that has a timer
    /// SHOULD wait by it; without one, whatever else is ready to run does so first.
    fn pause(&self, wait: Duration) -> impl Future<Output = ()> + Send {
        let _ = wait;
        let mut waited = false;
        poll_fn(move |context| {
            if std::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
    }

    /// Completes when a call has taken as long as it may, from when it is asked on. Never by default, which
    /// is right only for a store whose calls end by themselves.
    fn deadline(&self) -> impl Future<Output = ()> + Send {
        pending()
    }

    /// The state that is meant by what is stored. What is no state of the strategy MUST count as a key never
    /// seen.
    fn read<S: Strategy>(
        &self,
        strategy: &S,
        class: Class,
        stored: Option<&[u8]>,
        now: Timestamp,
    ) -> S::State {
        let _ = (strategy, class, now);
        state_or::<S>(stored, || self.found_corrupt())
    }

    /// Notes that what is stored at a key is no state of the strategy, and was [read](Self::read) as that of
    /// a key never seen. Does nothing by default; a store MAY count it, or write a warning.
    fn found_corrupt(&self) {}

    /// What is to be stored for a state that was left at this time; [`read`](Self::read) MUST make the same
    /// state of it.
    fn write<S: Strategy>(&self, strategy: &S, class: Class, state: &S::State, now: Timestamp) -> Write {
        Write::of(strategy, state, class, now)
    }
}

/// What was stored at a key, and when that was.
#[derive(Clone, Debug)]
pub struct Versioned<M> {
    /// The bytes, if there are any.
    pub bytes: Option<Vec<u8>>,
    /// What a swap is to be held against.
    pub version: M,
    /// The present, by the clock of the store.
    pub now: Timestamp,
    /// The time for which the bytes will yet be kept, if the store reports that. A denial that says it will
    /// last for longer, as after a change of the limit, then has them stored anew.
    pub kept: Option<Duration>,
}

/// What is to be stored at a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Nothing.
    Remove,
    /// Bytes, for as long as this from now.
    Store(Vec<u8>, Duration),
}

impl Write {
    /// The longest that anything is kept: a century stands for ever.
    const LONGEST: u64 = 100 * 366 * 24 * 3_600 * 1_000_000;

    /// What is to be stored of a state that was left at this time.
    pub fn of<S: Strategy>(strategy: &S, state: &S::State, class: Class, now: Timestamp) -> Self {
        let rest = kept_for(strategy, state, class, now).min(Self::LONGEST);
        if rest == 0 || *state == S::State::default() {
            return Self::Remove;
        }
        let mut bytes = vec![0; S::State::MAX_LEN];
        // No state is longer than it says.
        let length = encode(state, &mut bytes).unwrap_or_default();
        bytes.truncate(length);
        Self::Store(bytes, Duration::from_micros(rest))
    }
}

/// The state that these bytes are, or that of a key never seen.
pub fn state<S: Strategy>(bytes: Option<&[u8]>) -> S::State {
    state_or::<S>(bytes, || {})
}

/// The same, and calls a function if there are bytes that are no state.
pub(crate) fn state_or<S: Strategy>(bytes: Option<&[u8]>, corrupt: impl FnOnce()) -> S::State {
    let Some(bytes) = bytes else { return S::State::default() };
    decode(bytes).unwrap_or_else(|_| {
        corrupt();
        S::State::default()
    })
}
