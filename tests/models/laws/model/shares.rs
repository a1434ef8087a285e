//! One limit shared by members, from the whole history of who asked for what in which window.

use core::time::Duration;

use traffik::{Outcome, Rate};

use super::{Answer, first};

/// A cost that was admitted, or noted as demand: the time, the member (`None` for those that share a row),
/// its weight, and the admitted cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event {
    at: u128,
    pub(crate) who: Option<u32>,
    weight: u64,
    pub(crate) admitted: u64,
    denied: bool,
}

/// The rule that divides a window among members.
pub(crate) trait Rule {
    fn rate(&self) -> Rate;

    /// The member that a label is counted as, given the events of this window and the one before.
    fn member(&self, label: u32, active: &[Event]) -> Option<u32>;

    /// The part that no other member can have, given all members with demand in the window before, and their
    /// weights.
    fn share(&self, who: Option<u32>, before: &[(Option<u32>, u64)]) -> u64;

    /// Whether what is nobody's share can be had by all.
    fn lends(&self) -> bool;

    /// The most a member can have of any window.
    fn possible(&self, who: Option<u32>) -> u64;
}

pub(crate) struct SharesModel<R> {
    pub(crate) rule: R,
    pub(crate) history: Vec<Event>,
}

impl<R: Rule> SharesModel<R> {
    pub(crate) fn new(rule: R) -> Self {
        Self { rule, history: Vec::new() }
    }

    fn window(&self, at: u128) -> u128 {
        at / self.rule.rate().period().as_micros()
    }

    fn of_window(&self, history: &[Event], window: Option<u128>) -> Vec<Event> {
        history.iter().filter(|event| Some(self.window(event.at)) == window).copied().collect()
    }

    /// Everyone with demand in the window before, with the weight last seen in it.
    fn before(&self, history: &[Event], now: u128) -> Vec<(Option<u32>, u64)> {
        let mut members: Vec<(Option<u32>, u64)> = Vec::new();
        for event in self.of_window(history, self.window(now).checked_sub(1)) {
            members.retain(|(who, _)| *who != event.who);
            members.push((event.who, event.weight));
        }
        members
    }

    fn member(&self, history: &[Event], now: u128, label: u32) -> Option<u32> {
        let window = self.window(now);
        let mut active = self.of_window(history, Some(window));
        if self.rule.lends() {
            active.extend(self.of_window(history, window.checked_sub(1)));
        }
        self.rule.member(label, &active)
    }

    /// Whether what everyone has beyond its share, this hit included, is there to be had.
    fn passes(&self, history: &[Event], now: u128, label: u32, cost: u64) -> bool {
        let (who, before) = (self.member(history, now, label), self.before(history, now));
        let mut used = vec![(who, cost)];
        for event in self.of_window(history, Some(self.window(now))) {
            match used.iter_mut().find(|(who, _)| *who == event.who) {
                Some((_, used)) => *used += event.admitted,
                None => used.push((event.who, event.admitted)),
            }
        }
        let beyond: u64 =
            used.iter().map(|(who, used)| used.saturating_sub(self.rule.share(*who, &before))).sum();
        let shares: u64 = before.iter().map(|(who, _)| self.rule.share(*who, &before)).sum();
        let limit = u64::from(self.rule.rate().limit());
        assert!(shares <= limit, "more is given away than there is");
        beyond <= if self.rule.lends() { limit - shares } else { 0 }
    }

    pub(crate) fn decide(&mut self, now: u128, label: u32, weight: u64, cost: u32) -> Answer {
        if self.rule.rate().is_unlimited() {
            let outcome = Outcome::Allow { after: Duration::ZERO };
            return Answer { outcome, remaining: u32::MAX, reset_after: Duration::ZERO };
        }
        let cost = u64::from(cost);
        let who = self.member(&self.history, now, label);
        let window = self.window(now);
        let outcome = if cost == 0 {
            Outcome::Allow { after: Duration::ZERO }
        } else if cost > self.rule.possible(who) {
            Outcome::Never
        } else if self.passes(&self.history, now, label, cost) {
            self.history.push(Event { at: now, who, weight, admitted: cost, denied: false });
            Outcome::Allow { after: Duration::ZERO }
        } else {
            let noted = self.of_window(&self.history, Some(window));
            if self.rule.lends() && !noted.iter().any(|event| event.denied && event.who == who) {
                self.history.push(Event { at: now, who, weight, admitted: 0, denied: true });
            }
            match first(now, |then| self.passes(&self.history, then, label, cost)) {
                Some(retry_after) => Outcome::Deny { retry_after },
                None => Outcome::Never,
            }
        };
        let mut remaining = (0, self.rule.possible(who));
        while remaining.0 < remaining.1 {
            let middle = (remaining.0 + remaining.1).div_ceil(2);
            match self.passes(&self.history, now, label, middle) {
                true => remaining.0 = middle,
                false => remaining.1 = middle - 1,
            }
        }
        let is_felt = |then: u128| {
            let felt =
                [Some(self.window(then)), self.window(then).checked_sub(1).filter(|_| self.rule.lends())];
            felt.iter().any(|window| window.is_some() && !self.of_window(&self.history, *window).is_empty())
        };
        let reset_after = first(now, |then| !is_felt(then)).unwrap_or(Duration::MAX);
        Answer { outcome, remaining: remaining.0 as u32, reset_after }
    }
}

/// Shares by weight among the members that ask, with room for this number of them.
pub(crate) struct FairRule {
    pub(crate) rate: Rate,
    pub(crate) room: usize,
}

impl Rule for FairRule {
    fn rate(&self) -> Rate {
        self.rate
    }

    fn member(&self, label: u32, active: &[Event]) -> Option<u32> {
        let mut known: Vec<u32> = active.iter().filter_map(|event| event.who).collect();
        known.sort_unstable();
        known.dedup();
        let is_crowded = known.len() >= self.room || active.iter().any(|event| event.who.is_none());
        (known.contains(&label) || !is_crowded).then_some(label)
    }

    fn share(&self, who: Option<u32>, before: &[(Option<u32>, u64)]) -> u64 {
        let all: u64 = before.iter().map(|(_, weight)| weight).sum();
        let own = before.iter().find(|(it, _)| *it == who).map_or(0, |(_, weight)| *weight);
        u64::from(self.rate.limit()) * own / all.max(1)
    }

    fn lends(&self) -> bool {
        true
    }

    fn possible(&self, _: Option<u32>) -> u64 {
        self.rate.limit().into()
    }
}

/// Fixed shares: labels and what they have of the limit.
pub(crate) struct RegionRule {
    pub(crate) rate: Rate,
    pub(crate) shares: Vec<(u32, u64)>,
    pub(crate) other: u64,
    pub(crate) spill: bool,
}

impl RegionRule {
    fn fixed(&self, who: Option<u32>) -> u64 {
        let named = self.shares.iter().find(|(label, _)| Some(*label) == who);
        named.map_or(self.other, |(_, share)| *share)
    }
}

impl Rule for RegionRule {
    fn rate(&self) -> Rate {
        self.rate
    }

    fn member(&self, label: u32, _: &[Event]) -> Option<u32> {
        self.shares.iter().any(|(named, _)| *named == label).then_some(label)
    }

    fn share(&self, who: Option<u32>, before: &[(Option<u32>, u64)]) -> u64 {
        let asked = before.iter().any(|(it, _)| *it == who);
        if asked || !self.spill { self.fixed(who) } else { 0 }
    }

    fn lends(&self) -> bool {
        self.spill
    }

    fn possible(&self, who: Option<u32>) -> u64 {
        if self.spill { self.rate.limit().into() } else { self.fixed(who) }
    }
}
