//! In what a level is counted and how fast it drains, in 8 bytes.

/// Units per cost of 1, and how many of them drain in a microsecond.
///
/// A state keeps both, because a limit may change under it: what drained until then did so at the old rate.
///
/// The lower 48 bits are the units. The upper 16 are 1 more than the drain, as a floating-point number with a
/// mantissa of 11 bits, rounded down: exact below 2 048, and else less by at most one part in 1 024. They are
/// 0 if the drain is not kept. Units of 2⁴⁸ and more, which take a period of nine years, have 61 bits, and
/// the drain is not kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct Pace(u64);

/// Bits of the units.
const UNIT: u32 = 48;
/// Bits of the mantissa but for the highest, which is always set above the smallest exponent.
const MANTISSA: u32 = 10;
/// The highest bits of wide units, which no drain has.
const WIDE: u64 = 0b111 << 61;
/// The highest drain there is, as it is written.
const FASTEST: u32 = written(u64::MAX);

impl Pace {
    /// The smallest units of 48 bits, without a drain.
    pub(crate) const FINEST: Self = Self((1 << UNIT) - 1);

    #[cfg(test)]
    pub(crate) const fn new(unit: u64, drain: u64) -> Self {
        Self::of_units(unit, Self::mark(unit, drain))
    }

    /// The pace of these units with a mark made of them.
    #[inline]
    pub(crate) const fn of_units(unit: u64, mark: u32) -> Self {
        Self(unit | (mark as u64) << 32)
    }

    /// The upper half of a pace without the units.
    pub(crate) const fn mark(unit: u64, drain: u64) -> u32 {
        if unit >> UNIT == 0 { written(drain) << (UNIT - 32) } else { (WIDE >> 32) as u32 }
    }

    /// Whether there is a pace of so many units per cost.
    pub(crate) const fn is_countable(unit: u64) -> bool {
        unit & WIDE == 0
    }

    /// Units per cost of 1.
    pub(crate) const fn unit(self) -> u64 {
        if self.is_wide() { self.0 & !WIDE } else { self.0 & ((1 << UNIT) - 1) }
    }

    /// How many of them drain in a microsecond, or a little less; `None` if it is not kept.
    pub(crate) const fn drain(self) -> Option<u64> {
        match (self.0 >> UNIT) as u32 {
            0 => None,
            _ if self.is_wide() => None,
            written => Some(read(written)),
        }
    }

    /// The same units, whose drain is that of whichever limit comes next.
    pub(crate) const fn open(self) -> Self {
        if self.is_wide() { self } else { Self(self.unit()) }
    }

    const fn is_wide(self) -> bool {
        self.0 & WIDE == WIDE
    }

    pub(crate) const fn to_u64(self) -> u64 {
        self.0
    }

    /// The pace with these bits; that of any others is not to be asked for more than its
    /// [validity](Self::is_valid).
    pub(crate) const fn from_u64(bits: u64) -> Self {
        Self(bits)
    }

    /// Whether some meter has this pace.
    pub(crate) const fn is_valid(self) -> bool {
        let is_written_so = self.unit() >> UNIT != 0;
        self.unit() > 0 && if self.is_wide() { is_written_so } else { (self.0 >> UNIT) as u32 <= FASTEST }
    }
}

/// A drain as a floating-point number, and 1 more.
const fn written(drain: u64) -> u32 {
    let beyond = (u64::BITS - drain.leading_zeros()).saturating_sub(MANTISSA + 1);
    // The highest bit of the mantissa adds 1 to the exponent, if there is one.
    (beyond << MANTISSA) + (drain >> beyond) as u32 + 1
}

/// The drain that a floating-point number stands for.
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
    fn bits_that_no_meter_makes_are_told_apart() {
        let fastest = u64::from(FASTEST) << UNIT;
        assert!(Pace(fastest | 1).is_valid());
        for bits in [0, fastest, (fastest | 1) + (1 << UNIT), WIDE, WIDE | 5, WIDE | ((1 << UNIT) - 1)] {
            assert!(!Pace(bits).is_valid(), "{bits:x}");
        }
    }
}
