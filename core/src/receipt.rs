//! The receipt of an admission, by which a refund gives back no more than the admission took.

use core::fmt;

use crate::Timestamp;

/// The receipt of an admission: a refund by it gives back what is still in use of that admission.
///
/// Keep it beside the request. It is opaque and small, and can travel to a store.
///
/// ```
/// use traffik::{Limiter, Memory, TokenBucket, rate};
///
/// let limiter = Limiter::new(TokenBucket::new(rate!("10/min")), Memory::new(1_000));
/// let receipt = limiter.check_n("alice", 5)?.receipt();
/// assert_eq!(limiter.refund("alice", 5, receipt)?.remaining(), 10);
/// # Ok::<(), traffik::StorageError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Receipt {
    /// The time at which the charge was booked.
    pub(crate) at: Timestamp,
    /// The level right after the charge, for strategies that keep one; in `unit`s.
    pub(crate) level: u64,
    /// The strategy's units per cost of 1; for a bucket with the pace at which they drain.
    pub(crate) unit: u64,
    /// The routes to the storage that admitted the hit, where layers choose between two storages: a bit for
    /// each layer, the outermost lowest.
    #[cfg_attr(feature = "serde", serde(default, rename = "sides"))]
    pub(crate) routes: u8,
}

impl Receipt {
    /// Creates the receipt of a charge booked at `at`, for a strategy of your own that needs no more.
    #[must_use]
    pub const fn new(at: Timestamp) -> Self {
        Self { at, level: 0, unit: 0, routes: 0 }
    }

    /// Returns the time at which the charge was booked.
    #[must_use]
    pub const fn at(self) -> Timestamp {
        self.at
    }

    /// Records which of two storages admitted the hit, the second or the first, for a layer that chooses
    /// between them.
    ///
    /// A receipt has room for eight such layers around each other.
    pub const fn push_route(&mut self, is_second: bool) {
        // routes = routes · 2 + is_second
        self.routes = self.routes << 1 | is_second as u8;
    }

    /// Removes the route that was pushed last, and reports whether it led to the second storage.
    pub const fn pop_route(&mut self) -> bool {
        let is_second = self.routes & 1 == 1;
        self.routes >>= 1;
        is_second
    }
}

/// The receipts of a verdict: one, or those of several limits in a fixed order.
///
/// ```
/// use traffik::{Receipt, Receipts, Timestamp};
///
/// let receipts = (Receipt::new(Timestamp::EPOCH), Receipt::new(Timestamp::MAX));
/// let mut count = 0;
/// receipts.for_each(&mut |_| count += 1);
/// assert_eq!(count, <(Receipt, Receipt)>::COUNT);
/// ```
pub trait Receipts: Copy + Default + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// The number of receipts.
    const COUNT: usize;

    /// Calls `visit` with each receipt, [`COUNT`](Self::COUNT) times.
    fn for_each(&self, visit: &mut dyn FnMut(Receipt));

    /// Calls `change` with each receipt, in the same order.
    fn each_mut(&mut self, change: &mut dyn FnMut(&mut Receipt));

    /// Builds the receipts from single ones, in the same order.
    fn gather(next: &mut dyn FnMut() -> Receipt) -> Self;
}

impl Receipts for Receipt {
    const COUNT: usize = 1;

    fn for_each(&self, visit: &mut dyn FnMut(Receipt)) {
        visit(*self);
    }

    fn each_mut(&mut self, change: &mut dyn FnMut(&mut Receipt)) {
        change(self);
    }

    fn gather(next: &mut dyn FnMut() -> Receipt) -> Self {
        next()
    }
}

impl<A: Receipts, B: Receipts> Receipts for (A, B) {
    const COUNT: usize = A::COUNT + B::COUNT;

    fn for_each(&self, visit: &mut dyn FnMut(Receipt)) {
        self.0.for_each(visit);
        self.1.for_each(visit);
    }

    fn each_mut(&mut self, change: &mut dyn FnMut(&mut Receipt)) {
        self.0.each_mut(change);
        self.1.each_mut(change);
    }

    fn gather(next: &mut dyn FnMut() -> Receipt) -> Self {
        (A::gather(next), B::gather(next))
    }
}
