//! Limits that are one fixed window, whatever wraps them, and their states as counts.

use traffik_core::strategy::{Cost, ScriptFormula};
use traffik_core::{Class, Hit, Strategy, Timestamp, Verdict};

use super::counter::{Period, WindowCount};
use super::wire::number;
use crate::cas::{self, Write};

/// A limit that is one window, for hits of one class at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    period: u64,
    anchor: u64,
    limit: u32,
    /// The cost that a hit of cost 1 has to fit as, and the cost that it charges.
    cost: u32,
    charge: u32,
}

impl Window {
    /// Returns the window that a limit is, or `None` if it is anything else.
    pub(super) fn of<S: Strategy>(strategy: &S, class: Class, now: Timestamp) -> Option<Self> {
        let one = Hit::new(S::Cost::uniform(1)).with_class(class);
        let (mut window, mut states, mut alike) = (None, 0, true);
        let complete = strategy.parts_of(&one, &mut |part| match part.formula {
            ScriptFormula::Unlimited => {}
            ScriptFormula::Window { period, anchor, .. } => {
                let (cost, charge) = (part.cost, part.charge);
                let this = Self { period, anchor, limit: 0, cost, charge };
                alike &= *window.get_or_insert(this) == this;
                // Limits of different hours share one state, so only the last of them counts one.
                states += u32::from(part.hours.is_none_or(|hours| hours.more == 0));
            }
            _ => alike = false,
        });
        let window: Self = window.filter(|_| complete && alike && states == 1)?;
        let (_, limit) = figures(strategy, &S::State::default(), class, now)?;
        Some(Self { limit, ..window })
    }

    /// Returns the count after one hit, or `None` if the server cannot count for this limit.
    pub(super) fn first(&self, now: Timestamp) -> Option<WindowCount> {
        let period = Period::of(self.period).filter(|_| (self.cost, self.charge) == (1, 1))?;
        WindowCount::first(self.limit, period, self.anchor, now)
    }

    /// Returns the count that a number holds.
    pub(super) fn count(&self, number: u64, now: Timestamp) -> Option<WindowCount> {
        WindowCount::unpacked(number, self.anchor, now)
    }

    /// Returns the microseconds until the window of a count ends.
    pub(super) fn rest(&self, count: &WindowCount, now: Timestamp) -> u64 {
        // The nearest time to the end of all times is the window's last microsecond, hence + 1.
        count.nearest(self.anchor, Timestamp::MAX).micros_since(now).saturating_add(1)
    }

    /// Returns the time at which a hit that the server has just counted was charged, or `None` if the window
    /// has ended. The time is in the future if the window has yet to begin by this host's clock.
    pub(super) fn counted_at(&self, count: &WindowCount, now: Timestamp) -> Option<Timestamp> {
        Some(count.nearest(self.anchor, now)).filter(|at| *at >= now)
    }

    /// Returns the state that a count stands for. A count does not record when in its window the last hit
    /// was. If the count has another period, its last hit counts in this limit's present window if it can
    /// have been there.
    pub(super) fn state<S: Strategy>(
        &self,
        strategy: &S,
        class: Class,
        count: &WindowCount,
        now: Timestamp,
    ) -> S::State {
        // since = (now − anchor) mod period: the time since this limit's present window began.
        let since = now.as_micros().saturating_sub(self.anchor) % self.period.max(1);
        let start = Timestamp::from_micros(now.as_micros() - since);
        self.state_since(strategy, class, count, count.nearest(self.anchor, start))
    }

    /// Returns the state whose last hit was at this time.
    fn state_since<S: Strategy>(
        &self,
        strategy: &S,
        class: Class,
        count: &WindowCount,
        at: Timestamp,
    ) -> S::State {
        let mut state = S::State::default();
        // used counts charged units: cost = ⌈used / charge⌉, rounded up so that nothing is granted.
        let cost = count.used().div_ceil(self.charge.max(1));
        if cost > 0 {
            let hit = Hit::new(S::Cost::uniform(cost)).with_class(class);
            strategy.charge(&mut state, &hit, at);
        }
        state
    }
}

/// Reads the state of a key. If the bytes are no state, calls `corrupt` and returns the state of a key never
/// seen.
pub(super) fn read<S: Strategy>(
    strategy: &S,
    class: Class,
    stored: Option<&[u8]>,
    now: Timestamp,
    corrupt: impl FnOnce(),
) -> S::State {
    let count = stored.and_then(number).and_then(|number| {
        let window = Window::of(strategy, class, now)?;
        Some(window.state(strategy, class, &window.count(number, now)?, now))
    });
    count.unwrap_or_else(|| cas::state_or::<S>(stored, corrupt))
}

/// Returns what to store for a state: a number that the server can count down if it holds the whole state,
/// else its bytes.
pub(super) fn write<S: Strategy>(strategy: &S, class: Class, state: &S::State, now: Timestamp) -> Write {
    let change = Write::of(strategy, state, class, now);
    let Write::Store(_, rest) = change else { return change };
    let counted = || {
        let window = Window::of(strategy, class, now)?;
        let (remaining, _) = figures(strategy, state, class, now)?;
        // left = remaining + 1, as in `WindowCount`.
        let count = WindowCount { left: i32::try_from(remaining).ok()? + 1, ..window.first(now)? };
        let same = window.state_since(strategy, class, &count, now) == *state
            || window.state(strategy, class, &count, now) == *state;
        same.then_some(count)
    };
    match counted() {
        Some(count) => Write::Store(count.packed().to_string().into_bytes(), rest),
        None => change,
    }
}

/// Returns what is left of the only limit that is not unlimited, and that limit.
fn figures<S: Strategy>(strategy: &S, state: &S::State, class: Class, now: Timestamp) -> Option<(u32, u32)> {
    let nothing = Hit::new(S::Cost::uniform(0)).with_class(class);
    let mut figures = None;
    strategy.peek(state, &nothing, now).for_each(&mut |decision| {
        if !decision.is_unlimited() {
            figures = Some((decision.remaining(), decision.limit()));
        }
    });
    figures
}
