//! A number of 64 bits for one thread, where the target has no atomics of that width.

use core::cell::Cell;

#[derive(Debug, Default)]
pub(super) struct Register(Cell<u64>);

impl Register {
    pub(super) const fn new(value: u64) -> Self {
        Self(Cell::new(value))
    }

    pub(super) fn get(&self) -> u64 {
        self.0.get()
    }

    pub(super) fn update(&self, change: impl Fn(u64) -> u64) {
        self.0.set(change(self.0.get()));
    }
}
