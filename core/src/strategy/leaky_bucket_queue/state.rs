//! The state of a queue: the cost in it, and the end of the turns given out.

use crate::Timestamp;
use crate::strategy::math::meter::Meter;
use crate::strategy::wire::serde_form::serde_as_bytes;
use crate::strategy::wire::tags;
use crate::strategy::{DecodeError, Level, Reader, State, Writer};

/// The state of a [`LeakyBucketQueue`](crate::LeakyBucketQueue), in 32 bytes.
///
/// A turn stays the same when the rate changes, since its client already knows it. So the state keeps the end
/// of the last turn. Under another rate, the use counts as at least the cost that drains until that end. The
/// used cost is kept beside the end, so that limits that take turns do not inflate it.
///
/// ```
/// use traffik::strategy::State;
/// use traffik::{Hit, LeakyBucketQueue, Strategy, Timestamp, rate};
///
/// let (queue, mut state) = (LeakyBucketQueue::new(rate!("2/s")), State::FRESH);
/// queue.charge(&mut state, &Hit::new(1), Timestamp::EPOCH);
/// assert_ne!(state, State::FRESH);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct QueueState {
    /// The cost that was used.
    level: Level,
    /// The time by which the whole queue has had its turns at the rate of the last hit, rounded down.
    end: Timestamp,
}

impl QueueState {
    /// Returns the state at the pace of a meter, and whether this ends the pace of another limit.
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
            // The rest, rounded up from the other limit's units, may lie a little beyond its `end`.
            return (Self { level, end: level.not_before(self.end) }, true);
        }
        // The last turn may end later than the use drains, so the state still belongs to the other limit.
        let is_foreign = self.level.is_at_another(meter.pace()) && self.end > now;
        let level = if is_foreign { meter.taken_over(&Level::trace(now), now).0 } else { level };
        (Self { level, ..self }, is_foreign)
    }

    /// Returns the level at the pace of `meter`: `max(used, (end − at) · drain)`.
    ///
    /// Under the rate of the last hit this is `used`, since `end` is rounded down.
    #[inline]
    pub(super) fn level(&self, meter: &Meter) -> Level {
        meter.raised(self.level, self.end)
    }

    /// Returns the state after a change of the level from `held` to `level`.
    #[inline]
    pub(super) fn following(self, meter: &Meter, held: Level, level: Level) -> Self {
        let end = meter.drained_by(&level);
        let level = if held == self.level { level } else { meter.with_change(self.level, held, level) };
        Self { level, end }
    }

    /// Brings the state forward to the time at which another limit takes over. No turn is given out until
    /// then.
    pub(super) fn advanced(self, meter: &Meter, to: Timestamp) -> Self {
        let (Self { mut level, end }, is_foreign) = (self, self.level.is_at_another(meter.pace()));
        meter.advance(&mut level, to);
        if is_foreign {
            return if level == Level::default() && end <= to { Self::default() } else { self };
        }
        // An empty level before `end` keeps a trace, so that the turns given out stay in force.
        match level == Level::default() {
            true if end <= to => Self::default(),
            true => Self { level: Level::trace(to), end },
            false => Self { level, end: level.not_before(end) },
        }
    }

    /// Returns the time by which all of the queue has had its turns, at its own pace.
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
        // A state with nothing in use has one encoded form: that of a key never seen.
        let is_used = level != Level::default() && level.is_before(end);
        if is_used || state == Self::default() { Ok(state) } else { Err(DecodeError) }
    }
}
