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
