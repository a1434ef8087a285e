//! A strategy of one's own: at least a pause between two hits, whatever they cost.
//!
//! It runs atomically on every storage without a lock, since it is a pure function; the laws check it.

use std::time::Duration;

use traffik::laws::{self, Step};
use traffik::strategy::{DecodeError, Reader, Writer};
use traffik::{Class, Decision, Hit, Limiter, Memory, Receipt, State, Strategy, Timestamp};

/// Admits one hit, then nothing until `pause` has gone by.
#[derive(Clone, Copy, Debug)]
struct Pause(Duration);

/// When the last hit was admitted; `None` if there was none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Last(Option<Timestamp>);

impl State for Last {
    const FRESH: Self = Self(None);
    const MAX_LEN: usize = 1 + 1 + 8;

    fn encode(&self, out: &mut Writer<'_>) {
        out.u8(0x81); // strategies of your own take tags from 0x80
        out.u8(self.0.is_some().into());
        out.u64(self.0.map_or(0, Timestamp::as_micros));
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        input.tag(0x81)?;
        match (input.u8()?, input.u64()?) {
            (0, 0) => Ok(Self(None)),
            (1, at) => Ok(Self(Some(Timestamp::from_micros(at)))),
            _ => Err(DecodeError),
        }
    }
}

impl Pause {
    fn micros(&self) -> u64 {
        self.0.as_micros() as u64
    }

    /// The time the state decides at, and how long it then stays closed.
    fn closed(&self, state: &Last, now: Timestamp) -> (Timestamp, u64) {
        let Some(last) = state.0 else { return (now, 0) };
        let at = now.max(last); // an earlier time counts as the state's own
        (at, self.micros().saturating_sub(at.micros_since(last)))
    }
}

impl Strategy for Pause {
    type State = Last;
    type Cost = u32;
    type Verdict = Decision;
    type Stat = Option<Timestamp>;

    fn decide(&self, state: &mut Last, hit: &Hit, now: Timestamp) -> Decision {
        let (at, closed) = self.closed(state, now);
        // No wait is longer than the pause, however far the clock was set back.
        let wait = |closed: u64| {
            let behind = if closed == 0 { 0 } else { at.micros_since(now) };
            Duration::from_micros(closed.saturating_add(behind).min(self.micros()))
        };
        let left = u32::from(closed == 0);
        match hit.cost {
            0 => Decision::allow(1, left, wait(closed)).recorded(false),
            1 if closed == 0 => {
                *state = Last(Some(at));
                Decision::allow(1, 0, wait(self.micros())).with_receipt(Receipt::new(at))
            }
            1 => Decision::deny(1, 0, wait(closed), wait(closed)),
            _ => Decision::never(1, left, wait(closed)),
        }
    }

    fn charge(&self, state: &mut Last, hit: &Hit, now: Timestamp) {
        if hit.cost > 0 {
            *state = Last(Some(self.closed(state, now).0));
        }
    }

    fn refund(&self, state: &mut Last, _: &Hit, receipt: Receipt, _: Timestamp) {
        if state.0 == Some(receipt.at()) {
            *state = Last(None);
        }
    }

    fn expires_at(&self, state: &Last, _: Class) -> Timestamp {
        state.0.map_or(Timestamp::EPOCH, |last| last.plus_micros(self.micros()))
    }

    fn max_ttl(&self) -> u64 {
        self.micros()
    }

    fn rebase(&self, state: &mut Last, now: Timestamp) -> bool {
        // More than a second ahead: the clock was set back, and the pause counts from now.
        let ahead = state.0.is_some_and(|last| last.micros_since(now) > 1_000_000);
        if ahead {
            *state = Last(Some(now));
        }
        ahead
    }

    fn stat(&self, state: &Last, _: Class, _: Timestamp) -> Option<Timestamp> {
        state.0
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limit = Pause(Duration::from_secs(5));

    // The laws that need no statement of bounds; your own tests would feed them random runs.
    let run =
        [0, 0, 3, 5, 5, 4, 60].map(|second: u64| Step::new(Timestamp::from_micros(second * 1_000_000), 1));
    laws::pure(&limit, &run)?;
    laws::denial_is_free(&limit, &run)?;
    laws::waits_are_exact(&limit, &run)?;
    laws::expiry_is_invisible(&limit, &run)?;
    laws::time_may_step_back(&limit, &run)?;
    laws::codec_round_trips(&limit, &run)?;

    let limiter = Limiter::new(limit, Memory::new(100));
    println!("first: {:?}", limiter.check("doorbell")?.outcome());
    println!("again: {:?}", limiter.check("doorbell")?.outcome());
    Ok(())
}
