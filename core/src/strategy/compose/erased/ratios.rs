//! The ratios to scale a limit by, one after the other.

use crate::Ratio;
use crate::ratio::gcd;

/// The number of ratios that are kept apart, which is more than the wrappers that are put around one limit.
const ROOM: usize = 4;

/// Ratios in the order they were given.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ratios {
    list: [Ratio; ROOM],
    length: usize,
}

impl Ratios {
    pub(super) const NONE: Self = Self { list: [Ratio::ONE; ROOM], length: 0 };

    pub(super) fn list(&self) -> &[Ratio] {
        self.list.get(..self.length).unwrap_or_default()
    }

    /// Appends a ratio. A ratio that finds no room is multiplied into the last one.
    pub(super) fn then(mut self, ratio: Ratio) -> Self {
        if let Some(place) = self.list.get_mut(self.length) {
            *place = ratio;
            self.length += 1;
        } else if let Some(last) = self.list.last_mut() {
            *last = product(*last, ratio);
        }
        self
    }
}

/// Returns the product of two ratios, rounded down if it needs more than 64 bits.
pub(super) fn product(a: Ratio, b: Ratio) -> Ratio {
    // (a.num · b.num) / (a.den · b.den), with common factors removed first.
    let (across, back) = (gcd(a.num(), b.den()).max(1), gcd(b.num(), a.den()).max(1));
    let mut num = u128::from(a.num() / across) * u128::from(b.num() / back);
    let mut den = u128::from(a.den() / back) * u128::from(b.den() / across);
    while num.max(den) > u128::from(u64::MAX) {
        (num, den) = (num / 2, den.div_ceil(2));
    }
    // Halving rounds up, so the denominator never becomes 0.
    Ratio::new(num as u64, den as u64).unwrap_or(a)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(num: u64, den: u64) -> Ratio {
        Ratio::new(num, den).unwrap()
    }

    #[test]
    fn ratios_are_kept_in_order_and_the_last_ones_multiplied() {
        let all = [(1, 2), (3, 4), (5, 6), (7, 8), (8, 21), (3, 1)];
        let kept = all.iter().fold(Ratios::NONE, |ratios, &(num, den)| ratios.then(ratio(num, den)));
        assert_eq!(kept.list(), [ratio(1, 2), ratio(3, 4), ratio(5, 6), ratio(1, 1)]);
        assert_eq!(Ratios::NONE.list(), []);
    }

    #[test]
    fn a_product_beyond_64_bits_is_rounded_down() {
        let (huge, tiny) = (ratio(u64::MAX, 2), ratio(1, u64::MAX));
        assert_eq!(product(huge, tiny), ratio(1, 2));
        assert_eq!(product(huge, huge), ratio(u64::MAX - 1, 1));
        assert_eq!(product(tiny, tiny), ratio(0, 1));
        assert_eq!(product(ratio(0, 1), huge), ratio(0, 1));
    }
}
