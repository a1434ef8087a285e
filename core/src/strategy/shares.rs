//! The table of a limit that several members share: how much each may still use in a window.
//!
//! Windows are those of a [`FixedWindow`]. A member has *demand* in a window if it was admitted or denied
//! something in it. All that follows is in whole numbers, for one window of limit `L`:
//!
//! 1. At its start every member with demand in the previous window has a share, rounded down, that no other
//!    member can use. The strategy determines its size. All shares together are at most `L`.
//! 2. The rest of `L` is *unassigned*: the rest from rounding, and the shares of members without demand in
//!    the whole previous window. Nothing moves between shares and the rest before the window ends.
//! 3. A hit is paid from the member's own share first, then from the unassigned rest, in order of arrival. It
//!    is admitted if the two together cover it, and charges nothing otherwise.
//! 4. So a window never admits more than `L`. A member with demand in the last window gets at least its
//!    share, whatever others ask for. A member that was silent, or never seen, waits at most for the next
//!    window.
//! 5. Cost charged without a check, or under a larger limit, counts: a hit is admitted, also from a share,
//!    only if the total stays within `L`.

use crate::decision::{Figures, Quotient};
use crate::strategy::math::rebase::is_ahead;
use crate::strategy::{Class, FixedWindow, Hit, Label, State};
use crate::{Decision, Rate, Receipt, Timestamp};

mod codec;
mod member;

use member::Member;

/// A strategy that shares a limit among members.
pub(crate) trait SharedLimit {
    /// Whether only members known beforehand have a row of their own.
    ///
    /// Otherwise any member gets one, if there is room and the row `other` is idle. The latter keeps a
    /// member's demand from staying behind in `other` when a row is freed.
    const NAMED: bool;

    /// Returns the windows, and with them the rate.
    fn windows(&self) -> &FixedWindow;

    /// Returns the label of the member that a hit of this class belongs to.
    fn label(&self, class: Class) -> Label;

    /// Reports whether this member may have a row of its own.
    fn may_have_row(&self, label: Label) -> bool;

    /// Returns the weight of the member that checks a hit; never 0.
    fn weight(&self) -> u16;

    /// Reports whether the shares of members without demand are unassigned.
    ///
    /// Otherwise they stay reserved, and demand makes no difference.
    fn lends(&self) -> bool;

    /// Returns the share of a member (`None` for `other`) with `weight` out of `weights`.
    ///
    /// The weight is 0 if the member had no demand in the previous window.
    fn share(&self, who: Option<Label>, weight: u16, weights: u64) -> u32;

    /// Returns the most that a member can ever use in one window.
    fn most(&self, who: Option<Label>) -> u32;

    /// Returns the part of each window that a member can always use; the whole limit if the part varies.
    fn quota(&self, who: Option<Label>) -> u32;
}

/// The state of a limit shared by members: a table of `N` rows, and a row `other` for all further members.
///
/// `TAG` names the strategy in the encoded form.
///
/// ```
/// use traffik::strategy::State;
/// use traffik::{FairShare, Hit, Strategy, Timestamp, rate};
///
/// let (strategy, mut state) = (FairShare::<4>::new(rate!("9/s")), State::FRESH);
/// strategy.charge(&mut state, &Hit::new(1), Timestamp::EPOCH);
/// assert_ne!(state, State::FRESH);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shares<const N: usize, const TAG: u8> {
    /// The time of the last hit that was charged or recorded as demand.
    at: Timestamp,
    /// The rows in use come first.
    rows: [Row; N],
    other: Member,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Row {
    label: Label,
    member: Member,
}

impl Row {
    const IDLE: Self = Self { label: Label(0), member: Member::IDLE };
}

/// The figures of one member in the present window.
pub(crate) struct MemberStatus {
    /// The member whose row it is counted in; `None` for `other`.
    pub(crate) label: Option<Label>,
    pub(crate) share: u32,
    pub(crate) used: u32,
    pub(crate) total: u64,
    pub(crate) window: (Timestamp, Timestamp),
}

impl<const N: usize, const TAG: u8> Default for Shares<N, TAG> {
    fn default() -> Self {
        Self::FRESH
    }
}

impl<const N: usize, const TAG: u8> Shares<N, TAG> {
    pub(crate) fn decide<S: SharedLimit>(&mut self, sharing: &S, hit: &Hit, now: Timestamp) -> Decision {
        let rate = sharing.windows().rate();
        if rate.is_unlimited() {
            return Decision::unlimited();
        }
        // The table is a copy, and is written back only if the hit is charged or recorded as demand.
        let mut table = self.present(sharing, now);
        let label = sharing.label(hit.class);
        let row = table.row(sharing, label);
        let limit = sharing.most(row.map(|_| label));
        let available = table.available(sharing, label);
        // Bounded, since a clock that stepped back would lead to a longer wait than any state lasts.
        let until = |then: Timestamp| Quotient::whole(then.micros_since(now).min(max_ttl(sharing)));
        let figures = |table: &Self, remaining: u32| Figures {
            limit,
            rate: Rate::of_quota(sharing.quota(row.map(|_| label)), rate),
            remaining: Quotient::whole(remaining.into()),
            reset: until(table.expires_at(sharing)),
            receipt: Receipt { level: u64::from(row.is_none()), ..Receipt::new(table.at) },
        };
        // The next window divides the limit by the demand seen in this one. If the cost does not fit there,
        // it fits in the window after it: no member will have had demand by then.
        let opens = |table: &Self, cost: u32| {
            let (_, end) = sharing.windows().window(table.at);
            let is_next = cost <= table.next(sharing).available(sharing, label);
            until(if is_next { end } else { sharing.windows().window(end).1 })
        };
        // With lent shares this takes as long as a decision, so it is computed only where nothing remains.
        let more = |table: &Self, remaining: u32| match remaining {
            0 => opens(table, 1),
            _ if remaining < limit && !sharing.lends() => opens(table, limit),
            _ => Quotient::ZERO,
        };
        if hit.cost == 0 {
            return figures(&table, available).allow(false, more(&table, available));
        }
        if hit.cost > limit {
            return figures(&table, available).never(more(&table, available));
        }
        let member = table.member(row, label);
        if hit.cost <= available {
            member.used = member.used.saturating_add(hit.cost);
            member.next_weight = sharing.weight();
            *self = table;
            let left = available - hit.cost;
            return figures(&table, left).allow(true, more(&table, left));
        }
        // The first denial in a window is recorded as demand, which gives the member a share of the next.
        let is_news = sharing.lends() && !member.denied;
        if is_news {
            member.denied = true;
            member.next_weight = sharing.weight();
            *self = table;
        }
        figures(&table, available).deny(opens(&table, hit.cost)).with_dirty(is_news)
    }

    pub(crate) fn charge<S: SharedLimit>(&mut self, sharing: &S, hit: &Hit, now: Timestamp) {
        if hit.cost > 0 && !sharing.windows().rate().is_unlimited() {
            let mut table = self.present(sharing, now);
            let label = sharing.label(hit.class);
            let member = table.member(table.row(sharing, label), label);
            member.used = member.used.saturating_add(hit.cost);
            member.next_weight = sharing.weight();
            *self = table;
        }
    }

    /// Takes the cost back while the state is still in the window that it was charged to.
    ///
    /// A member without remaining use, and without a recorded denial, has no demand any more.
    pub(crate) fn refund<S: SharedLimit>(&mut self, sharing: &S, hit: &Hit, receipt: Receipt) {
        if sharing.windows().window(self.at) != sharing.windows().window(receipt.at) {
            return;
        }
        let label = sharing.label(hit.class);
        // The receipt's level names the row: 0 for the member's own, 1 for `other`.
        let own = self.rows.iter_mut().find(|row| row.label == label && !row.member.is_idle());
        let member = match (receipt.level, own) {
            (0, Some(row)) => &mut row.member,
            (0, None) => return,
            _ => &mut self.other,
        };
        member.used = member.used.saturating_sub(hit.cost);
        if member.used == 0 && !member.denied {
            member.next_weight = 0;
            self.tidy();
        }
    }

    /// Returns the time from which on no demand counts: the end of the next window if shares are lent,
    /// otherwise the end of this one.
    pub(crate) fn expires_at<S: SharedLimit>(&self, sharing: &S) -> Timestamp {
        let (_, end) = sharing.windows().window(self.at);
        let mut members = self.members().map(|(_, member)| member);
        match (members.clone().any(|member| member.next_weight > 0), sharing.lends()) {
            (true, true) => sharing.windows().window(end).1,
            (true, false) => end,
            (false, true) if members.any(|member| member.weight > 0) => end,
            (false, _) => self.at,
        }
    }

    pub(crate) fn rebase<S: SharedLimit>(&mut self, sharing: &S, now: Timestamp) -> bool {
        let is_ahead = is_ahead(self.at, now, max_ttl(sharing));
        if is_ahead {
            self.at = now;
        }
        is_ahead
    }

    pub(crate) fn status<S: SharedLimit>(&self, sharing: &S, class: Class, now: Timestamp) -> MemberStatus {
        let table = self.present(sharing, now);
        let label = sharing.label(class);
        let row = table.row(sharing, label);
        let (who, member) = table.seen(row, label);
        MemberStatus {
            label: who,
            share: sharing.share(who, member.weight, table.weights()),
            used: member.used,
            total: table.members().map(|(_, member)| u64::from(member.used)).sum(),
            window: sharing.windows().window(table.at),
        }
    }

    /// Returns the state in the window that holds the present, which is no earlier than the state's own time.
    fn present<S: SharedLimit>(&self, sharing: &S, now: Timestamp) -> Self {
        let at = now.max(self.at);
        let (start, _) = sharing.windows().window(at);
        let mut table = match sharing.windows().window(self.at) {
            (own, _) if own == start => *self,
            (_, end) if end == start => self.next(sharing),
            _ => Self::default(),
        };
        // A limit that no longer names a member counts it in `other`.
        for row in table.rows.iter_mut().filter(|row| !row.member.is_idle()) {
            if !sharing.may_have_row(row.label) {
                table.other.absorb(row.member);
                *row = Row::default();
            }
        }
        table.tidy();
        Self { at, ..table }
    }

    /// Returns the state one window later, if nothing happens until then.
    fn next<S: SharedLimit>(&self, sharing: &S) -> Self {
        if !sharing.lends() {
            return Self::default();
        }
        let rows = self.rows.map(|row| Row { member: row.member.next(), ..row });
        let mut table = Self { at: self.at, rows, other: self.other.next() };
        table.tidy();
        table
    }

    /// Moves the rows in use to the front, and turns a state without any into the default.
    fn tidy(&mut self) {
        let mut front = 0;
        for at in 0..N {
            let Some(row) = self.rows.get_mut(at).filter(|row| !row.member.is_idle()) else { continue };
            let row = core::mem::take(row);
            if let Some(place) = self.rows.get_mut(front) {
                *place = row;
            }
            front += 1;
        }
        self.rows.iter_mut().skip(front).for_each(|row| *row = Row::default());
        if front == 0 && self.other.is_idle() {
            *self = Self::default();
        }
    }

    /// Returns the row of a member, or the free row that it is to get; `None` for `other`.
    fn row<S: SharedLimit>(&self, sharing: &S, label: Label) -> Option<usize> {
        if !sharing.may_have_row(label) {
            return None;
        }
        // An idle row is free, even if it still has a label.
        let own = self.rows.iter().position(|row| row.label == label && !row.member.is_idle());
        let free = || self.rows.iter().position(|row| row.member.is_idle());
        own.or_else(|| if S::NAMED || self.other.is_idle() { free() } else { None })
    }

    /// Returns the member that a row counts, and its figures.
    fn seen(&self, row: Option<usize>, label: Label) -> (Option<Label>, Member) {
        match row.and_then(|row| self.rows.get(row)) {
            Some(row) => (Some(label), row.member),
            None => (None, self.other),
        }
    }

    /// Returns a member to change; a free row becomes that of the member.
    fn member(&mut self, row: Option<usize>, label: Label) -> &mut Member {
        match row.and_then(|row| self.rows.get_mut(row)) {
            Some(row) => {
                row.label = label;
                &mut row.member
            }
            None => &mut self.other,
        }
    }

    fn members(&self) -> impl Iterator<Item = (Option<Label>, Member)> + Clone {
        let rows = self.rows.iter().take_while(|row| !row.member.is_idle());
        rows.map(|row| (Some(row.label), row.member)).chain([(None, self.other)])
    }

    fn weights(&self) -> u64 {
        self.members().map(|(_, member)| u64::from(member.weight)).sum()
    }

    /// Returns what a member can still use in the window of the state, by points 3 and 5 above.
    fn available<S: SharedLimit>(&self, sharing: &S, label: Label) -> u32 {
        let (who, own) = self.seen(self.row(sharing, label), label);
        let weights = self.weights();
        // drawn = Σ max(used − share, 0) is what members took from the unassigned rest.
        let (mut shares, mut drawn, mut used) = (0u64, 0u64, 0u64);
        for (who, member) in self.members() {
            let share = sharing.share(who, member.weight, weights);
            shares += u64::from(share);
            drawn += u64::from(member.used.saturating_sub(share));
            used += u64::from(member.used);
        }
        let limit = u64::from(sharing.windows().rate().limit());
        // unassigned = L − Σ share
        let unassigned = if sharing.lends() { limit.saturating_sub(shares) } else { 0 };
        let kept = sharing.share(who, own.weight, weights).saturating_sub(own.used);
        let available = u64::from(kept) + unassigned.saturating_sub(drawn);
        // available = min(share − used + unassigned − drawn, L − Σ used), at most `L`, which fits 32 bits.
        available.min(limit.saturating_sub(used)) as u32
    }
}

/// Implements the methods of [`Strategy`](crate::strategy::Strategy) that every [`SharedLimit`] has in
/// common.
macro_rules! shared {
    () => {
        type Cost = u32;
        type Verdict = $crate::Decision;

        fn decide(
            &self,
            state: &mut Self::State,
            hit: &$crate::Hit,
            now: $crate::Timestamp,
        ) -> Self::Verdict {
            state.decide(self, hit, now)
        }

        fn charge(&self, state: &mut Self::State, hit: &$crate::Hit, now: $crate::Timestamp) {
            state.charge(self, hit, now);
        }

        fn refund(
            &self,
            state: &mut Self::State,
            hit: &$crate::Hit,
            receipt: $crate::Receipt,
            _: $crate::Timestamp,
        ) {
            state.refund(self, hit, receipt);
        }

        fn expires_at(&self, state: &Self::State, _: $crate::Class) -> $crate::Timestamp {
            state.expires_at(self)
        }

        fn max_ttl(&self) -> u64 {
            $crate::strategy::shares::max_ttl(self)
        }

        fn rebase(&self, state: &mut Self::State, now: $crate::Timestamp) -> bool {
            state.rebase(self, now)
        }

        fn records_demand(&self) -> bool {
            true
        }
    };
}
pub(crate) use shared;

/// Returns two periods if shares are lent, since the demand of one window then counts in the next; else one.
pub(crate) fn max_ttl<S: SharedLimit>(sharing: &S) -> u64 {
    let period = sharing.windows().rate().period_micros();
    if sharing.lends() { 2 * period } else { period }
}
