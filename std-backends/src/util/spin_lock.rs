//! The lock of short critical sections between threads.

use std::time::Duration;

use spin::mutex::{SpinMutex, SpinMutexGuard};

/// The guard of a [`SpinLock`].
pub(crate) type SpinGuard<'a, T> = SpinMutexGuard<'a, T>;

/// A lock for critical sections of a moment, on its own cache lines.
#[derive(Debug, Default)]
#[repr(align(64))]
pub(crate) struct SpinLock<T>(SpinMutex<T>);

impl<T> SpinLock<T> {
    pub(crate) const fn new(shared: T) -> Self {
        Self(SpinMutex::new(shared))
    }

    /// Waits for the lock. Most critical sections last as long as a decision; the longest scan a shard. A
    /// panic within leaves the contents consistent, since every change replaces a whole value.
    #[inline]
    pub(crate) fn lock(&self) -> SpinGuard<'_, T> {
        self.0.try_lock().unwrap_or_else(|| self.lock_contended())
    }

    /// Spins with growing pauses, then yields, then sleeps 50 µs at a time, since the holder's thread may not
    /// be running. It only reads the lock meanwhile, so as not to disturb the holder. Waiters have no order.
    #[cold]
    fn lock_contended(&self) -> SpinGuard<'_, T> {
        let mut round = 0u32;
        loop {
            // Spins: 16, 32, 64, 128 times; then 96 yields; then sleeps.
            match round {
                0..4 => (0..16 << round).for_each(|_| std::hint::spin_loop()),
                4..100 => std::thread::yield_now(),
                _ => std::thread::sleep(Duration::from_micros(50)),
            }
            round = round.saturating_add(1);
            // A read keeps the cache line shared; only a free lock is worth an exchange.
            if !self.0.is_locked()
                && let Some(guard) = self.0.try_lock()
            {
                return guard;
            }
        }
    }
}
