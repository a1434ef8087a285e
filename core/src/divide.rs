//! Division of 64-bit numbers: quick on cores that only divide 32-bit ones, and by a divisor that is used
//! again.

use core::time::Duration;

/// Returns the quotient and the remainder; a `den` of 0 counts as 1.
///
/// Most divisors here fit 32 bits. A core of 32 bits then needs three of its own divisions, a third of what a
/// division by any 64-bit number takes.
#[inline]
pub(crate) const fn divide(num: u64, den: u64) -> (u64, u64) {
    let den = if den == 0 { 1 } else { den };
    if usize::BITS >= u64::BITS {
        (num / den, num % den)
    } else if den <= u32::MAX as u64 {
        by_word(num, den as u32)
    } else {
        by_more(num, den)
    }
}

/// Returns the quotient, rounded up.
#[inline]
pub(crate) const fn divide_up(num: u64, den: u64) -> u64 {
    let (quotient, rest) = divide(num, den);
    // A remainder means den > 1, so the quotient is below u64::MAX and adding 1 does not overflow.
    quotient + (rest > 0) as u64
}

/// Returns `⌈num · times / den⌉`, and `u64::MAX` at most; by a `den` of 0 that is `u64::MAX`, or 0 if `num`
/// is 0.
///
/// It is seldom needed, so it is kept small.
#[cold]
#[inline(never)]
pub(crate) const fn scale_up(num: u64, times: u64, den: u64) -> u64 {
    // num · times = high · 2⁶⁴ + low; the quotient fits 64 bits if high < den.
    let (high, low) = (high_half(num, times), num.wrapping_mul(times));
    if high >= den {
        return if num == 0 { 0 } else { u64::MAX };
    }
    let (quotient, rest) = divide_long(high, low, den);
    quotient.saturating_add((rest > 0) as u64)
}

/// Returns `⌊num · times / den⌋`, and `u64::MAX` at most, also by a `den` of 0.
#[inline]
pub(crate) const fn scale_down(num: u64, times: u64, den: u64) -> u64 {
    let (high, low) = (high_half(num, times), num.wrapping_mul(times));
    if high >= den {
        return u64::MAX;
    }
    // Most products fit 64 bits, whose division is several times cheaper.
    if high == 0 { divide(low, den).0 } else { divide_long(high, low, den).0 }
}

/// Divides `high · 2⁶⁴ + low` by `den`, where `high < den`. Returns the quotient and the remainder.
#[inline]
const fn divide_long(high: u64, low: u64, den: u64) -> (u64, u64) {
    if usize::BITS < u64::BITS || den == 0 {
        return by_bit(high, low, den);
    }
    let (num, den) = ((high as u128) << 64 | low as u128, den as u128);
    ((num / den) as u64, (num % den) as u64)
}

/// Does the same bit by bit: the rest is doubled, and `den` is subtracted if it fits.
const fn by_bit(high: u64, low: u64, den: u64) -> (u64, u64) {
    // The leading 1 of the quotient leaves it after 64 steps. A compiler that cannot see the end does not
    // unroll the loop. Invariant: rest < den at the start of each step.
    let (mut quotient, mut rest, mut bits) = (1u64, high, low);
    loop {
        let (is_last, is_beyond) = (quotient >> 63 == 1, rest >> 63 == 1);
        (quotient, rest, bits) = (quotient << 1, rest << 1 | bits >> 63, bits << 1);
        if is_beyond || rest >= den {
            (quotient, rest) = (quotient | 1, rest.wrapping_sub(den));
        }
        if is_last {
            return (quotient, rest);
        }
    }
}

/// Returns the product, and `u64::MAX` at most.
#[inline]
pub(crate) const fn product(a: u64, b: u64) -> u64 {
    if usize::BITS < u64::BITS { product_by_word(a, b) } else { a.saturating_mul(b) }
}

#[inline(never)]
const fn product_by_word(a: u64, b: u64) -> u64 {
    if high_half_by_word(a, b) > 0 { u64::MAX } else { a.wrapping_mul(b) }
}

/// A divisor that is used again and again: two multiplications replace each division.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Divisor {
    den: u64,
    /// `⌊(2⁶⁴ − 1) / den⌋`. A quotient guessed with it is at most 1 too small: the reciprocal lacks less than
    /// `1 + den / 2⁶⁴` of `2⁶⁴ / den`, so the guess lacks less than 1 before it is rounded down.
    reciprocal: u64,
}

impl Divisor {
    /// Creates a divisor; 0 divides as 1 does.
    pub(crate) const fn new(den: u64) -> Self {
        Self { den, reciprocal: divide(u64::MAX, den).0 }
    }

    /// Returns the divisor itself, which may be 0.
    #[inline]
    pub(crate) const fn get(self) -> u64 {
        self.den
    }

    /// Returns the quotient and the remainder.
    #[inline]
    pub(crate) const fn divide(self, num: u64) -> (u64, u64) {
        let (quotient, rest, den) = self.guess(num);
        if rest >= den { (quotient + 1, rest - den) } else { (quotient, rest) }
    }

    /// Returns the quotient, rounded up, without a branch: a processor could not predict it.
    #[inline]
    pub(crate) const fn divide_up(self, num: u64) -> u64 {
        let (quotient, rest, den) = self.guess(num);
        // A remainder means den > 1, so the quotient is below u64::MAX and adding 1 does not overflow.
        quotient + (rest > 0) as u64 + (rest > den) as u64
    }

    /// Returns the quotient or 1 less, the rest that it leaves, and the divisor.
    #[inline]
    const fn guess(self, num: u64) -> (u64, u64, u64) {
        let den = if self.den == 0 { 1 } else { self.den };
        let quotient = high_half(num, self.reciprocal);
        // quotient · den ≤ num, since the guess is at most the quotient.
        (quotient, num - quotient * den, den)
    }
}

/// Returns the upper half of a product.
#[inline]
const fn high_half(a: u64, b: u64) -> u64 {
    if usize::BITS < u64::BITS {
        return high_half_by_word(a, b);
    }
    ((a as u128 * b as u128) >> 64) as u64
}

/// Does the same with products of 32 bits, none of which overflows.
#[inline(never)]
const fn high_half_by_word(a: u64, b: u64) -> u64 {
    const LOW: u64 = u32::MAX as u64;
    let (a_high, a_low, b_high, b_low) = (a >> 32, a & LOW, b >> 32, b & LOW);
    // a · b = a_high·b_high·2⁶⁴ + (a_high·b_low + a_low·b_high)·2³² + a_low·b_low.
    let one = a_high * b_low + ((a_low * b_low) >> 32);
    let other = a_low * b_high + (one & LOW);
    a_high * b_high + (one >> 32) + (other >> 32)
}

/// Returns the duration of this many microseconds.
#[inline]
pub(crate) const fn micros(micros: u64) -> Duration {
    const SECOND: u64 = 1_000_000;
    let (secs, rest) = divide(micros, SECOND);
    // The rest is less than a second, which the compiler does not always see; more of it might panic.
    let (rest, most) = (rest as u32, SECOND as u32 - 1);
    Duration::new(secs, if rest > most { most } else { rest } * 1_000)
}

/// Divides by 32 bits, by long division: one digit of 32 bits, then two of 16.
#[inline(never)]
const fn by_word(num: u64, den: u32) -> (u64, u64) {
    let den = if den == 0 { 1 } else { den };
    let (high, low) = ((num >> 32) as u32, num as u32);
    if high == 0 {
        return ((low / den) as u64, (low % den) as u64);
    }
    // Most often there is none, and a core that divides by software saves most of the work.
    let (first, rest) = if high < den { (0, high) } else { (high / den, high % den) };
    // With the divisor's highest bit set, a digit guessed from its upper half is at most 2 too large.
    let shift = den.leading_zeros();
    let rest = ((rest as u64) << 32 | low as u64) << shift;
    let (second, high) = digit((rest >> 32) as u32, (rest >> 16) as u16, den << shift);
    let (third, rest) = digit(high, rest as u16, den << shift);
    ((first as u64) << 32 | (second << 16 | third) as u64, (rest >> shift) as u64)
}

/// Divides by a number of more than 32 bits, with one division by its upper bits: H. S. Warren, "Hacker's
/// Delight", section 9-5.
#[cold]
#[inline(never)]
const fn by_more(num: u64, den: u64) -> (u64, u64) {
    let shift = den.leading_zeros();
    let (guess, _) = by_word(num >> 1, ((den << shift) >> 32) as u32);
    // The guess is at most 1 too large, so this is at most 1 too small.
    let quotient = ((guess << shift) >> 31).saturating_sub(1);
    let rest = num - quotient * den;
    if rest >= den { (quotient + 1, rest - den) } else { (quotient, rest) }
}

/// Divides `high`, which is less than `den`, with 16 bits below it by `den`. Returns the digit and the rest.
#[inline(never)]
const fn digit(high: u32, low: u16, den: u32) -> (u32, u32) {
    // It is never 0, which the compiler does not see.
    let top = if den >> 16 == 0 { 1 } else { den >> 16 };
    let mut digit = high / top;
    let mut rest = ((high as u64) << 16 | low as u64) as i64 - (digit as u64 * den as u64) as i64;
    // rest = (high · 2¹⁶ + low) - digit · den; a digit that is too large, by at most 2, leaves less than 0.
    while rest < 0 {
        digit -= 1;
        rest += den as i64;
    }
    (digit, rest as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers around every power of two, and a few thousand without a pattern.
    fn numbers() -> impl Iterator<Item = u64> + Clone {
        let powers = (0..64)
            .flat_map(|bit| [(1u64 << bit) - 1, 1 << bit, (1 << bit) + 1, u64::MAX >> bit, !(1 << bit)]);
        let scattered =
            (1..2_000u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(n as u32) >> (n % 64));
        powers.chain(scattered)
    }

    #[test]
    fn long_division_is_division() {
        for den in numbers().filter_map(|den| u32::try_from(den).ok()).filter(|den| *den != 0) {
            for num in numbers() {
                let (quotient, rest) = (num / u64::from(den), num % u64::from(den));
                assert_eq!(by_word(num, den), (quotient, rest), "{num} / {den}");
                assert_eq!(divide(num, den.into()), (quotient, rest));
            }
        }
        for den in numbers().filter(|den| *den > u32::MAX.into()) {
            for num in numbers().chain([den - 1, den]) {
                assert_eq!(by_more(num, den), (num / den, num % den), "{num} / {den}");
            }
        }
        assert_eq!(divide(7, 0), (7, 0));
    }

    #[test]
    fn multiplication_by_a_reciprocal_is_division() {
        for den in numbers().step_by(3).chain([1, 2, 3, u64::MAX]) {
            let divisor = Divisor::new(den);
            assert_eq!(divisor.get(), den);
            for num in numbers().chain([den, den.wrapping_mul(3), den.wrapping_mul(3).wrapping_sub(1)]) {
                assert_eq!(divisor.divide(num), (num / den.max(1), num % den.max(1)), "{num} / {den}");
                assert_eq!(divisor.divide_up(num), num.div_ceil(den.max(1)));
                assert_eq!(high_half_by_word(num, den), high_half(num, den));
                assert_eq!(product_by_word(num, den), num.saturating_mul(den));
            }
        }
        assert_eq!(Divisor::new(0).divide(7), (7, 0));
    }

    #[test]
    fn a_product_is_divided_and_rounded_either_way() {
        let fitting = |exact: u128| u64::try_from(exact).unwrap_or(u64::MAX);
        for den in numbers().step_by(7).filter(|den| *den > 0).chain([1, u64::MAX]) {
            for num in numbers().step_by(11).chain([0, den - 1, den]) {
                for times in numbers().step_by(13).chain([0, 1, den]) {
                    let (product, whole) = (u128::from(num) * u128::from(times), u128::from(den));
                    let (down, up) = (product / whole, product.div_ceil(whole));
                    assert_eq!(scale_up(num, times, den), fitting(up), "{num} · {times} / {den}");
                    assert_eq!(scale_down(num, times, den), fitting(down), "{num} · {times} / {den}");
                    if down <= u64::MAX.into() {
                        let (high, low) = ((product >> 64) as u64, product as u64);
                        assert_eq!(by_bit(high, low, den), (down as u64, (product % whole) as u64));
                    }
                }
            }
        }
        assert_eq!((scale_up(7, 3, 0), scale_up(0, 3, 0), scale_down(7, 3, 0)), (u64::MAX, 0, u64::MAX));
    }

    #[test]
    fn rounding_up_and_microseconds_are_those_of_the_standard_library() {
        for num in numbers() {
            assert_eq!(micros(num), Duration::from_micros(num));
            assert_eq!(divide_up(num, 3), num.div_ceil(3));
            assert_eq!(divide_up(num, u64::MAX), num.div_ceil(u64::MAX));
        }
    }
}
