//! The exact fraction, for scaling a limit and for reading a rate.

use core::cmp::Ordering;
use core::fmt;
use core::str::FromStr;

use crate::divide::{divide, scale_down};

/// An exact fraction in lowest terms, such as `3/2`.
///
/// Choose it wherever a limit is scaled or shared; no limit is ever computed with a float.
///
/// ```
/// use traffik::Ratio;
///
/// let half_more: Ratio = "3/2".parse()?;
/// assert_eq!(half_more.floor_of(5), 7);
/// assert_eq!("50%".parse(), Ratio::new(1, 2));
/// # Ok::<(), traffik::StrategyError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ratio {
    num: u64,
    den: u64,
}

/// The error of a text or a pair of numbers that is no ratio.
///
/// ```
/// use traffik::{Ratio, RatioError};
///
/// assert_eq!(Ratio::new(1, 0), Err(RatioError::ZeroDenominator));
/// assert_eq!("half".parse::<Ratio>(), Err(RatioError::Malformed));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum RatioError {
    /// The denominator is zero.
    ZeroDenominator,
    /// The text has none of the forms `3`, `3/2`, `1.5` or `50%`, in ASCII digits of at most 64 bits.
    Malformed,
}

texts! { RatioError:
    Self::ZeroDenominator => "a ratio cannot have the denominator 0; give 1 or more",
    Self::Malformed => "this is not a ratio; write 3, 3/2, 1.5 or 50%",
}

impl Ratio {
    /// The ratio 0.
    pub const ZERO: Self = Self { num: 0, den: 1 };
    /// The ratio 1, which changes nothing.
    pub const ONE: Self = Self { num: 1, den: 1 };
    pub(crate) const HALF: Self = Self { num: 1, den: 2 };

    /// Creates the ratio `num / den`, in lowest terms.
    ///
    /// # Errors
    ///
    /// Fails with [`ZeroDenominator`](RatioError::ZeroDenominator) if `den` is 0. `?` turns the error into a
    /// [`StrategyError`](crate::StrategyError).
    pub const fn new(num: u64, den: u64) -> Result<Self, RatioError> {
        if den == 0 {
            return Err(RatioError::ZeroDenominator);
        }
        let divisor = gcd(num, den);
        Ok(Self { num: divide(num, divisor).0, den: divide(den, divisor).0 })
    }

    /// Returns the numerator in lowest terms.
    #[must_use]
    pub const fn num(self) -> u64 {
        self.num
    }

    /// Returns the denominator in lowest terms; never 0.
    #[must_use]
    pub const fn den(self) -> u64 {
        self.den
    }

    /// Returns the ratio as a rounded floating-point number, for people to read: no limit is computed with
    /// it.
    ///
    /// ```
    /// use traffik::{Ratio, rate};
    ///
    /// assert_eq!(Ratio::new(3, 2)?.as_f64(), 1.5);
    /// assert_eq!(rate!("100/min").rps().map(Ratio::as_f64), Some(100.0 / 60.0));
    /// # Ok::<(), traffik::StrategyError>(())
    /// ```
    #[must_use]
    pub const fn as_f64(self) -> f64 {
        self.num as f64 / self.den as f64
    }

    /// Returns `value · self`, rounded down but never below 1; 0 stays 0.
    pub(crate) const fn part_of(self, value: u32) -> u32 {
        match self.floor_of(value) {
            0 if value > 0 => 1,
            part => part,
        }
    }

    /// Returns `value · self`, rounded down, and `u32::MAX` at most.
    #[must_use]
    pub const fn floor_of(self, value: u32) -> u32 {
        // Ratios that people write fit 32 bits, and 64-bit division is several times cheaper.
        // scaled = floor(value · num / den).
        let scaled = match (value as u64).checked_mul(self.num) {
            Some(product) => divide(product, self.den).0,
            None => scale_down(value as u64, self.num, self.den),
        };
        if scaled > u32::MAX as u64 { u32::MAX } else { scaled as u32 }
    }
}

impl Ord for Ratio {
    fn cmp(&self, other: &Self) -> Ordering {
        // a/b < c/d if a · d < c · b; 64-bit factors have 128-bit products.
        let cross = |num: u64, den: u64| u128::from(num) * u128::from(den);
        cross(self.num, other.den).cmp(&cross(other.num, self.den))
    }
}

impl PartialOrd for Ratio {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.den {
            1 => write!(f, "{}", self.num),
            den => write!(f, "{}/{den}", self.num),
        }
    }
}

impl FromStr for Ratio {
    type Err = RatioError;

    /// Reads the forms `3`, `3/2`, `1.5` and `50%`, in ASCII digits of at most 64 bits.
    ///
    /// # Errors
    ///
    /// Fails with [`Malformed`](RatioError::Malformed) for any other text, and with
    /// [`ZeroDenominator`](RatioError::ZeroDenominator) for a denominator of 0. `?` turns the error into a
    /// [`StrategyError`](crate::StrategyError).
    fn from_str(text: &str) -> Result<Self, RatioError> {
        let number = |text: &str| {
            let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
            digits.then(|| text.parse::<u64>().ok()).flatten().ok_or(RatioError::Malformed)
        };
        let text = text.trim_ascii();
        if let Some(percent) = text.strip_suffix('%') {
            return Self::new(number(percent)?, 100);
        }
        if let Some((num, den)) = text.split_once('/') {
            return Self::new(number(num.trim_ascii())?, number(den.trim_ascii())?);
        }
        let Some((whole, decimals)) = text.split_once('.') else { return Self::new(number(text)?, 1) };
        // num / den = (whole · 10ⁿ + part) / 10ⁿ, with n decimals.
        let den = 10u64.checked_pow(decimals.len() as u32).ok_or(RatioError::Malformed)?;
        let (whole, part) = (number(whole)?, number(decimals)?);
        let num = whole.checked_mul(den).and_then(|whole| whole.checked_add(part));
        Self::new(num.ok_or(RatioError::Malformed)?, den)
    }
}

/// Returns the greatest common divisor; that of 0 and `n` is `n`, and it is 0 only if both are.
pub(crate) const fn gcd(mut a: u64, mut b: u64) -> u64 {
    // Euclid: gcd(a, b) = gcd(b, a mod b).
    while b != 0 {
        (a, b) = (b, divide(a, b).1);
    }
    a
}

/// Returns the least common multiple, and the largest number at most; that of 0 and `n` is `n`.
pub(crate) const fn lcm(a: u64, b: u64) -> u64 {
    match gcd(a, b) {
        divisor if a > 0 && b > 0 => divide(a, divisor).0.saturating_mul(b),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_kept_in_lowest_terms_and_prints_as_it_parses() {
        let forms = [("6/4", "3/2"), ("50%", "1/2"), ("7", "7"), ("0/9", "0"), (" 5 / 10 ", "1/2")];
        for (text, printed) in forms.into_iter().chain([("0.80", "4/5"), ("1.5", "3/2")]) {
            let ratio: Ratio = text.parse().unwrap();
            assert_eq!(ratio.to_string(), printed, "{text}");
            assert_eq!(printed.parse(), Ok(ratio));
        }
    }

    #[test]
    fn refuses_what_is_no_ratio() {
        assert_eq!("1/0".parse::<Ratio>(), Err(RatioError::ZeroDenominator));
        for text in [
            "",
            "/",
            "-1",
            ".5",
            "1.",
            "1.5.2",
            "1.00000000000000000000",
            "1.-5",
            "1//2",
            "%",
            "٣",
            "99999999999999999999",
            "+1",
        ] {
            assert_eq!(text.parse::<Ratio>(), Err(RatioError::Malformed), "{text}");
        }
    }

    #[test]
    fn reads_as_a_number_with_a_point() {
        let read = |text: &str| text.parse::<Ratio>().unwrap().as_f64();
        assert_eq!(["0", "1/4", "3/2", "7"].map(read), [0.0, 0.25, 1.5, 7.0]);
        assert_eq!(Ratio::new(u64::MAX, 1).unwrap().as_f64(), u64::MAX as f64);
        assert_eq!(Ratio::new(1, u64::MAX).unwrap().as_f64(), 1.0 / u64::MAX as f64);
    }

    #[test]
    fn is_ordered_by_size() {
        let mut ratios = ["1", "2/3", "0", "7/3", "5/8"].map(|text| text.parse::<Ratio>().unwrap());
        ratios.sort();
        assert_eq!(ratios.map(|ratio| ratio.to_string()), ["0", "5/8", "2/3", "1", "7/3"]);
        assert_eq!(Ratio::new(0, 7), Ok(Ratio::ZERO));
    }

    #[test]
    fn multiples_are_least_and_saturate() {
        assert_eq!([lcm(4, 6), lcm(0, 6), lcm(6, 0), lcm(1, 1)], [12, 6, 6, 1]);
        assert_eq!(lcm(u64::MAX, u64::MAX - 1), u64::MAX);
    }

    #[test]
    fn scaling_rounds_down_and_saturates() {
        let third = Ratio::new(1, 3).unwrap();
        assert_eq!(third.floor_of(8), 2);
        assert_eq!(Ratio::new(u64::MAX, 1).unwrap().floor_of(u32::MAX), u32::MAX);
    }
}
