//! A custom strategy: at least a pause between two hits of cost 1.
//!
//! A strategy is a pure function, so it runs atomically on every storage. The laws check it.

use std::time::Duration;

use traffik::laws::{self, Step};
use traffik::strategy::{DecodeError, Reader, Writer};
use traffik::{Class, Decision, Hit, Limiter, Memory, Receipt, State, Strategy, Timestamp};

/// The strategy: admits one hit, then none until the pause is over.
#[derive(Clone, Copy, Debug)]
struct Pause(Duration);

/// The time of the last admitted hit; `None` if there was none.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Last(Option<Timestamp>);

impl State for Last {
    const FRESH: Self = Self(None);
    const MAX_LEN: usize = 1 + 1 + 8;

    fn encode(&self, out: &mut Writer<'_>) {
        out.u8(0x81); // tags from 0x80 on are for custom strategies
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

    /// Returns the time of the decision, and the microseconds from then on until the next hit is admitted.
    fn closed(&self, state: &Last, now: Timestamp) -> (Timestamp, u64) {
        let Some(last) = state.0 else { return (now, 0) };
        let at = now.max(last); // a clock that stepped back counts as the state's time
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
        // The wait is `closed` plus the time that `now` is behind, but never more than the pause.
        let wait = |closed: u64| {
            let behind = if closed == 0 { 0 } else { at.micros_since(now) };
            Duration::from_micros(closed.saturating_add(behind).min(self.micros()))
        };
        let left = u32::from(closed == 0);
        match hit.cost {
            0 => Decision::allow(1, left, wait(closed)).with_dirty(false),
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
        // A state over a second ahead means that the clock was set back, so the pause starts again now.
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

    // The laws that need no bounds. Your own tests should feed them random runs.
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
