//! The lock that threads take turns with.

use std::time::Duration;

use spin::mutex::{SpinMutex, SpinMutexGuard};

/// What no one else sees until this is dropped.
pub(crate) type SpinGuard<'a, T> = SpinMutexGuard<'a, T>;

/// What threads take turns with, each for a moment, on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct SpinLock<T>(SpinMutex<T>);

impl<T> SpinLock<T> {
    pub(crate) const fn new(shared: T) -> Self {
        Self(SpinMutex::new(shared))
    }

    /// Waits for a turn. Each is short, as long as a decision or a walk through a few of them takes; and a
    /// panic meanwhile leaves what is shared whole, since whatever it is made of is replaced whole.
    #[inline]
    pub(crate) fn lock(&self) -> SpinGuard<'_, T> {
        self.0.try_lock().unwrap_or_else(|| self.lock_in_turn())
    }

    /// Waits a moment, twice as long each time, then lets others run, then sleeps: whoever has the turn may
    /// not be running. Meanwhile it does not ask for the lock, only looks at it, so that it is not in the
    /// way.
    #[cold]
    fn lock_in_turn(&self) -> SpinGuard<'_, T> {
        let mut turn = 0u32;
        loop {
            match turn {
                0..4 => (0..16 << turn).for_each(|_| std::hint::spin_loop()),
                4..100 => std::thread::yield_now(),
                _ => std::thread::sleep(Duration::from_micros(50)),
            }
            turn = turn.saturating_add(1);
            if !self.0.is_locked()
                && let Some(turn) = self.0.try_lock()
            {
                return turn;
            }
        }
    }
}
