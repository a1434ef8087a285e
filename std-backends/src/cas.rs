//! The compare-and-swap executor: runs any strategy on any store that can load and swap bytes.
//!
//! A [`Coalescing`] runs the operations that arrive for one key at the same time with one load and one
//! swap. So contention arises between processes only, not between the tasks of one.

use std::future::{pending, poll_fn};
use std::task::Poll;
use std::time::Duration;

use traffik_core::storage::BackendError;
use traffik_core::strategy::{State, decode, encode};
use traffik_core::{Class, Strategy, Timestamp};

use crate::util::state_ttl::state_ttl;

mod batch;
mod coalescing;
mod drive;
mod operation;
#[cfg(test)]
mod tests;

pub use coalescing::Coalescing;

// Types that appear in signatures; users seldom name them.
#[doc(hidden)]
pub use coalescing::PendingOp;
#[doc(hidden)]
pub use operation::Abandoned;

/// A store that keeps bytes by key, and replaces them only if they are unchanged.
///
/// Implement it for a store that has compare-and-swap but runs no scripts, such as a database row with a
/// version. [`Coalescing`] then makes an [`AsyncStorage`](traffik_core::storage::AsyncStorage) of it.
///
/// * A swap MUST be one atomic step: of two swaps with the same version, the store refuses one.
/// * The store MUST drop bytes once their time to live is over, and MUST NOT drop them earlier, unless the
///   store documents that it may.
/// * All users of the store MUST share one clock, or the store documents how much more its skew may admit.
/// * A swap whose outcome is unknown MUST fail with
///   [`ErrorKind::Timeout`](traffik_core::ErrorKind::Timeout).
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::{Arc, Mutex};
/// use traffik::cas::{Coalescing, CompareAndSwap, Versioned, Write};
/// use traffik::runtime::Manual;
/// use traffik::storage::BackendError;
/// use traffik::{AsyncLimiter, Clock, SystemClock, TokenBucket, rate};
///
/// /// A table whose version of a row is the row itself.
/// #[derive(Default)]
/// struct Rows(Mutex<HashMap<Vec<u8>, Vec<u8>>>);
///
/// impl CompareAndSwap for Rows {
///     type Version = Option<Vec<u8>>;
///
///     async fn load(&self, key: &[u8]) -> Result<Versioned<Self::Version>, BackendError> {
///         let bytes = self.0.lock().unwrap().get(key).cloned();
///         Ok(Versioned { version: bytes.clone(), bytes, now: SystemClock.now(), kept: None })
///     }
///
///     async fn swap(
///         &self,
///         key: &[u8],
///         version: Self::Version,
///         write: Write,
///     ) -> Result<Option<Versioned<Self::Version>>, BackendError> {
///         {
///             let mut rows = self.0.lock().unwrap();
///             if rows.get(key) == version.as_ref() {
///                 match write {
///                     Write::Store(bytes, _ttl) => rows.insert(key.to_vec(), bytes),
///                     Write::Remove => rows.remove(key),
///                 };
///                 return Ok(None);
///             }
///         }
///         self.load(key).await.map(Some) // somebody else was faster
///     }
/// }
///
/// let storage = Coalescing::new(Arc::new(Rows::default()));
/// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("1/min")), storage);
/// Manual::new().run(async {
///     assert!(limiter.check("alice").await?.is_allowed());
///     assert!(!limiter.check("alice").await?.is_allowed());
///     Ok::<(), BackendError>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait CompareAndSwap: Send + Sync + 'static {
    /// The proof that bytes are unchanged: a version number, or the bytes themselves.
    type Version: Send + 'static;

    /// Loads the bytes of a key. The call waits for the store as long as the store allows.
    ///
    /// A dropped future MUST leave the store unchanged.
    ///
    /// # Errors
    ///
    /// Fails with the failure of the store. A load changes nothing, so
    /// [`ErrorKind::Unavailable`](traffik_core::ErrorKind::Unavailable) fits a store that did not answer.
    fn load(&self, key: &[u8])
    -> impl Future<Output = Result<Versioned<Self::Version>, BackendError>> + Send;

    /// Replaces the bytes of a key if they still have the loaded version, and returns `None`. Otherwise
    /// returns the present bytes with their version.
    ///
    /// The call waits for the store as long as the store allows. The store may still make the swap of a
    /// dropped future.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Timeout`](traffik_core::ErrorKind::Timeout) if the outcome is unknown. With
    /// every other error the store MUST NOT make the swap any more.
    fn swap(
        &self,
        key: &[u8],
        version: Self::Version,
        write: Write,
    ) -> impl Future<Output = Result<Option<Versioned<Self::Version>>, BackendError>> + Send;

    /// Waits for `wait` before another attempt, after other processes changed a key several times.
    ///
    /// A store that has a timer SHOULD sleep for that time. Defaults to yielding once, so that other tasks
    /// that are ready run first. A dropped future leaves nothing behind.
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

    /// Completes at the end of the time that a call may take, counted from now.
    ///
    /// Defaults to never, which is right only for a store whose calls end themselves. A dropped future
    /// leaves nothing behind.
    fn deadline(&self) -> impl Future<Output = ()> + Send {
        pending()
    }

    /// Decodes the state in stored bytes. Bytes that are no state of the strategy MUST count as a key never
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

    /// Records that a key held bytes that are no state of the strategy, so that [`read`](Self::read) treats
    /// it as a key never seen.
    ///
    /// Defaults to doing nothing. A store MAY count such keys or log a warning.
    fn found_corrupt(&self) {}

    /// Encodes a state as of `now` for the store. [`read`](Self::read) MUST restore the same state.
    fn write<S: Strategy>(&self, strategy: &S, class: Class, state: &S::State, now: Timestamp) -> Write {
        Write::of(strategy, state, class, now)
    }
}

/// The bytes of a key with their version, at a time of the store's clock.
///
/// [`CompareAndSwap::load`] and a refused swap return it.
///
/// ```
/// use traffik::Timestamp;
/// use traffik::cas::Versioned;
///
/// let never_seen = Versioned { bytes: None, version: 0, now: Timestamp::from_micros(1), kept: None };
/// assert!(never_seen.bytes.is_none());
/// ```
#[derive(Clone, Debug)]
pub struct Versioned<M> {
    /// The bytes; `None` for a key that has none.
    pub bytes: Option<Vec<u8>>,
    /// The version that a swap compares with.
    pub version: M,
    /// The present time of the store's clock.
    pub now: Timestamp,
    /// The remaining time to live of the bytes, if the store reports it. A denial that lasts over 2 s longer,
    /// as after a change of the limit, makes the executor store the bytes again.
    pub kept: Option<Duration>,
}

/// A change to the bytes of a key.
///
/// A store receives it in [`CompareAndSwap::swap`].
///
/// ```
/// use std::time::Duration;
/// use traffik::cas::Write;
/// use traffik::{Class, Hit, Strategy, Timestamp, TokenBucket, rate};
///
/// let strategy = TokenBucket::new(rate!("60/min").into());
/// let (mut state, class, now) = (Default::default(), Class::default(), Timestamp::EPOCH);
/// assert_eq!(Write::of(&strategy, &state, class, now), Write::Remove);
/// strategy.charge(&mut state, &Hit::new(2), now);
/// let Write::Store(_, ttl) = Write::of(&strategy, &state, class, now) else { unreachable!() };
/// assert_eq!(ttl, Duration::from_secs(2)); // full again after that time
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// Removes the key.
    Remove,
    /// Stores bytes, to be kept for this time from now on.
    Store(Vec<u8>, Duration),
}

impl Write {
    /// The longest time to live, in microseconds: a century stands for ever.
    const LONGEST: u64 = 100 * 366 * 24 * 3_600 * 1_000_000;

    /// Encodes a state as of `now`. Returns [`Remove`](Self::Remove) if the state is fresh by then, or equals
    /// that of a key never seen.
    ///
    /// Any storage that keeps bytes with a time to live can use it, with [`state`] to decode them.
    pub fn of<S: Strategy>(strategy: &S, state: &S::State, class: Class, now: Timestamp) -> Self {
        let rest = state_ttl(strategy, state, class, now).min(Self::LONGEST);
        if rest == 0 || *state == S::State::default() {
            return Self::Remove;
        }
        let mut bytes = vec![0; S::State::MAX_LEN];
        // A state encodes to at most `MAX_LEN` bytes, so this never fails.
        let length = encode(state, &mut bytes).unwrap_or_default();
        bytes.truncate(length);
        Self::Store(bytes, Duration::from_micros(rest))
    }
}

/// Decodes a state. Missing bytes, and bytes that are no state, give the state of a key never seen.
pub fn state<S: Strategy>(bytes: Option<&[u8]>) -> S::State {
    state_or::<S>(bytes, || {})
}

/// Decodes a state as [`state`] does, and calls `corrupt` if the bytes are no state.
pub(crate) fn state_or<S: Strategy>(bytes: Option<&[u8]>, corrupt: impl FnOnce()) -> S::State {
    let Some(bytes) = bytes else { return S::State::default() };
    decode(bytes).unwrap_or_else(|_| {
        corrupt();
        S::State::default()
    })
}
