//! A storage over any store that can get and set, which holds a lock around the two.

use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use traffik_core::storage::{AsyncStorage, BackendError, Reply, WaitQueue};
use traffik_core::strategy::{decode, encode};
use traffik_core::{Clock, ErasedKey, ErrorKind, Op, State, Strategy, Timer, Timestamp, debug_fields};

use crate::lock::{Lock, Locks};
use crate::util::key::bytes;
use crate::util::race::{Either, race};
use crate::util::state_ttl::state_ttl;
use crate::{FifoQueue, SystemClock};

/// A store that keeps bytes by key for a time.
///
/// Implement it for a store that can get and set but neither compares and swaps nor runs scripts.
/// [`LockedStorage`] makes an [`AsyncStorage`] of it.
///
/// * A `get` MUST return the bytes of the last `set`, whole, until their TTL is over.
/// * The store MUST keep bytes until their TTL is over, and SHOULD drop them soon after. A store that counts
///   in coarser units MUST round up.
/// * Setting no bytes (an empty slice) MUST remove the key.
/// * A key is any bytes, even none. Different bytes MUST be different keys.
/// * A `set` that may have happened, or may still happen, MUST fail with [`ErrorKind::Timeout`]. After any
///   other error it MUST NOT happen any more.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Mutex;
/// use std::time::Duration;
/// use traffik::KeyValueStore;
/// use traffik::storage::BackendError;
///
/// /// Keeps everything for ever; a real store drops bytes whose TTL is over.
/// #[derive(Default)]
/// struct Table(Mutex<HashMap<Vec<u8>, Vec<u8>>>);
///
/// impl KeyValueStore for Table {
///     async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, BackendError> {
///         Ok(self.0.lock().unwrap().get(key).cloned())
///     }
///
///     async fn set(&self, key: &[u8], bytes: &[u8], _ttl: Duration) -> Result<(), BackendError> {
///         let mut table = self.0.lock().unwrap();
///         match bytes {
///             [] => table.remove(key),
///             bytes => table.insert(key.to_vec(), bytes.to_vec()),
///         };
///         Ok(())
///     }
/// }
/// # let _ = Table::default();
/// ```
pub trait KeyValueStore: Send + Sync + 'static {
    /// Returns the bytes of a key, if it has any.
    ///
    /// Under a lock, [`LockedStorage`] drops the future when the TTL of the lock is over. For a peek or a
    /// load it holds no lock, and waits as long as the store takes. A dropped future MUST leave the store
    /// unchanged.
    ///
    /// # Errors
    ///
    /// Fails with the failure of the store. A failed `get` charges nothing.
    fn get(&self, key: &[u8]) -> impl Future<Output = Result<Option<Vec<u8>>, BackendError>> + Send;

    /// Sets the bytes of a key, to be kept for `ttl`.
    ///
    /// [`LockedStorage`] drops the future when the TTL of its lock is over. The store may still set the bytes
    /// of a dropped future.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Timeout`] if the bytes may have been set or may still be; with any other
    /// error if they are certainly not set.
    fn set(
        &self,
        key: &[u8],
        bytes: &[u8],
        ttl: Duration,
    ) -> impl Future<Output = Result<(), BackendError>> + Send;

    /// Returns the present time of a clock that all writers of the store share. Defaults to the wall clock.
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }
}

/// A storage in a store that can only get and set, under a lock for each key.
///
/// Choose it for a [`KeyValueStore`]. An operation takes at most two calls of the store and, without waiting
/// for the lock, two of the lock. Prefer [`Coalescing`](crate::cas::Coalescing) for a store that can compare
/// and swap.
///
/// * An operation takes the lock, gets the state, decides, and sets the state if it changed. A denial and a
///   peek set nothing, and a peek takes no lock.
/// * Bytes that are no state of the strategy count as a key never seen.
/// * It takes the lock from [`Locks`], with their settings. The name of the lock is `traffik:` and the key.
///   An operation that does not get the lock in time fails with [`ErrorKind::Contended`], or with
///   [`ErrorKind::Unavailable`] if the store of the locks did not answer.
/// * The store has until the end of the lock's TTL. A `get` without an answer by then fails with
///   [`ErrorKind::Unavailable`]: nothing was charged. A `set` without an answer, or under a lock that
///   ended, fails with [`ErrorKind::Timeout`]: it may be charged. Set a TTL well above what the store
///   takes.
/// * While the outcome of a `set` is unknown, as after a dropped answer, only the TTL ends the lock: no other
///   operation may decide while the store may still change.
/// * A peek and a load take no lock, and wait as long as the `get` of the store takes.
///
/// ```
/// use std::collections::HashMap;
/// use std::sync::Mutex;
/// use std::time::Duration;
/// use traffik::lock::{Locks, MemoryLock};
/// use traffik::runtime::Manual;
/// use traffik::storage::BackendError;
/// use traffik::{AsyncLimiter, KeyValueStore, LockedStorage, TokenBucket, rate};
///
/// /// Keeps everything for ever; a real store drops bytes whose TTL is over.
/// #[derive(Default)]
/// struct Table(Mutex<HashMap<Vec<u8>, Vec<u8>>>);
///
/// impl KeyValueStore for Table {
///     async fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, BackendError> {
///         Ok(self.0.lock().unwrap().get(key).filter(|bytes| !bytes.is_empty()).cloned())
///     }
///
///     async fn set(&self, key: &[u8], bytes: &[u8], _ttl: Duration) -> Result<(), BackendError> {
///         self.0.lock().unwrap().insert(key.to_vec(), bytes.to_vec());
///         Ok(())
///     }
/// }
///
/// let runtime = Manual::new(); // in a program `Tokio` or `Smol`
/// let locks = Locks::new(MemoryLock::new(), runtime.clone());
/// let storage = LockedStorage::new(Table::default(), locks);
/// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("1/min")), storage);
/// runtime.run(async {
///     assert!(limiter.check("alice").await?.is_allowed());
///     assert!(!limiter.check("alice").await?.is_allowed());
///     Ok::<(), BackendError>(())
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// `examples/file_storage.rs` makes a storage out of a directory of files, and tests it.
pub struct LockedStorage<T, L: ?Sized, R> {
    inner: Arc<LockedStorageInner<T, L, R>>,
}

/// The state that clones of a locked storage share.
struct LockedStorageInner<T, L: ?Sized, R> {
    store: T,
    wait_queue: FifoQueue,
    locks: Locks<L, R>,
}

impl<T: KeyValueStore, L: Lock + ?Sized, R: Timer> LockedStorage<T, L, R> {
    /// Creates a storage that keeps states in `store`, under `locks`. All writers of a store must use the
    /// same locks.
    pub fn new(store: T, locks: Locks<L, R>) -> Self {
        Self { inner: Arc::new(LockedStorageInner { store, wait_queue: FifoQueue::new(), locks }) }
    }

    /// Returns the store.
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

    // Several keys are not checked together: two calls that each hold one lock could wait for each other.

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
        // No lock, no charge: an unknown outcome of taking the lock is harmless here.
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
            // The decision stands, whatever becomes of the lock.
            let _ = race(held.release(), end).await;
            return Ok(verdict);
        }
        let ttl = Duration::from_micros(state_ttl(strategy, &state, op.class(), now));
        let bytes = if ttl.is_zero() { Vec::new() } else { encoded(&state)? };
        // From here on the lock stays until it is known whether the store changed.
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
            // The bytes were set in time. If the release failed, the TTL ends the lock.
            _ => Ok(verdict),
        }
    }

    /// Returns the state of a key, and the time at which it was read.
    async fn read<S: Strategy>(&self, key: &[u8]) -> Result<(S::State, Timestamp), BackendError> {
        let bytes = self.store.get(key).await.map_err(nothing_charged)?;
        let state = bytes.and_then(|bytes| decode(&bytes).ok()).unwrap_or_default();
        Ok((state, self.store.now()))
    }
}

const LATE_GET: &str = "the store did not answer before the lock of the key ended; nothing was charged";
const LATE_SET: &str = "the lock of the key ended before the store answered, so the hit may have been \
                        charged; give the lock a TTL well above the time that the store takes";

/// Makes an unknown outcome a certain one: before a `set` nothing is charged.
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
