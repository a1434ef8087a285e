//! What an admission took, so that exactly that can be given back.

use core::fmt;

use crate::Timestamp;

/// What an admission took, and when: hand it back with a refund and exactly that is returned.
///
/// Opaque and small, so that it can be kept beside the request it belongs to, or travel to a store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Receipt {
    /// The time the charge was booked at.
    pub(crate) at: Timestamp,
    /// The level right after the charge, for strategies that keep one; in `unit`s.
    pub(crate) level: u64,
    /// The strategy's units per cost of 1; of a bucket with how fast they drain.
    pub(crate) unit: u64,
    /// Which of two storages admitted it, where one stands in for another: a bit for each such choice, the outermost lowest.
    #[cfg_attr(feature = "serde", serde(default, rename = "sides"))]
    pub(crate) routes: u8,
}

impl Receipt {
    /// The receipt of a charge booked at `at`, for a strategy of your own that needs no more than that.
    #[must_use]
    pub const fn new(at: Timestamp) -> Self {
        Self { at, level: 0, unit: 0, routes: 0 }
    }

    /// When the charge was booked.
    #[must_use]
    pub const fn at(self) -> Timestamp {
        self.at
    }

    /// Notes which of two storages admitted the hit, for whoever chooses between them: the second one, or the first. Eight such
    /// choices around each other can be told apart.
    pub const fn push_route(&mut self, is_second: bool) {
        self.routes = self.routes << 1 | is_second as u8;
    }

    /// Takes that out again: whether it was the second one. The receipt is then what that storage gave.
    pub const fn pop_route(&mut self) -> bool {
        let is_second = self.routes & 1 == 1;
        self.routes >>= 1;
        is_second
    }
}

/// One receipt, or those of several limits in a fixed order.
pub trait Receipts: Copy + Default + PartialEq + fmt::Debug + Send + Sync + 'static {
    /// How many there are.
    const COUNT: usize;

    /// Calls `visit` with each of them, [`COUNT`](Self::COUNT) times.
    fn for_each(&self, visit: &mut dyn FnMut(Receipt));

    /// Calls `change` with each of them, in the same order.
    fn each_mut(&mut self, change: &mut dyn FnMut(&mut Receipt));

    /// Puts them together again, in the same order.
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
