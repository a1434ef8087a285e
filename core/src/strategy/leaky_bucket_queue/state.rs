//! The state of a queue: what is in it, and until when the turns that were told last.

use crate::Timestamp;
use crate::strategy::math::meter::Meter;
use crate::strategy::wire::serde_form::serde_as_bytes;
use crate::strategy::wire::tags;
use crate::strategy::{Corrupt, Level, Reader, State, Writer};

/// The state of a queue.
///
/// A turn that was told stays told when the rate changes. So the state keeps when the last of them is over,
/// and under another rate no less counts as in use than drains until then. What was used is kept beside it as
/// it is, so that limits that take turns do not make more and more of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct QueueState {
    /// The cost that was used.
    level: Level,
    /// When all that is in the queue has had its time, rounded down, at the rate of the last hit.
    end: Timestamp,
}

impl QueueState {
    /// The level under a rate: `max(used, (end − at) · drain)`. Under the rate of the last hit that is what
    /// was used, since `end` is rounded down.
    #[inline]
    pub(super) fn level(&self, meter: &Meter) -> Level {
        meter.raised(self.level, self.end)
    }

    /// Takes over what became of the level that `held` before.
    #[inline]
    pub(super) fn follow(&mut self, meter: &Meter, held: Level, level: Level) {
        let end = meter.drained_by(&level);
        let level = if held == self.level { level } else { meter.alike(self.level, held, level) };
        *self = Self { level, end };
    }
}

serde_as_bytes!([] QueueState);

impl State for QueueState {
    const MAX_LEN: usize = Level::MAX_LEN + 8;

    fn encode(&self, out: &mut Writer<'_>) {
        out.u8(tags::QUEUE);
        self.level.encode_fields(out);
        out.u64(self.end.as_micros());
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        input.tag(tags::QUEUE)?;
        let (level, end) = (Level::decode_fields(input)?, Timestamp::from_micros(input.u64()?));
        let state = Self { level, end };
        // Nothing in use is always written as the state never used.
        let is_used = level != Level::default() && level.is_before(end);
        if is_used || state == Self::default() { Ok(state) } else { Err(Corrupt) }
    }
}
