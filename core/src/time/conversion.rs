//! The exact conversion of a count of ticks into ticks of another length.

use crate::divide::{Divisor, divide};
use crate::ratio::gcd;

/// The conversion `count · to / from` in lowest terms, for two rates in ticks per second.
///
/// The product is never computed as a whole, so every count converts whose result fits 64 bits. Each
/// conversion takes the count since the start, never a part of it, so no rounding adds up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conversion {
    times: u64,
    per: Divisor,
}

impl Conversion {
    /// Creates the conversion of counts at one rate into counts at another.
    ///
    /// A rate of 0 counts nothing: every count converts to 0.
    pub(super) const fn new(from: u64, to: u64) -> Self {
        // times / per = to / from in lowest terms.
        let divisor = gcd(from, to);
        let times = if from == 0 { 0 } else { divide(to, divisor).0 };
        // Of two rates of 0 the divisor is 0, and so is the quotient.
        Self { times, per: Divisor::new(divide(from, divisor).0) }
    }

    /// Returns the whole ticks of the other length that have passed.
    ///
    /// It is inlined, so that the conversion of a clock in microseconds compiles to nothing.
    #[inline(always)]
    pub(super) const fn floor(self, count: u64) -> u64 {
        // floor(count · times / per) = whole · times + floor(rest · times / per), with count = whole · per +
        // rest.
        let (whole, rest) = self.divided(count);
        whole.saturating_mul(self.times).saturating_add(self.divided(rest * self.times).0)
    }

    /// Divides by `per`: by a shift if it is a power of two, which is all that a compiler leaves of a
    /// constant.
    #[inline(always)]
    const fn divided(self, count: u64) -> (u64, u64) {
        let per = self.per.get();
        if per.is_power_of_two() {
            (count >> per.trailing_zeros(), count & (per - 1))
        } else {
            self.per.divide(count)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MICROS: u64 = 1_000_000;

    fn wide(count: u64, from: u64, to: u64) -> u64 {
        let quotient = u128::from(count) * u128::from(to) / u128::from(from);
        u64::try_from(quotient).unwrap_or(u64::MAX)
    }

    /// Rates that counters have, the slowest and the fastest among them, and those of embassy-time with the
    /// largest terms; both ways.
    #[test]
    fn every_rate_converts_exactly_and_never_wraps() {
        let rates = [
            1,
            3,
            100,
            1_000,
            32_768,
            999_983,
            1_000_000,
            8_388_608,
            16_000_000,
            16_777_216,
            168_000_000,
            999_999_937,
            1_000_000_000,
            4_294_967_295,
            5_242_880_000,
        ];
        let mut counts = std::vec![0, 1, 2, u64::MAX - 1, u64::MAX];
        counts.extend((0..64).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit, (1 << bit) / 3 * 5 / 7]));
        for rate in rates {
            for (from, to) in [(rate, MICROS), (MICROS, rate)] {
                let conversion = Conversion::new(from, to);
                for &count in &counts {
                    let exact = wide(count, from, to);
                    assert_eq!(conversion.floor(count), exact, "{count} at {from} Hz to {to} Hz");
                }
            }
        }
    }

    #[test]
    fn a_rate_of_0_counts_nothing() {
        for count in [0, 1, u64::MAX] {
            assert_eq!(Conversion::new(0, MICROS).floor(count), 0);
        }
    }
}
