//! Quotients that are divided when they are read.

use crate::divide::{divide, divide_up};

/// A quotient whose division is put off until the result is read.
#[derive(Clone, Copy)]
pub(crate) struct Quotient {
    pub(crate) num: u64,
    /// 0 of what never drains, which then takes for ever.
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
