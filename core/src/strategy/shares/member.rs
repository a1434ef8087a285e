//! One row of a shared limit.

use crate::strategy::{DecodeError, Reader, Writer};

/// The figures of a member in the window of the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) used: u32,
    /// The weight in the present window; 0 if the member had no demand in the previous one.
    pub(super) weight: u16,
    /// The weight in the next window; 0 if the member has no demand in this one.
    pub(super) next_weight: u16,
    /// Whether a denial was recorded as demand.
    pub(super) denied: bool,
}

impl Member {
    pub(super) const IDLE: Self = Self { used: 0, weight: 0, next_weight: 0, denied: false };

    /// Reports whether there was no demand in this window or the one before.
    pub(super) fn is_idle(self) -> bool {
        self.weight == 0 && self.next_weight == 0
    }

    /// Returns the member one window later.
    pub(super) fn next(self) -> Self {
        Self { weight: self.next_weight, ..Self::default() }
    }

    /// Adds the figures of a member that loses its row.
    pub(super) fn absorb(&mut self, gone: Self) {
        self.used = self.used.saturating_add(gone.used);
        self.weight = self.weight.max(gone.weight);
        self.next_weight = self.next_weight.max(gone.next_weight);
        self.denied |= gone.denied;
    }

    pub(super) const LEN: usize = 4 + 2 + 2 + 1;

    pub(super) fn encode(self, out: &mut Writer<'_>) {
        out.u32(self.used);
        out.bytes(&self.weight.to_le_bytes());
        out.bytes(&self.next_weight.to_le_bytes());
        out.u8(self.denied.into());
    }

    pub(super) fn decode(input: &mut Reader<'_>, heaviest: u16) -> Result<Self, DecodeError> {
        let (used, weight) = (input.u32()?, u16::from_le_bytes(input.bytes()?));
        let (next_weight, denied) = (u16::from_le_bytes(input.bytes()?), input.u8()?);
        let has_demand = used > 0 || denied == 1;
        let possible = denied <= 1 && weight.max(next_weight) <= heaviest && has_demand == (next_weight > 0);
        if possible { Ok(Self { used, weight, next_weight, denied: denied == 1 }) } else { Err(DecodeError) }
    }
}
