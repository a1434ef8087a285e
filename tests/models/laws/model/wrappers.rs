//! Limits by time of day, from their definition and the whole history.

use core::time::Duration;

use traffik::{Outcome, Rate, Ratio};

use super::{Answer, History};

const MINUTE: u128 = 60_000_000;

/// A rate that is another one in some minutes of the local day.
#[derive(Clone, Debug)]
pub(crate) struct HoursModel {
    pub(crate) rate: Rate,
    /// From one minute of the day until another, and the ratio.
    pub(crate) hours: Vec<(u128, u128, Ratio)>,
    pub(crate) offset: i32,
    /// A bucket that drains continuously and holds a given burst or the limit of the hour; else windows.
    pub(crate) bucket: Option<Option<u32>>,
    pub(crate) history: History,
}

impl HoursModel {
    fn period(&self) -> u128 {
        self.rate.period().as_micros()
    }

    fn minute(&self, at: u128) -> u128 {
        ((at / MINUTE) as i128 + i128::from(self.offset)).rem_euclid(1440) as u128
    }

    /// The limit at a time.
    fn limit(&self, at: u128) -> u128 {
        let minute = self.minute(at);
        let inside = |(from, to, _): &&(u128, u128, Ratio)| match from < to {
            true => *from <= minute && minute < *to,
            false => *from <= minute || minute < *to,
        };
        let limit = u128::from(self.rate.limit());
        match self.hours.iter().find(inside) {
            Some((_, _, ratio)) => {
                (limit * u128::from(ratio.num()) / u128::from(ratio.den())).max(limit.min(1))
            }
            None => limit,
        }
    }

    /// The next time at which the limit may change.
    fn change(&self, at: u128) -> u128 {
        let minute = self.minute(at);
        let edges = self.hours.iter().flat_map(|(from, to, _)| [*from, *to]);
        let wait = edges.map(|edge| (edge + 1440 - minute - 1) % 1440 + 1).min().unwrap_or(1440);
        at - at % MINUTE + wait * MINUTE
    }

    /// The level at a time, in units of which a cost of 1 has one for every microsecond of the period.
    fn holds(&self, at: u128) -> u128 {
        match self.bucket {
            Some(Some(burst)) => u128::from(burst) * self.period(),
            _ => self.limit(at) * self.period(),
        }
    }

    /// A level some time later, hour by hour.
    fn drained(&self, mut level: u128, mut from: u128, to: u128) -> u128 {
        while from < to && level > 0 {
            let then = self.change(from).min(to);
            level = level.saturating_sub((then - from) * self.limit(from));
            from = then;
        }
        level
    }

    fn level(&self, now: u128) -> u128 {
        let (mut level, mut last) = (0, 0);
        for &(at, cost) in &self.history {
            level = self.drained(level, last, at) + u128::from(cost) * self.period();
            last = at;
        }
        self.drained(level, last, now)
    }

    fn used(&self, now: u128) -> u128 {
        let same = |(at, _): &&(u128, u32)| at / self.period() == now / self.period();
        self.history.iter().filter(same).map(|(_, cost)| u128::from(*cost)).sum::<u128>()
    }

    fn in_use(&self, now: u128) -> u128 {
        if self.bucket.is_some() { self.level(now) } else { self.used(now) * self.period() }
    }

    /// When a cost passes: the first of the times at which anything changes, or when enough has drained.
    fn passes(&self, now: u128, cost: u32) -> Option<u128> {
        let cost = u128::from(cost) * self.period();
        let mut possible = (0..1440).map(|minute| self.holds(minute * MINUTE));
        if possible.all(|holds| cost > holds) {
            return None;
        }
        let (mut at, mut in_use) = (now, self.in_use(now));
        loop {
            let mut change = self.change(at);
            let room = self.holds(at).checked_sub(cost);
            match room {
                Some(room) if in_use <= room => return Some(at),
                Some(room) if self.bucket.is_some() && self.limit(at) > 0 => {
                    let passes = at + (in_use - room).div_ceil(self.limit(at));
                    if passes < change {
                        return Some(passes);
                    }
                }
                _ => {}
            }
            if self.bucket.is_some() {
                in_use = self.drained(in_use, at, change);
            } else {
                change = change.min((at / self.period() + 1) * self.period());
                in_use = self.used(change) * self.period();
            }
            at = change;
        }
    }

    fn fresh(&self, now: u128) -> u128 {
        let (mut at, mut in_use) = (now, self.in_use(now));
        while in_use > 0 {
            let change = self.change(at);
            if self.bucket.is_none() {
                return (at / self.period() + 1) * self.period();
            }
            let empty = at + in_use.div_ceil(self.limit(at).max(1));
            if self.limit(at) > 0 && empty <= change {
                return empty;
            }
            in_use = self.drained(in_use, at, change);
            at = change;
        }
        at
    }

    pub(crate) fn decide(&mut self, now: u128, cost: u32) -> Answer {
        let allow = Outcome::Allow { after: Duration::ZERO };
        if self.rate.is_unlimited() {
            return Answer { outcome: allow, remaining: u32::MAX, reset_after: Duration::ZERO };
        }
        let since = |at: u128| Duration::from_micros((at - now) as u64);
        let outcome = match self.passes(now, cost) {
            _ if cost == 0 => allow,
            Some(at) if at == now => allow,
            Some(at) => Outcome::Deny { retry_after: since(at) },
            None => Outcome::Never,
        };
        if outcome == allow && cost > 0 {
            self.history.push((now, cost));
        }
        let left = self.holds(now).saturating_sub(self.in_use(now)) / self.period();
        Answer { outcome, remaining: left as u32, reset_after: since(self.fresh(now)) }
    }
}
