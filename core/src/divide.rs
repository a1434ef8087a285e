//! Division of 64-bit numbers, quick on cores that only divide 32-bit ones.

use core::time::Duration;

/// The quotient and the remainder; a `den` of 0 is taken as 1.
///
/// Most divisors here fit 32 bits. A core of 32 bits then needs three of its own divisions, a third of what it
/// takes it to divide by a number of any size.
#[inline]
pub(crate) const fn divide(num: u64, den: u64) -> (u64, u64) {
    let den = if den == 0 { 1 } else { den };
    if usize::BITS < u64::BITS && den <= u32::MAX as u64 {
        by_word(num, den as u32)
    } else {
        (num / den, num % den)
    }
}

/// The quotient, rounded up.
#[inline]
pub(crate) const fn divide_up(num: u64, den: u64) -> u64 {
    let (quotient, rest) = divide(num, den);
    // Where there is a remainder the divisor is above 1, and the quotient below the largest number.
    quotient + (rest > 0) as u64
}

/// The duration of this many microseconds.
#[inline]
pub(crate) const fn micros(micros: u64) -> Duration {
    if micros == 0 {
        return Duration::ZERO;
    }
    let (secs, rest) = divide(micros, 1_000_000);
    Duration::new(secs, rest as u32 * 1_000)
}

/// Long division: a digit of 32 bits, then two of 16.
const fn by_word(num: u64, den: u32) -> (u64, u64) {
    let den = if den == 0 { 1 } else { den };
    let (high, low) = ((num >> 32) as u32, num as u32);
    if high == 0 {
        return ((low / den) as u64, (low % den) as u64);
    }
    let (first, rest) = (high / den, high % den);
    // With the divisor's highest bit set, a digit guessed from its upper half is at most 2 too large.
    let shift = den.leading_zeros();
    let rest = ((rest as u64) << 32 | low as u64) << shift;
    let (second, high) = digit((rest >> 32) as u32, (rest >> 16) as u16, den << shift);
    let (third, rest) = digit(high, rest as u16, den << shift);
    ((first as u64) << 32 | (second << 16 | third) as u64, (rest >> shift) as u64)
}

/// `high`, which is less than `den`, and a digit of 16 bits below it, over `den`.
#[inline]
const fn digit(high: u32, low: u16, den: u32) -> (u32, u32) {
    // Never 0, but that is not for the compiler to see.
    let top = if den >> 16 == 0 { 1 } else { den >> 16 };
    let mut digit = high / top;
    let mut rest = ((high as u64) << 16 | low as u64) as i64 - (digit as u64 * den as u64) as i64;
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
        assert_eq!(divide(7, 0), (7, 0));
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
