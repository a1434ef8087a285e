//! Any store that can get and set, as a storage: by holding a lock around the two.

use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use traffik_core::storage::{AsyncStorage, BackendError, Reply, WaitQueue};
use traffik_core::strategy::{decode, encode};
use traffik_core::{Clock, ErasedKey, ErrorKind, Op, State, Strategy, Timer, Timestamp, debug_fields};

use crate::lock::{Lock, Locks};
use crate::util::kept::kept_for;
use crate::util::key::bytes;
use crate::util::race::{Either, race};
use crate::{FifoQueue, SystemClock};

/// A store that keeps bytes by key, and forgets them in time.
///
/// * What was set MUST be what is got from then on, whole, until it is over or set again.
/// * Bytes MUST be kept until their time is over; it SHOULD then not take long until they are gone. A store that counts
///   in coarser units MUST round up.
/// * No bytes at all (an empty slice) MUST remove the key, and are never got.
/// * A key is any bytes, the empty ones too; different bytes MUST be different keys.
/// * A `set` that may or may not have happened, or may happen yet, MUST be reported as [`ErrorKind::Timeout`]; with any
///   other error it MUST NOT happen any more.
pub trait KeyValueStore: Send + Sync + 'static {
    /// The bytes of a key, if it has any.
    fn get(&self, key: &[u8]) -> impl Future<Output = Result<Option<Vec<u8>>, BackendError>> + Send;

    /// Gives a key these bytes for so long.
    fn set(
        &self,
        key: &[u8],
        bytes: &[u8],
        ttl: Duration,
    ) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// The present, by a clock that all who write to the store share: the wall clock, unless the store has its own.
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }
}

/// Keeps states in a store that can only get and set, each under a lock of its key's name.
///
/// * An operation takes the lock, gets, decides, and sets if there is anything to; a denial and a peek set nothing, and
///   a peek takes no lock. That is two calls of the store and two of the lock: for a store that can compare and swap, or
///   run a script, do that instead.
/// * Bytes that are no state of the strategy count as a key never seen.
/// * The lock is that of `Locks`, by its settings; its name is `traffik:` and the key. Not to have it in time is
///   [`ErrorKind::Contended`].
/// * The store has until the TTL of the lock is over. If it has not answered a `get` by then, nothing was charged and
///   that is [`ErrorKind::Unavailable`]; if not a `set`, that may or may not be so and is [`ErrorKind::Timeout`]. So is
///   a lock that ended under a `set`. So give the lock a TTL well above what the store takes.
/// * While the outcome of a `set` is unknown, as it is when an answer is dropped before it is there, the lock is left to
///   its TTL: nobody may look while the store may yet change.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Mutex;
/// use std::time::Duration;
/// use traffik::lock::{Locks, MemoryLock};
/// use traffik::{KeyValueStore, LockedStorage};
/// use traffik::storage::BackendError;
/// use traffik::{AsyncLimiter, Timer, TokenBucket, rate};
///
/// /// Keeps all it is given for ever, which is allowed; a real store forgets what is over.
/// #[derive(Default)]
/// struct Mine(Mutex<HashMap<Vec<u8>, Vec<u8>>>);
///
/// impl KeyValueStore for Mine {
///     async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, BackendError> {
///         Ok(self.0.lock().expect("nobody panics with it").get(key).filter(|bytes| !bytes.is_empty()).cloned())
///     }
///
///     async fn set(&self, key: &[u8], bytes: &[u8], _: Duration) -> Result<(), BackendError> {
///         self.0.lock().expect("nobody panics with it").insert(key.to_vec(), bytes.to_vec());
///         Ok(())
///     }
/// }
///
/// async fn come_in(runtime: impl Timer + Send + Sync + 'static) -> Result<bool, BackendError> {
///     let storage = LockedStorage::new(Mine::default(), Locks::new(MemoryLock::new(), runtime));
///     let limiter = AsyncLimiter::new(TokenBucket::new(rate!("100/min")), storage);
///     Ok(limiter.check("alice").await?.is_allowed())
/// }
/// ```
///
/// `examples/file_storage.rs` makes a directory of files a storage, and puts it to the test.
pub struct LockedStorage<T, L: ?Sized, R> {
    inner: Arc<LockedStorageInner<T, L, R>>,
}

struct LockedStorageInner<T, L: ?Sized, R> {
    store: T,
    wait_queue: FifoQueue,
    locks: Locks<L, R>,
}

impl<T: KeyValueStore, L: Lock + ?Sized, R: Timer> LockedStorage<T, L, R> {
    /// States in `store`, under `locks`. Whoever writes to the same store must use the same locks.
    pub fn new(store: T, locks: Locks<L, R>) -> Self {
        Self { inner: Arc::new(LockedStorageInner { store, wait_queue: FifoQueue::new(), locks }) }
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &T {
        &self.inner.store
    }
}

impl<S, T, L, R> AsyncStorage<S> for LockedStorage<T, L, R>
where
    S: Strategy,
    T: KeyValueStore,
    L: Lock + ?Sized + 'static,
    R: Timer + Send + Sync + 'static,
{
    fn apply(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        let (inner, strategy, key, op) = (Arc::clone(&self.inner), strategy.clone(), bytes(key), *op);
        Reply::pending(async move {
            if let Op::Peek(_) = op {
                let (mut state, now) = inner.read::<S>(&key).await?;
                return Ok(op.apply(&strategy, &mut state, now).0);
            }
            inner.apply(&strategy, &key, &op).await
        })
    }

    fn load(&self, _: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        let (inner, key) = (Arc::clone(&self.inner), bytes(key));
        Reply::pending(async move { inner.read::<S>(&key).await })
    }

    // Several keys are not checked together: several locks at once could wait for each other.

    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        Some(&self.inner.wait_queue)
    }
}

impl<T: KeyValueStore, L: Lock + ?Sized, R: Timer> LockedStorageInner<T, L, R> {
    async fn apply<S: Strategy>(
        &self,
        strategy: &S,
        key: &[u8],
        op: &Op<S>,
    ) -> Result<S::Verdict, BackendError> {
        let held = self.locks.lock([b"traffik:", key].concat()).await.map_err(nothing_charged)?;
        let mut end = pin!(self.locks.timer().sleep(held.ttl().get()));
        let (mut state, now) = match race(self.read::<S>(key), end.as_mut()).await {
            Either::Left(Ok(read)) => read,
            Either::Left(Err(failure)) => {
                let _ = race(held.release(), end).await;
                return Err(failure);
            }
            Either::Right(()) => return Err(BackendError::new(ErrorKind::Unavailable, LATE_GET)),
        };
        let (verdict, written) = op.apply(strategy, &mut state, now);
        if !written {
            // It has been decided, whatever becomes of the lock.
            let _ = race(held.release(), end).await;
            return Ok(verdict);
        }
        let ttl = Duration::from_micros(kept_for(strategy, &state, op.class(), now));
        let bytes = if ttl.is_zero() { Vec::new() } else { encoded(&state)? };
        // From here on nobody may have the lock before it is known whether the store has changed.
        let (lock, grant) = held.into_parts();
        match race(self.store.set(key, &bytes, ttl), end.as_mut()).await {
            Either::Right(()) => return Err(BackendError::new(ErrorKind::Timeout, LATE_SET)),
            Either::Left(Err(failure)) if failure.kind() == ErrorKind::Timeout => return Err(failure),
            Either::Left(Err(failure)) => {
                let _ = race(lock.release(grant), end).await;
                return Err(failure);
            }
            Either::Left(Ok(())) => {}
        }
        match race(lock.release(grant), end).await {
            Either::Left(Ok(false)) => Err(BackendError::new(ErrorKind::Timeout, LATE_SET)),
            // It was set in time. If the store of the locks is gone, the TTL ends this one.
            _ => Ok(verdict),
        }
    }

    /// The state of a key, and the time at which it was asked for.
    async fn read<S: Strategy>(&self, key: &[u8]) -> Result<(S::State, Timestamp), BackendError> {
        let bytes = self.store.get(key).await.map_err(nothing_charged)?;
        let state = bytes.and_then(|bytes| decode(&bytes).ok()).unwrap_or_default();
        Ok((state, self.store.now()))
    }
}

const LATE_GET: &str = "the store did not answer before the lock ended; nothing was charged";
const LATE_SET: &str = "the lock ended before the store had answered; what was to be charged may or may not have been: \
                        give the lock a TTL well above what the store takes";

/// A call before anything is set has no unknown outcome.
fn nothing_charged(failure: BackendError) -> BackendError {
    match failure.kind() {
        ErrorKind::Timeout => failure.with_kind(ErrorKind::Unavailable),
        _ => failure,
    }
}

fn encoded<T: State>(state: &T) -> Result<Vec<u8>, BackendError> {
    let mut bytes = vec![0; T::MAX_LEN];
    let too_long = || BackendError::new(ErrorKind::Other, "a state is longer than its MAX_LEN");
    let length = encode(state, &mut bytes).ok_or_else(too_long)?;
    bytes.truncate(length);
    Ok(bytes)
}

impl<T, L: ?Sized, R> Clone for LockedStorage<T, L, R> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

debug_fields!(
    [T: Debug, L: Debug + ?Sized, R] LockedStorage<T, L, R>:
    store = |it| &it.inner.store, locks = |it| &it.inner.locks
);
