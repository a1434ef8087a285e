//! The verbs of a lock: try, or wait a while.

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

/// From about a round trip to a store near by, to the longest that a lock lies idle although somebody waits for it. At
/// least half of each wait passes, so that doubling takes load off the store.
const WAITS: Backoff =
    Backoff::exponential(Duration::from_millis(1), Duration::from_millis(64)).with_half_jitter();

/// Takes locks by name, waiting for them by a timer. Cheap to clone; clones share the lock.
///
/// A name is any bytes or text. A future of it that is dropped holds nothing: what the store may have granted by then
/// ends with its TTL at the latest.
pub struct Locks<L: ?Sized, R> {
    timer: Arc<R>,
    settings: LockSettings,
    lock: Arc<L>,
}

impl<L: Lock, R: Timer> Locks<L, R> {
    /// Locks by `lock`, waiting by `timer`, which a runtime is; settings as they are by default.
    pub fn new(lock: L, timer: R) -> Self {
        Self { timer: Arc::new(timer), settings: LockSettings::new(), lock: Arc::new(lock) }
    }
}

impl<L: Lock + ?Sized, R: Timer> Locks<L, R> {
    /// The same locks, taken by these settings.
    #[must_use]
    pub fn with(self, settings: LockSettings) -> Self {
        Self { settings: settings.or(self.settings), ..self }
    }

    /// Takes a lock if nobody holds it; `None` if somebody does. Never waits for a holder.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Invalid`] for settings that are no good, or what the store failed with.
    pub async fn try_lock(&self, name: impl AsRef<[u8]>) -> Result<Option<LockGuard<L>>, BackendError> {
        self.attempt(name.as_ref(), self.settings.resolve()?.ttl).await
    }

    /// Takes a lock, waiting for it as its settings say.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Contended`] if somebody else still holds it when the waiting is over; [`ErrorKind::Timeout`] if the
    /// store has not answered at all by then; [`ErrorKind::Invalid`] for settings that are no good; or what the store
    /// failed with.
    pub async fn lock(&self, name: impl AsRef<[u8]>) -> Result<LockGuard<L>, BackendError> {
        self.lock_with(name, LockSettings::new()).await
    }

    /// Takes a lock by settings of its own; what they leave open is as with [`lock`](Self::lock), and so are the errors.
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

    /// The timer that is waited by.
    #[must_use]
    pub fn timer(&self) -> &R {
        &self.timer
    }

    /// Asks once.
    async fn attempt(&self, name: &[u8], ttl: Ttl) -> Result<Option<LockGuard<L>>, BackendError> {
        let grant = self.lock.try_acquire(name, ttl).await?;
        Ok(grant.map(|grant| LockGuard::new(Arc::clone(&self.lock), grant, ttl)))
    }

    /// Asks again and again: when the lock says it is worth it, and else ever more seldom.
    async fn wait(&self, name: &[u8], settings: EffectiveSettings) -> Result<LockGuard<L>, BackendError> {
        let mut deadline = pin!(self.timer.sleep(settings.blocking_timeout));
        let (mut attempts, mut answered) = (0u32, false);
        let over = |answered| {
            let (name, timeout) = (quoted(name), settings.blocking_timeout);
            if answered {
                BackendError::new(
                    ErrorKind::Contended,
                    format!("the lock {name} is still held after {timeout:?}"),
                )
            } else {
                let message = format!("no answer within {timeout:?} whether the lock {name} is free");
                BackendError::new(ErrorKind::Timeout, message)
            }
        };
        loop {
            match race(self.attempt(name, settings.ttl), deadline.as_mut()).await {
                Either::Right(()) => return Err(over(answered)),
                Either::Left(answer) => match answer? {
                    Some(held) => return Ok(held),
                    None => answered = true,
                },
            }
            attempts = attempts.saturating_add(1);
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
