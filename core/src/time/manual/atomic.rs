//! A number of 64 bits that threads share, where the target has atomics of that width.

use core::sync::atomic::{AtomicU64, Ordering};

#[derive(Debug, Default)]
pub(super) struct Register(AtomicU64);

impl Register {
    pub(super) const fn new(value: u64) -> Self {
        Self(AtomicU64::new(value))
    }

    pub(super) fn get(&self) -> u64 {
        // Relaxed suffices: the number stands for itself, and orders no other memory.
        self.0.load(Ordering::Relaxed)
    }

    pub(super) fn update(&self, change: impl Fn(u64) -> u64) {
        // The closure never refuses, so the update never fails.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |value| Some(change(value)));
    }
}
