//! The least a limiter can be: GCRA in 16 bytes a key, a slot found at once and changed by one exchange.
//!
//! No time to forget, no figures told, a key given up for any other: what it takes is what the memory takes.

use std::sync::atomic::{AtomicU64, Ordering};

/// Slots with `PAD` times 8 bytes more than they need.
pub(crate) struct Bare<const PAD: usize = 0> {
    slots: Box<[Slot<PAD>]>,
}

struct Slot<const PAD: usize> {
    /// The key and 1; 0 if there is none.
    owner: AtomicU64,
    /// Its theoretical arrival time in microseconds.
    arrival: AtomicU64,
    _pad: [u64; PAD],
}

/// One hit a millisecond, a thousand at once.
const INTERVAL: u64 = 1_000;
const TOLERANCE: u64 = 999_000;

/// Slots looked at before another key is given up.
const PROBES: usize = 16;

#[expect(
    clippy::indexing_slicing,
    reason = "`home` leaves room for `PROBES` slots, and `new` makes no fewer"
)]
impl<const PAD: usize> Bare<PAD> {
    /// As many slots for each key as `Memory` has.
    pub(crate) fn new(keys: u64) -> Self {
        let slots = (keys as usize * 8).div_ceil(5).max(PROBES);
        let slot = |_| Slot { owner: AtomicU64::new(0), arrival: AtomicU64::new(0), _pad: [0; PAD] };
        Self { slots: (0..slots).map(slot).collect() }
    }

    /// Where the slots begin that a key may be in.
    #[inline]
    fn home(&self, key: u64) -> usize {
        let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        (hash as usize * (self.slots.len() - PROBES + 1)) >> 32
    }

    #[inline]
    pub(crate) fn check(&self, key: u64, now: u64) -> bool {
        let slots = &self.slots[self.home(key)..][..PROBES];
        for Slot { owner, arrival, .. } in slots {
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
        }
        slots[0].owner.store(key + 1, Ordering::Relaxed);
        slots[0].arrival.store(now + INTERVAL, Ordering::Release);
        true
    }

    /// Looks at the slots of a few keys before it checks them, so that they come from memory at the same time.
    #[inline]
    pub(crate) fn check_many(&self, keys: &[u64], now: u64, mut answer: impl FnMut(bool)) {
        for keys in keys.chunks(16) {
            for key in keys {
                std::hint::black_box(self.slots[self.home(*key)].owner.load(Ordering::Relaxed));
            }
            keys.iter().for_each(|key| answer(self.check(*key, now)));
        }
    }
}
