//! Taking locks: at once, or after a wait.

use std::fmt::Debug;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use traffik_core::storage::BackendError;
use traffik_core::{ErrorKind, Timer, debug_fields};

use super::grant::quoted;
use super::{EffectiveSettings, Lock, LockGuard, LockSettings, Ttl};
use crate::util::backoff::Backoff;
use crate::util::race::{Either, race};
use crate::util::random::random;

/// The waits between attempts. The first is about a round trip to a near store; the longest is how long a
/// lock may stay free although somebody waits. At least half of each wait passes, so that doubling takes load
/// off the store.
const WAITS: Backoff =
    Backoff::exponential(Duration::from_millis(1), Duration::from_millis(64)).with_half_jitter();

/// Locks that are taken by name, at once or after a wait. Cheap to clone; clones share the lock.
///
/// Choose it for critical sections of your own, with a [`MemoryLock`](super::MemoryLock) in one process or
/// the lock of a store across machines. A name is any bytes or text. By default a lock lasts 5 s, and a
/// call waits up to 2 s for it.
///
/// ```
/// use traffik::lock::{Locks, MemoryLock};
/// use traffik::runtime::Manual;
/// use traffik::storage::BackendError;
///
/// let runtime = Manual::new(); // in a program `Tokio` or `Smol`
/// let locks = Locks::new(MemoryLock::new(), runtime.clone());
/// runtime.run(async {
///     let guard = locks.lock("invoices/7").await?;
///     // the critical section
///     guard.release().await
/// })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Locks<L: ?Sized, R> {
    timer: Arc<R>,
    settings: LockSettings,
    lock: Arc<L>,
}

impl<L: Lock, R: Timer> Locks<L, R> {
    /// Creates locks that are granted by `lock`, with default settings. A call waits with `timer`, such as a
    /// runtime of `traffik::runtime`.
    pub fn new(lock: L, timer: R) -> Self {
        Self { timer: Arc::new(timer), settings: LockSettings::new(), lock: Arc::new(lock) }
    }
}

impl<L: Lock + ?Sized, R: Timer> Locks<L, R> {
    /// Sets the settings of all locks taken from now on. Values that `settings` leaves open stay as they
    /// were.
    #[must_use]
    pub fn with(self, settings: LockSettings) -> Self {
        Self { settings: settings.or(self.settings), ..self }
    }

    /// Takes a lock if nobody holds it; returns `None` if somebody does.
    ///
    /// It never waits for the holder, only for the store. After a dropped future the store may have granted
    /// the name, until its TTL ends.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Invalid`] for invalid settings, or with the failure of the store.
    pub async fn try_lock(&self, name: impl AsRef<[u8]>) -> Result<Option<LockGuard<L>>, BackendError> {
        self.attempt(name.as_ref(), self.settings.resolve()?.ttl).await
    }

    /// Takes a lock, and waits for its holder as long as the settings say: up to 2 s by default, over all
    /// attempts. Settings that do not block wait for the store only.
    ///
    /// After a dropped future the store may have granted the name, until its TTL ends.
    ///
    /// # Errors
    ///
    /// Fails with [`ErrorKind::Contended`] if somebody still holds the lock when the wait is over, with
    /// [`ErrorKind::Timeout`] if the store did not answer at all by then, with [`ErrorKind::Invalid`] for
    /// invalid settings, or with the failure of the store.
    pub async fn lock(&self, name: impl AsRef<[u8]>) -> Result<LockGuard<L>, BackendError> {
        self.lock_with(name, LockSettings::new()).await
    }

    /// Takes a lock with `settings`, and otherwise as [`lock`](Self::lock) does. Values that `settings`
    /// leaves open come from the settings of these locks. A dropped future leaves what a dropped
    /// [`lock`](Self::lock) leaves.
    ///
    /// # Errors
    ///
    /// Fails as [`lock`](Self::lock) does.
    pub async fn lock_with(
        &self,
        name: impl AsRef<[u8]>,
        settings: LockSettings,
    ) -> Result<LockGuard<L>, BackendError> {
        let name = name.as_ref();
        let settings = settings.or(self.settings).resolve()?;
        if settings.blocking && !settings.blocking_timeout.is_zero() {
            return self.wait(name, settings).await;
        }
        let contended =
            || BackendError::new(ErrorKind::Contended, format!("the lock {} is held", quoted(name)));
        self.attempt(name, settings.ttl).await?.ok_or_else(contended)
    }

    /// Returns the timer.
    #[must_use]
    pub fn timer(&self) -> &R {
        &self.timer
    }

    /// Tries to take the lock once.
    async fn attempt(&self, name: &[u8], ttl: Ttl) -> Result<Option<LockGuard<L>>, BackendError> {
        let grant = self.lock.try_acquire(name, ttl).await?;
        Ok(grant.map(|grant| LockGuard::new(Arc::clone(&self.lock), grant, ttl)))
    }

    /// Tries again until the deadline: when the lock hints that it is free, or else after growing waits.
    async fn wait(&self, name: &[u8], settings: EffectiveSettings) -> Result<LockGuard<L>, BackendError> {
        // One deadline for all attempts and waits. A late grant of a dropped attempt ends with its TTL.
        let mut deadline = pin!(self.timer.sleep(settings.blocking_timeout));
        // `answered` distinguishes a held lock from a store that never answered.
        let (mut attempts, mut answered) = (0u32, false);
        let over = |answered| {
            let (name, timeout) = (quoted(name), settings.blocking_timeout);
            if answered {
                BackendError::new(
                    ErrorKind::Contended,
                    format!("the lock {name} is still held after {timeout:?}"),
                )
            } else {
                let message = format!(
                    "the store did not answer within {timeout:?}; the lock {name} may be held or free"
                );
                BackendError::new(ErrorKind::Timeout, message)
            }
        };
        loop {
            match race(self.attempt(name, settings.ttl), deadline.as_mut()).await {
                // The attempt is dropped: the grant it may have made ends with its TTL.
                Either::Right(()) => return Err(over(answered)),
                Either::Left(answer) => match answer? {
                    Some(held) => return Ok(held),
                    None => answered = true,
                },
            }
            attempts = attempts.saturating_add(1);
            // The hint may never come, so the wait bounds it. The wait also spreads out the next attempts.
            let wait = WAITS.after(attempts, random());
            let pause = race(self.lock.vacated(name), self.timer.sleep(wait));
            if let Either::Right(()) = race(pause, deadline.as_mut()).await {
                return Err(over(answered));
            }
        }
    }
}

impl<L: ?Sized, R> Clone for Locks<L, R> {
    fn clone(&self) -> Self {
        Self { timer: Arc::clone(&self.timer), settings: self.settings, lock: Arc::clone(&self.lock) }
    }
}

debug_fields!([L: Debug + ?Sized, R] Locks<L, R>: lock = |it| &it.lock, settings);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_longest_and_at_most_half_is_cut_off() {
        for attempts in (1..40).chain([u32::MAX]) {
            let whole = Duration::from_millis(1 << (attempts - 1).min(6));
            for _ in 0..100 {
                let wait = WAITS.after(attempts, random());
                assert!(whole / 2 <= wait && wait < whole, "{attempts}: {wait:?}");
            }
        }
    }
}
