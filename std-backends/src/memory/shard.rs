//! A part of a storage's keys, and the lock that threads take turns with.

use std::time::Duration;

use spin::mutex::{SpinMutex, SpinMutexGuard};
use traffik_core::storage::{Slot, Table};

use super::parts::Part;

/// A table in a part of the one allocation.
pub(super) type Slots<T> = Table<T, Part<Slot<T>>>;

/// A table that no one else sees until this is dropped.
pub(super) type Locked<'a, T> = SpinMutexGuard<'a, Slots<T>>;

/// A part of the keys under a lock of its own, on cache lines of its own.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Shard<T>(SpinMutex<Slots<T>>);

impl<T> Shard<T> {
    pub(super) const fn new(table: Slots<T>) -> Self {
        Self(SpinMutex::new(table))
    }

    /// The table, which is held for a decision, or for as long as it takes to walk through this shard's slots. A
    /// panic while it was locked left each state as it was or as decided, since a state is replaced whole.
    #[inline]
    pub(super) fn lock(&self) -> Locked<'_, T> {
        self.0.try_lock().unwrap_or_else(|| self.lock_in_turn())
    }

    /// Waits a moment, twice as long each time, then lets others run, then sleeps: whoever holds the table may not be
    /// running. Meanwhile it does not ask for the lock, only looks at it, so that it is not in the way.
    #[cold]
    fn lock_in_turn(&self) -> Locked<'_, T> {
        let mut turn = 0u32;
        loop {
            match turn {
                0..4 => (0..16 << turn).for_each(|_| std::hint::spin_loop()),
                4..100 => std::thread::yield_now(),
                _ => std::thread::sleep(Duration::from_micros(50)),
            }
            turn = turn.saturating_add(1);
            if !self.0.is_locked()
                && let Some(table) = self.0.try_lock()
            {
                return table;
            }
        }
    }
}
