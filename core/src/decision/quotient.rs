//! The quotient that is divided when it is read.

use crate::divide::{divide, divide_up};

/// A quotient `num / den` that is divided when it is read.
#[derive(Clone, Copy)]
pub(crate) struct Quotient {
    pub(crate) num: u64,
    /// The divisor; 0 for a level that never drains, whose time has no end.
    pub(crate) den: u64,
}

impl Quotient {
    pub(crate) const ZERO: Self = Self::whole(0);

    pub(crate) const fn whole(num: u64) -> Self {
        Self { num, den: 1 }
    }

    pub(super) const fn floor(self) -> u64 {
        if self.den <= 1 { self.num } else { divide(self.num, self.den).0 }
    }

    pub(crate) const fn ceil(self) -> u64 {
        match self.den {
            0 if self.num > 0 => u64::MAX,
            0 | 1 => self.num,
            den => divide_up(self.num, den),
        }
    }
}
