//! The least a limiter can be: GCRA in 16 bytes a key, a slot found at once and changed by one exchange.
//!
//! No time to forget, no bound, no figures told: what it takes is what the memory takes.

use std::sync::atomic::{AtomicU64, Ordering};

pub struct Bare {
    /// The key and 1, 0 if there is none; and its theoretical arrival time in microseconds.
    slots: Box<[(AtomicU64, AtomicU64)]>,
}

/// One hit a millisecond, a thousand at once.
const INTERVAL: u64 = 1_000;
const TOLERANCE: u64 = 999_000;

impl Bare {
    pub fn new(keys: u64) -> Self {
        let slots = (keys as usize * 3 / 2).next_power_of_two();
        Self { slots: (0..slots).map(|_| Default::default()).collect() }
    }

    #[inline]
    pub fn check(&self, key: u64, now: u64) -> bool {
        let mask = self.slots.len() - 1;
        let mut at = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize & mask;
        loop {
            let (owner, arrival) = &self.slots[at];
            let found = owner.load(Ordering::Relaxed);
            let taken = || owner.compare_exchange(0, key + 1, Ordering::Relaxed, Ordering::Relaxed).is_ok();
            if found == key + 1 || (found == 0 && taken()) {
                return arrival
                    .fetch_update(Ordering::AcqRel, Ordering::Acquire, |arrival| {
                        let arrival = arrival.max(now);
                        (arrival <= now + TOLERANCE).then_some(arrival + INTERVAL)
                    })
                    .is_ok();
            }
            at = (at + 1) & mask;
        }
    }
}
