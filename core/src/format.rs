//! The forms in defmt (feature `defmt`) of values that do not show their fields.
//!
//! The other public values derive the trait. Waits are in microseconds, as everywhere.

use defmt::{Format, Formatter, write};

use crate::time::micros_ceil;
use crate::{Decision, Outcome, Rate, Ratio};

impl Format for Rate {
    fn format(&self, f: Formatter<'_>) {
        if self.is_unlimited() {
            write!(f, "unlimited")
        } else {
            write!(f, "{=u32}/{=u64}us", self.limit(), self.period_micros())
        }
    }
}

impl Format for Ratio {
    fn format(&self, f: Formatter<'_>) {
        write!(f, "{=u64}/{=u64}", self.num(), self.den())
    }
}

impl Format for Outcome {
    fn format(&self, f: Formatter<'_>) {
        match *self {
            Self::Allow { after } if after.is_zero() => write!(f, "allow"),
            Self::Allow { after } => write!(f, "allow after {=u64}us", micros_ceil(after)),
            Self::Deny { retry_after } => write!(f, "deny, retry after {=u64}us", micros_ceil(retry_after)),
            Self::Never => write!(f, "never"),
        }
    }
}

impl Format for Decision {
    fn format(&self, f: Formatter<'_>) {
        write!(
            f,
            "{} ({=u32} of {=u32} left, all in {=u64}us)",
            self.outcome(),
            self.remaining(),
            self.limit(),
            micros_ceil(self.reset_after())
        )
    }
}
