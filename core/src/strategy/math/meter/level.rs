//! The level of a bucket, as it is kept.

use crate::strategy::State;
use crate::strategy::math::pace::Pace;
use crate::strategy::wire::codec::{DecodeError, Reader, Writer};
use crate::strategy::wire::serde_form::serde_as_bytes;
use crate::strategy::wire::tags;
use crate::{Receipt, Timestamp};

/// The state of a bucket: how full it was, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Level {
    /// The time of the last hit that was booked.
    pub(super) at: Timestamp,
    /// How much was in use right after it, in the units of `pace`.
    pub(super) used: u64,
    /// In what it is counted, and how fast it has drained since; all zeros in a state never used.
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
    /// The level right after the charge of this receipt.
    pub(crate) const fn of(receipt: Receipt) -> Self {
        Self { at: receipt.at, used: receipt.level, pace: Pace::from_u64(receipt.unit) }
    }

    /// The least that can be in use, whichever limit comes next.
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
        // Nothing in use is always written as the state never used.
        let is_used = level.used > 0 && level.pace.is_valid();
        if is_used || level == Self::default() { Ok(level) } else { Err(DecodeError) }
    }

    /// The same level, which from now on drains as fast as whichever limit comes next.
    pub(crate) fn open(self) -> Self {
        Self { pace: self.pace.open(), ..self }
    }

    /// Units per cost of 1.
    pub(crate) fn unit(&self) -> u64 {
        self.pace.unit()
    }

    /// Whether it is counted and drains at this pace.
    #[inline]
    pub(crate) fn is_at(&self, pace: Pace) -> bool {
        self.pace == pace
    }

    /// Whether it tells that it drains at another pace than this one.
    pub(crate) fn is_at_another(&self, pace: Pace) -> bool {
        self.pace.drain().is_some() && self.pace != pace
    }

    /// The same level, which from now on drains at a pace of the same units.
    pub(crate) fn at_pace(self, pace: Pace) -> Self {
        Self { pace, ..self }
    }

    /// The time, or that of the level if it is later.
    pub(crate) fn not_before(&self, time: Timestamp) -> Timestamp {
        self.at.max(time)
    }

    /// Whether the level was raised at this time or before.
    pub(crate) fn is_before(&self, time: Timestamp) -> bool {
        self.at <= time
    }
}

impl Receipt {
    /// The same receipt of a [`Level`], which does not tell how fast it drains.
    pub(crate) const fn open(self) -> Self {
        Self { unit: Pace::from_u64(self.unit).open().to_u64(), ..self }
    }
}
