//! A value that tasks and interrupts share: each access is a critical section.

use core::cell::Cell;

use critical_section::Mutex;

/// A value that tasks and interrupts share.
#[derive(Debug)]
pub(super) struct SectionCell<T: Copy>(Mutex<Cell<T>>);

impl<T: Copy> SectionCell<T> {
    pub(super) const fn new(value: T) -> Self {
        Self(Mutex::new(Cell::new(value)))
    }

    #[inline]
    pub(super) fn get(&self) -> T {
        critical_section::with(|section| self.0.borrow(section).get())
    }

    /// Returns the value, and the result of `also`, which runs within the same critical section.
    #[inline]
    pub(super) fn get_with<U>(&self, also: impl FnOnce() -> U) -> (T, U) {
        critical_section::with(|section| (self.0.borrow(section).get(), also()))
    }

    /// Changes the value and returns the new one. `change` runs within the critical section.
    #[inline]
    pub(super) fn update(&self, change: impl FnOnce(T) -> T) -> T {
        critical_section::with(|section| {
            let cell = self.0.borrow(section);
            let value = change(cell.get());
            cell.set(value);
            value
        })
    }
}

impl<T: Copy + Default> Default for SectionCell<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}
