//! A queue that hits leave one after another, and a bucket that refills the slower the dearer its hits.

use core::time::Duration;

use traffik::{Outcome, Rate};

use super::{Answer, History, Model};

/// Places in a queue: who leaves when, exactly. Times are multiplied by the limit, so that they are whole.
pub(crate) struct QueueModel {
    pub(crate) rate: Rate,
    /// The cost that may wait behind the unit that leaves.
    pub(crate) queue: u32,
}

impl QueueModel {
    fn period(&self) -> u128 {
        self.rate.period().as_micros()
    }

    fn limit(&self) -> u128 {
        self.rate.limit().into()
    }

    /// The exact turn of each admitted hit, and then that of one that came at the very beginning of time.
    pub(crate) fn turns(&self, history: &History) -> Vec<u128> {
        let mut free = 0;
        let mut turns = Vec::new();
        for &(at, cost) in history {
            let turn = (at * self.limit()).max(free);
            turns.push(turn);
            free = turn + u128::from(cost) * self.period();
        }
        turns.push(free);
        turns
    }

    fn backlog(&self, history: &History, now: u128) -> u128 {
        self.turns(history).last().copied().unwrap_or(0).saturating_sub(now * self.limit())
    }

    /// How long a hit that comes now waits for its turn.
    fn after(&self, history: &History, now: u128) -> Duration {
        let wait = self.backlog(history, now).div_ceil(self.limit().max(1));
        Duration::from_micros(wait as u64)
    }
}

impl Model for QueueModel {
    fn rate(&self) -> Rate {
        self.rate
    }

    fn passes(&self, history: &History, now: u128, cost: u32) -> bool {
        let room = (u128::from(self.queue) + 1) * self.period();
        self.possible(cost) && self.backlog(history, now) + u128::from(cost) * self.period() <= room
    }

    fn possible(&self, cost: u32) -> bool {
        self.limit() > 0 && u64::from(cost) <= u64::from(self.queue) + 1
    }

    fn remaining(&self, history: &History, now: u128) -> u32 {
        if self.limit() == 0 {
            return 0;
        }
        let room = (u128::from(self.queue) + 1) * self.period();
        ((room - self.backlog(history, now)) / self.period()) as u32
    }

    fn fresh(&self, history: &History, now: u128) -> bool {
        self.backlog(history, now) == 0
    }

    fn decide(&self, history: &mut History, now: u128, cost: u32) -> Answer {
        let after = self.after(history, now);
        let mut answer = Admission(self).decide(history, now, cost);
        if cost > 0 && answer.outcome.is_allowed() && !self.rate.is_unlimited() {
            answer.outcome = Outcome::Allow { after };
        }
        answer
    }
}

/// The queue without its delays.
struct Admission<'a>(&'a QueueModel);

impl Model for Admission<'_> {
    fn rate(&self) -> Rate {
        self.0.rate()
    }

    fn passes(&self, history: &History, now: u128, cost: u32) -> bool {
        self.0.passes(history, now, cost)
    }

    fn possible(&self, cost: u32) -> bool {
        self.0.possible(cost)
    }

    fn remaining(&self, history: &History, now: u128) -> u32 {
        self.0.remaining(history, now)
    }

    fn fresh(&self, history: &History, now: u128) -> bool {
        self.0.fresh(history, now)
    }
}

/// A bucket whose refill depends on the mean cost of what it admitted, in the units it is documented to
/// count in: the refill comes in steps of at most 1/1024, the mean in steps of 2⁻³².
pub(crate) struct CostModel {
    pub(crate) rate: Rate,
    pub(crate) burst: u32,
    pub(crate) window: u128,
    pub(crate) floor: (u128, u128),
}

impl CostModel {
    /// Units refilled in a microsecond at the full rate, and units of a cost of 1.
    fn units(&self) -> (u128, u128) {
        let (limit, period) = (u128::from(self.rate.limit()), self.rate.period().as_micros());
        let (mut divisor, mut rest) = (period, limit);
        while rest > 0 {
            (divisor, rest) = (rest, divisor % rest);
        }
        let (refill, unit) = (limit / divisor, period / divisor);
        let fine = (0..30).rev().find(|power| unit << power <= 1 << 29).unwrap_or(0);
        // Units are counted up to 2⁶¹.
        let room = (0..=10).rev().find(|power| unit << power < 1 << 61).unwrap_or(0);
        let coarse = (0..=10).find(|power| refill << power >= 1024).unwrap_or(0).min(room);
        let parts = 1 << fine.max(coarse);
        (refill * parts, unit * parts)
    }

    fn used(&self, history: &History, now: u128) -> u128 {
        let (refill, unit) = self.units();
        let (mut used, mut last, mut mean) = (0u128, 0, 1 << 32);
        let drained = |mean: u128, span: u128| {
            let floor = (refill * self.floor.0).div_ceil(self.floor.1);
            floor.max((refill << 32) / mean) * span
        };
        for &(at, cost) in history {
            used = used.saturating_sub(drained(mean, at - last));
            if used == 0 {
                mean = 1 << 32;
            }
            used += u128::from(cost) * unit;
            last = at;
            let target = u128::from(cost) << 32;
            if target > mean {
                mean += (target - mean).div_ceil(self.window);
            } else {
                mean -= (mean - target) / self.window;
            }
        }
        used.saturating_sub(drained(mean, now - last))
    }
}

impl Model for CostModel {
    fn rate(&self) -> Rate {
        self.rate
    }

    fn passes(&self, history: &History, now: u128, cost: u32) -> bool {
        let (_, unit) = self.units();
        self.used(history, now) + u128::from(cost) * unit <= u128::from(self.burst) * unit
    }

    fn possible(&self, cost: u32) -> bool {
        cost <= self.burst
    }

    fn remaining(&self, history: &History, now: u128) -> u32 {
        let (_, unit) = self.units();
        ((u128::from(self.burst) * unit - self.used(history, now)) / unit) as u32
    }

    fn fresh(&self, history: &History, now: u128) -> bool {
        self.used(history, now) == 0
    }
}
