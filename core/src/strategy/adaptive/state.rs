//! The state of an adaptive limit.

use crate::Timestamp;
use crate::strategy::wire::serde_form::serde_as_bytes;
use crate::strategy::wire::tags;
use crate::strategy::{DecodeError, Reader, State, Writer};

/// A factor of 1, in millionths.
pub(super) const WHOLE: u32 = 1_000_000;

/// The state of an [`Adaptive`](crate::Adaptive) limit: the window of the last hit, in 24 bytes.
///
/// ```
/// use traffik::strategy::State;
/// use traffik::{Adaptive, Hit, Strategy, Timestamp, rate};
///
/// let (adaptive, mut state) = (Adaptive::new(rate!("9/s")), State::FRESH);
/// adaptive.charge(&mut state, &Hit::new(1), Timestamp::EPOCH);
/// assert_ne!(state, State::FRESH);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AdaptiveState {
    /// The time of the last hit that was charged or recorded as demand.
    pub(super) at: Timestamp,
    pub(super) used: u32,
    /// The use that the window was on course for at its first denial; 0 if there was none.
    pub(super) demand: u32,
    /// The difference of the factor from 1, in millionths.
    pub(super) lack: u32,
}

impl AdaptiveState {
    pub(super) fn new(at: Timestamp, used: u32, demand: u32, lack: u32) -> Self {
        if used == 0 && demand == 0 && lack == 0 { Self::default() } else { Self { at, used, demand, lack } }
    }
}

serde_as_bytes!([] AdaptiveState);

impl State for AdaptiveState {
    const FRESH: Self = Self { at: Timestamp::EPOCH, used: 0, demand: 0, lack: 0 };
    const MAX_LEN: usize = 1 + 8 + 3 * 4;

    fn encode(&self, out: &mut Writer<'_>) {
        out.u8(tags::ADAPTIVE);
        out.u64(self.at.as_micros());
        for value in [self.used, self.demand, self.lack] {
            out.u32(value);
        }
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.tag(tags::ADAPTIVE)?;
        let at = Timestamp::from_micros(input.u64()?);
        let state = Self::new(at, input.u32()?, input.u32()?, input.u32()?);
        // A state with nothing to remember has one encoded form: that of a key never seen.
        if state.at == at && state.lack <= WHOLE { Ok(state) } else { Err(DecodeError) }
    }
}
