//! A fixed window as one number of 64 bits, which a server can count down.
//!
//! The number holds the whole state, whatever the limit is by now. From the highest bit: the limit (18 bits),
//! its period (10), the window (16), and what is left (20). What is left is lowest and stored with an offset
//! of half its range. So further decrements by denials do not touch the other fields.

use traffik_core::Timestamp;

/// The largest limit that fits.
pub(super) const MOST: u32 = (1 << 18) - 1;

const LEFT_BITS: u32 = 20;
const MIDDLE: i32 = 1 << (LEFT_BITS - 1);
const WINDOW_BITS: u32 = 16;
const PERIOD_BITS: u32 = 10;
const PERIOD_AT: u32 = LEFT_BITS + WINDOW_BITS;
const LIMIT_AT: u32 = PERIOD_AT + PERIOD_BITS;

/// The most windows that another host's clock may be ahead: a number holds only the low bits of its window.
/// Any other difference lies in the past. Half the range is right: of two hosts at any distance, one is then
/// ahead for both. Otherwise each host would treat the other's count as over.
const AHEAD: u16 = 1 << (WINDOW_BITS - 1);

/// A period of 1 to 255 seconds, minutes, hours or days: the unit in the high byte, how many in the low byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period(u16);

impl Period {
    const UNITS: [u64; 4] = [1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000];
    const MANY: u64 = 255;

    /// Returns the period of so many microseconds, or `None` if it is none of these.
    pub(super) fn of(micros: u64) -> Option<Self> {
        let mut units = (0u16..).zip(Self::UNITS);
        units.find_map(|(number, unit)| {
            let is_whole = micros.is_multiple_of(unit) && (1..=Self::MANY).contains(&(micros / unit));
            is_whole.then_some(Self(number << 8 | (micros / unit) as u16))
        })
    }

    fn of_bits(bits: u16) -> Option<Self> {
        (bits & 0xff > 0).then_some(Self(bits))
    }

    fn micros(self) -> u64 {
        let unit = Self::UNITS.get(usize::from(self.0 >> 8)).copied().unwrap_or(1);
        u64::from(self.0 & 0xff) * unit
    }
}

/// The rest of a limit in one window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WindowCount {
    /// The limit, from 1 to [`MOST`].
    pub(super) limit: u32,
    pub(super) period: Period,
    /// The number of windows before this one.
    pub(super) window: u64,
    /// The rest of the limit, plus 1. The last admitted hit leaves 1; 0 and less mean that the limit is used
    /// up.
    pub(super) left: i32,
}

impl WindowCount {
    /// Returns the count after one hit in the window that holds `now`.
    pub(super) fn first(limit: u32, period: Period, anchor: u64, now: Timestamp) -> Option<Self> {
        let window = window(period, anchor, now)?;
        (1..=MOST).contains(&limit).then(|| Self { limit, period, window, left: limit.cast_signed() })
    }

    /// Returns the number that holds this count.
    pub(super) fn packed(&self) -> u64 {
        // number = limit · 2^46 + period · 2^36 + (window mod 2^16) · 2^20 + (left + MIDDLE)
        let low = |bits: u64, width: u32| bits & ((1 << width) - 1);
        u64::from(self.limit) << LIMIT_AT
            | low(self.period.0.into(), PERIOD_BITS) << PERIOD_AT
            | low(self.window, WINDOW_BITS) << LEFT_BITS
            | low((self.left + MIDDLE).cast_unsigned().into(), LEFT_BITS)
    }

    /// Returns the count that a number holds at `now`, or `None` if it is no count.
    pub(super) fn unpacked(number: u64, anchor: u64, now: Timestamp) -> Option<Self> {
        let bits = |at: u32, width: u32| (number >> at & ((1 << width) - 1)) as u32;
        let period = Period::of_bits(bits(PERIOD_AT, PERIOD_BITS) as u16)?;
        let limit = bits(LIMIT_AT, 64 - LIMIT_AT);
        let left = bits(0, LEFT_BITS).cast_signed() - MIDDLE;
        let present = window(period, anchor, now)?;
        // behind = (present − window) mod 2^16; a small negative difference is a window ahead of this clock.
        let behind = (present as u16).wrapping_sub(bits(LEFT_BITS, WINDOW_BITS) as u16);
        let window = match ahead(behind) {
            Some(ahead) => present + u64::from(ahead),
            None => present.checked_sub(behind.into())?,
        };
        // A charge leaves at most `limit`, so `left` (one more) is at most limit + 1.
        (limit > 0 && left <= limit.cast_signed() + 1).then_some(Self { limit, period, window, left })
    }

    /// Returns the used part of the limit.
    pub(super) fn used(&self) -> u32 {
        // left = limit − used + 1, so used = limit − (left − 1); below 0 the limit is used up.
        self.limit.saturating_sub(u32::try_from(self.left - 1).unwrap_or(0))
    }

    /// Returns whether the hit that led to this count was admitted.
    pub(super) const fn is_admitted(&self) -> bool {
        self.left >= 1
    }

    /// Returns the count before the hit that led to this one.
    pub(super) fn before(self) -> Self {
        Self { left: if self.is_admitted() { self.left + 1 } else { 1 }, ..self }
    }

    /// Returns whether so many hits were denied that the count nears the next field and has to be reset.
    pub(super) const fn needs_reset(&self) -> bool {
        self.left < -MIDDLE / 2
    }

    /// Returns the time in the window that is nearest to `now`.
    pub(super) fn nearest(&self, anchor: u64, now: Timestamp) -> Timestamp {
        let period = self.period.micros();
        // start = window · period + anchor mod period; the window ends right before the next start.
        let start = self.window.saturating_mul(period).saturating_add(anchor % period);
        now.clamp(Timestamp::from_micros(start), Timestamp::from_micros(start.saturating_add(period - 1)))
    }
}

/// Returns the window that holds a time, or `None` before the first one.
fn window(period: Period, anchor: u64, now: Timestamp) -> Option<u64> {
    // window = ⌊(now − anchor mod period) / period⌋
    Some(now.as_micros().checked_sub(anchor % period.micros())? / period.micros())
}

/// Returns how far a difference modulo 2¹⁶ is below zero, or `None` beyond [`AHEAD`].
fn ahead(behind: u16) -> Option<u16> {
    let ahead = behind.wrapping_neg();
    (1..=AHEAD).contains(&ahead).then_some(ahead)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000_000;

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    fn periods_are_few_of_one_unit() {
        let read = |micros| Period::of(micros).map(Period::micros);
        for good in [1_000_000, 10_000_000, 255_000_000, MINUTE, 3_600_000_000, 255 * 86_400_000_000] {
            assert_eq!(read(good), Some(good));
        }
        for bad in [0, 1, 999_999, 1_500_000, 256_000_000, 86_400_000_000 * 256, u64::MAX] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_count_comes_back_from_its_number() {
        let now = at(1_800_000_012_345_678);
        for (limit, seconds) in [(1, 1), (100, 10), (MOST, 255), (5_000, 3_600), (7, 86_400 * 30)] {
            let period = Period::of(seconds * 1_000_000).unwrap();
            for anchor in [0, 777_777] {
                let first = WindowCount::first(limit, period, anchor, now).unwrap();
                for count in [first, WindowCount { left: 1, ..first }, WindowCount { left: -1_000, ..first }]
                {
                    let number = count.packed();
                    assert_eq!(WindowCount::unpacked(number, anchor, now), Some(count));
                    // The server counts down.
                    let less = WindowCount { left: count.left - 1, ..count };
                    assert_eq!(WindowCount::unpacked(number - 1, anchor, now), Some(less));
                    assert_eq!(less.before().used(), if count.left > 1 { count.used() } else { limit });
                }
                assert_eq!((first.used(), first.before().used()), (1, 0));
            }
        }
    }

    #[test]
    fn windows_before_and_soon_after_are_told_apart() {
        let period = Period::of(MINUTE).unwrap();
        let count = WindowCount::first(10, period, 0, at(10_000_000 * MINUTE)).unwrap();
        let seen =
            |minutes: u64| WindowCount::unpacked(count.packed(), 0, at(minutes * MINUTE)).unwrap().window;
        for minutes in [10_000_000 - 32_768, 9_999_999, 10_000_000, 10_000_001, 10_000_000 + 32_767] {
            assert_eq!(seen(minutes), 10_000_000, "at minute {minutes}");
        }
        // What is too old is taken for something newer, and by then the server has given it up.
        assert_ne!(seen(10_000_000 + 32_768), 10_000_000);
        let nearest = |now| count.nearest(0, at(now)).as_micros();
        assert_eq!(nearest(0), 10_000_000 * MINUTE);
        assert_eq!(nearest(u64::MAX), 10_000_001 * MINUTE - 1);
    }

    #[test]
    fn denials_leave_the_rest_alone_and_are_taken_back_in_time() {
        let now = at(1_800_000_000_000_000);
        let first = WindowCount::first(1, Period::of(1_000_000).unwrap(), 0, now).unwrap();
        let many = first.packed() - 1 - u64::from((MIDDLE / 2).cast_unsigned());
        let count = WindowCount::unpacked(many, 0, now).unwrap();
        assert!(!count.needs_reset());
        let count = WindowCount::unpacked(many - 1, 0, now).unwrap();
        assert_eq!((count.used(), count.is_admitted(), count.needs_reset()), (1, false, true));
    }

    #[test]
    fn other_numbers_are_no_counts() {
        let now = at(1_800_000_000_000_000);
        assert!(
            [0, 1, 1 << 46, u64::MAX].iter().all(|number| WindowCount::unpacked(*number, 0, now).is_none())
        );
        let period = Period::of(1_000_000).unwrap();
        assert_eq!([0, MOST + 1].map(|limit| WindowCount::first(limit, period, 0, now)), [None; 2]);
        assert_eq!(WindowCount::first(1, period, 5, at(4)), None);
    }
}
