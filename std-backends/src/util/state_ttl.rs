//! How long a state is kept in a store that forgets by a time to live.

use std::time::Duration;

use traffik_core::{Class, Cost, Hit, Strategy, Timestamp, Verdict};

/// The time until a state is fresh, in microseconds.
///
/// It is longer than the limit lasts if more than all of it is in use, or if the state lies ahead of the
/// clock, because that was set back. The figures tell these apart: no state may hurt for longer than its
/// limit lasts only because of the clock.
pub(crate) fn kept_for<S: Strategy>(strategy: &S, state: &S::State, class: Class, now: Timestamp) -> u64 {
    let rest = strategy.expires_at(state, class).micros_since(now);
    if rest <= strategy.max_ttl() {
        return rest;
    }
    let nothing = Hit::new(S::Cost::uniform(0)).with_class(class);
    let mut told = Duration::ZERO;
    strategy.peek(state, &nothing, now).for_each(&mut |decision| told = told.max(decision.reset_after()));
    rest.min(u64::try_from(told.as_micros()).unwrap_or(u64::MAX))
}
