//! The level of a bucket, as it is kept.

use crate::strategy::State;
use crate::strategy::wire::codec::{Corrupt, Reader, Writer};
use crate::strategy::wire::serde_form::serde_as_bytes;
use crate::strategy::wire::tags;
use crate::{Receipt, Timestamp};

/// The state of a bucket: how full it was, and when.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Level {
    /// The time of the last hit that was booked.
    pub(super) at: Timestamp,
    /// How much was in use right after it, in `unit`s of a cost of 1.
    pub(super) used: u64,
    /// Units per cost of 1; kept because a limit may change under its state. 0 in a state never used.
    pub(super) unit: u64,
}

serde_as_bytes!([] Level);

impl State for Level {
    const MAX_LEN: usize = 1 + 3 * 8;

    fn encode(&self, out: &mut Writer<'_>) {
        out.u8(tags::LEVEL);
        self.encode_fields(out);
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        input.tag(tags::LEVEL)?;
        Self::decode_fields(input)
    }
}

impl Level {
    /// The level right after the charge of this receipt.
    pub(crate) const fn of(receipt: Receipt) -> Self {
        Self { at: receipt.at, used: receipt.level, unit: receipt.unit }
    }

    /// Appends the fields, without a tag.
    pub(crate) fn encode_fields(&self, out: &mut Writer<'_>) {
        for value in [self.at.as_micros(), self.used, self.unit] {
            out.u64(value);
        }
    }

    /// Reads the fields.
    pub(crate) fn decode_fields(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let level = Self { at: Timestamp::from_micros(input.u64()?), used: input.u64()?, unit: input.u64()? };
        // Nothing in use is always written as the state never used.
        let is_used = level.used > 0 && level.unit > 0;
        if is_used || level == Self::default() { Ok(level) } else { Err(Corrupt) }
    }

    /// Whether the level was raised at this time or before.
    pub(crate) fn is_before(&self, time: Timestamp) -> bool {
        self.at <= time
    }
}
