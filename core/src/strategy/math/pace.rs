//! The units of a level and how fast they drain, in 8 bytes.

/// The units per cost of 1, and the number of them that drain in a microsecond.
///
/// A state keeps both, because a limit may change under it: what drained until then did so at the old rate.
///
/// The lower 48 bits are the units. The upper 16 are 1 more than the drain, as a floating-point number with a
/// mantissa of 11 bits, rounded down: exact below 2 048, and above less by at most one part in 1 024. They
/// are 0 if the drain is not kept. Units of 2⁴⁸ and more, which take a period of nine years, have 61 bits and
/// no drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct Pace(u64);

/// The number of bits of the units.
const UNIT: u32 = 48;
/// The bits of the mantissa without the highest, which is always set above the smallest exponent.
const MANTISSA: u32 = 10;
/// The highest bits of wide units, which no drain has.
const WIDE: u64 = 0b111 << 61;
/// The highest drain there is, in its encoded form.
const FASTEST: u32 = written(u64::MAX);

impl Pace {
    /// The smallest units of 48 bits, without a drain.
    pub(crate) const FINEST: Self = Self((1 << UNIT) - 1);

    #[cfg(test)]
    pub(crate) const fn new(unit: u64, drain: u64) -> Self {
        Self::of_units(unit, Self::mark(unit, drain))
    }

    /// Returns the pace of these units, with a mark made of them.
    #[inline]
    pub(crate) const fn of_units(unit: u64, mark: u32) -> Self {
        Self(unit | (mark as u64) << 32)
    }

    /// Returns the upper half of a pace, without the units.
    pub(crate) const fn mark(unit: u64, drain: u64) -> u32 {
        // Units beyond 48 bits reach into the place of the drain, which is then given up.
        if unit >> UNIT == 0 { written(drain) << (UNIT - 32) } else { (WIDE >> 32) as u32 }
    }

    /// Reports whether a pace can hold this number of units per cost.
    pub(crate) const fn is_countable(unit: u64) -> bool {
        unit & WIDE == 0
    }

    /// Returns the units per cost of 1.
    pub(crate) const fn unit(self) -> u64 {
        if self.is_wide() { self.0 & !WIDE } else { self.0 & ((1 << UNIT) - 1) }
    }

    /// Returns the units that drain in a microsecond, or slightly less; `None` if the drain is not kept.
    pub(crate) const fn drain(self) -> Option<u64> {
        match (self.0 >> UNIT) as u32 {
            0 => None,
            _ if self.is_wide() => None,
            written => Some(read(written)),
        }
    }

    /// Returns the same units without the drain, which is then that of the next limit.
    pub(crate) const fn open(self) -> Self {
        if self.is_wide() { self } else { Self(self.unit()) }
    }

    const fn is_wide(self) -> bool {
        self.0 & WIDE == WIDE
    }

    pub(crate) const fn to_u64(self) -> u64 {
        self.0
    }

    /// Returns the pace with these bits. For bits from outside, check [`is_valid`](Self::is_valid) first.
    pub(crate) const fn from_u64(bits: u64) -> Self {
        Self(bits)
    }

    /// Reports whether some meter has this pace.
    pub(crate) const fn is_valid(self) -> bool {
        // Narrow units written as wide ones would be a second form of the same pace.
        let is_written_so = self.unit() >> UNIT != 0;
        self.unit() > 0 && if self.is_wide() { is_written_so } else { (self.0 >> UNIT) as u32 <= FASTEST }
    }
}

/// Returns a drain as a floating-point number, plus 1.
const fn written(drain: u64) -> u32 {
    // drain ≈ (drain >> beyond) << beyond, where `beyond` bits do not fit the mantissa.
    let beyond = (u64::BITS - drain.leading_zeros()).saturating_sub(MANTISSA + 1);
    // The highest bit of the mantissa adds 1 to the exponent, if there is one.
    (beyond << MANTISSA) + (drain >> beyond) as u32 + 1
}

/// Returns the drain that a floating-point number, plus 1, stands for.
const fn read(written: u32) -> u64 {
    let bits = written.saturating_sub(1);
    match (bits >> MANTISSA).saturating_sub(1) {
        0 => bits as u64,
        beyond => ((bits - (beyond << MANTISSA)) as u64) << beyond,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_is_kept_exactly_below_2048_and_nearly_so_above() {
        let small = (0..2_048).map(|drain| (drain, drain));
        let large = [(2_048, 2_048), (2_049, 2_048), (4_095, 4_094), (1 << 63, 1 << 63)];
        for (drain, kept) in small.chain(large) {
            assert_eq!(Pace::new(7, drain).drain(), Some(kept));
        }
        for shift in 0..53 {
            for drain in [(1u64 << (shift + 11)) - 1, 0x7ff << shift, u64::MAX >> shift] {
                let kept = Pace::new(1, drain).drain().unwrap();
                assert!(kept <= drain && drain - kept <= drain / 1_024, "{drain} is kept as {kept}");
            }
        }
        assert!(Pace::new(1, u64::MAX).is_valid() && !Pace::new(1, u64::MAX).is_wide());
    }

    #[test]
    fn units_are_kept_exactly_and_wide_ones_without_the_drain() {
        for unit in [1, 60_000_000, (1 << 48) - 1] {
            let pace = Pace::new(unit, 3);
            assert_eq!((pace.unit(), pace.drain(), pace.open().unit()), (unit, Some(3), unit));
            assert_eq!((pace.open().drain(), pace.is_valid(), pace.open().is_valid()), (None, true, true));
        }
        for unit in [1 << 48, (1 << 53) - 1, (1 << 61) - 1] {
            let pace = Pace::new(unit, 3);
            assert_eq!((pace.unit(), pace.drain(), pace.open(), pace.is_valid()), (unit, None, pace, true));
        }
        assert!(Pace::is_countable((1 << 61) - 1) && !Pace::is_countable(1 << 61));
    }

    #[test]
    fn bits_that_no_meter_makes_are_refused() {
        let fastest = u64::from(FASTEST) << UNIT;
        assert!(Pace(fastest | 1).is_valid());
        for bits in [0, fastest, (fastest | 1) + (1 << UNIT), WIDE, WIDE | 5, WIDE | ((1 << UNIT) - 1)] {
            assert!(!Pace(bits).is_valid(), "{bits:x}");
        }
    }
}
