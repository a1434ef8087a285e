//! The level of a bucket, as a storage keeps it.

use crate::strategy::State;
use crate::strategy::math::pace::Pace;
use crate::strategy::wire::codec::{DecodeError, Reader, Writer};
use crate::strategy::wire::serde_form::serde_as_bytes;
use crate::strategy::wire::tags;
use crate::{Receipt, Timestamp};

/// The state of a bucket: how full it was, and when, in 24 bytes.
///
/// [`TokenBucket`](crate::TokenBucket), [`LeakyBucket`](crate::LeakyBucket) and [`Gcra`](crate::Gcra) share
/// it.
///
/// ```
/// use traffik::strategy::Level;
/// use traffik::{Hit, Strategy, Timestamp, TokenBucket, rate};
///
/// let mut level = Level::default();
/// TokenBucket::new(rate!("2/s")).charge(&mut level, &Hit::new(1), Timestamp::EPOCH);
/// assert_ne!(level, Level::default());
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Level {
    /// The time of the last charged hit.
    pub(super) at: Timestamp,
    /// The use right after that hit, in the units of `pace`.
    pub(super) used: u64,
    /// The units it is counted in, and how fast they drain since; all zeros in a state never used.
    pub(super) pace: Pace,
}

serde_as_bytes!([] Level);

impl State for Level {
    const FRESH: Self = Self { at: Timestamp::EPOCH, used: 0, pace: Pace::from_u64(0) };
    const MAX_LEN: usize = 1 + 3 * 8;

    fn encode(&self, out: &mut Writer<'_>) {
        out.u8(tags::LEVEL);
        self.encode_fields(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.tag(tags::LEVEL)?;
        Self::decode_fields(input)
    }
}

impl Level {
    /// Returns the level right after the charge of this receipt.
    pub(crate) const fn of(receipt: Receipt) -> Self {
        Self { at: receipt.at, used: receipt.level, pace: Pace::from_u64(receipt.unit) }
    }

    /// Returns the smallest level in use that any limit counts as more than nothing.
    pub(crate) const fn trace(at: Timestamp) -> Self {
        Self { at, used: 1, pace: Pace::FINEST }
    }

    /// Appends the fields, without a tag.
    pub(crate) fn encode_fields(&self, out: &mut Writer<'_>) {
        for value in [self.at.as_micros(), self.used, self.pace.to_u64()] {
            out.u64(value);
        }
    }

    /// Reads the fields.
    pub(crate) fn decode_fields(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (at, used) = (Timestamp::from_micros(input.u64()?), input.u64()?);
        let level = Self { at, used, pace: Pace::from_u64(input.u64()?) };
        // An empty level has one encoded form: that of a key never seen.
        let is_used = level.used > 0 && level.pace.is_valid();
        if is_used || level == Self::default() { Ok(level) } else { Err(DecodeError) }
    }

    /// Returns the same level, which from now on drains at the rate of the next limit.
    pub(crate) fn open(self) -> Self {
        Self { pace: self.pace.open(), ..self }
    }

    /// Returns the units per cost of 1.
    pub(crate) fn unit(&self) -> u64 {
        self.pace.unit()
    }

    /// Reports whether it is counted and drains at this pace.
    #[inline]
    pub(crate) fn is_at(&self, pace: Pace) -> bool {
        self.pace == pace
    }

    /// Reports whether it keeps a pace other than this one.
    pub(crate) fn is_at_another(&self, pace: Pace) -> bool {
        self.pace.drain().is_some() && self.pace != pace
    }

    /// Returns the same level at another pace of the same units.
    pub(crate) fn at_pace(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// Returns the later of `time` and the level's own time.
    pub(crate) fn not_before(&self, time: Timestamp) -> Timestamp {
        self.at.max(time)
    }

    /// Reports whether the level's own time is at or before `time`.
    pub(crate) fn is_before(&self, time: Timestamp) -> bool {
        self.at <= time
    }
}

impl Receipt {
    /// Returns the same receipt of a [`Level`], without the drain.
    pub(crate) const fn open(self) -> Self {
        Self { unit: Pace::from_u64(self.unit).open().to_u64(), ..self }
    }
}
