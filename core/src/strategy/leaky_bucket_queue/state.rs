//! The state of a queue: what is in it, and until when the turns that were told last.

use crate::Timestamp;
use crate::strategy::math::meter::Meter;
use crate::strategy::wire::serde_form::serde_as_bytes;
use crate::strategy::wire::tags;
use crate::strategy::{DecodeError, Level, Reader, State, Writer};

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
    /// The state at the pace of a meter, and whether that of another limit is ended by it.
    #[inline]
    pub(super) fn own(self, meter: &Meter, now: Timestamp) -> (Self, bool) {
        if self.level.is_at(meter.pace()) || self == Self::default() {
            (self, false)
        } else {
            self.taken_over(meter, now)
        }
    }

    #[cold]
    #[inline(never)]
    fn taken_over(self, meter: &Meter, now: Timestamp) -> (Self, bool) {
        if meter.is_unlimited() {
            return (self, false);
        }
        let (level, is_changed) = meter.taken_over(&self.level, now);
        if is_changed {
            // What is left of the other's rate, rounded up, may lie a little beyond its end.
            return (Self { level, end: level.not_before(self.end) }, true);
        }
        // The last turn may end later than the use drains.
        let is_told = self.level.is_at_another(meter.pace()) && self.end > now;
        let level = if is_told { meter.taken_over(&Level::trace(now), now).0 } else { level };
        (Self { level, ..self }, is_told)
    }

    /// The level under the rate of a meter whose pace the state has: `max(used, (end − at) · drain)`. Under
    /// the rate of the last hit that is what was used, since `end` is rounded down.
    #[inline]
    pub(super) fn level(&self, meter: &Meter) -> Level {
        meter.raised(self.level, self.end)
    }

    /// The state that takes over what became of the level that `held` before.
    #[inline]
    pub(super) fn following(self, meter: &Meter, held: Level, level: Level) -> Self {
        let end = meter.drained_by(&level);
        let level = if held == self.level { level } else { meter.alike(self.level, held, level) };
        Self { level, end }
    }

    /// The state at a later time, at which another limit takes over. No other turns have been told by then.
    pub(super) fn advanced(self, meter: &Meter, to: Timestamp) -> Self {
        let (Self { mut level, end }, is_told) = (self, self.level.is_at_another(meter.pace()));
        meter.advance(&mut level, to);
        if is_told {
            return if level == Level::default() && end <= to { Self::default() } else { self };
        }
        match level == Level::default() {
            true if end <= to => Self::default(),
            true => Self { level: Level::trace(to), end },
            false => Self { level, end: level.not_before(end) },
        }
    }

    /// When all that is in it has had its time, at its own pace.
    #[inline]
    pub(super) fn expires_at(&self, meter: &Meter) -> Timestamp {
        meter.expires_at(&self.level).max(self.end)
    }
}

serde_as_bytes!([] QueueState);

impl State for QueueState {
    const FRESH: Self = Self { level: Level::FRESH, end: Timestamp::EPOCH };
    const MAX_LEN: usize = Level::MAX_LEN + 8;

    fn encode(&self, out: &mut Writer<'_>) {
        out.u8(tags::QUEUE);
        self.level.encode_fields(out);
        out.u64(self.end.as_micros());
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.tag(tags::QUEUE)?;
        let (level, end) = (Level::decode_fields(input)?, Timestamp::from_micros(input.u64()?));
        let state = Self { level, end };
        // Nothing in use is always written as the state never used.
        let is_used = level != Level::default() && level.is_before(end);
        if is_used || state == Self::default() { Ok(state) } else { Err(DecodeError) }
    }
}
