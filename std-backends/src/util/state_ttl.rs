//! The time to live of a state in a store.

use std::time::Duration;

use traffik_core::{Class, Cost, Hit, Strategy, Timestamp, Verdict};

/// Returns the time until a state is fresh, in microseconds.
///
/// That time exceeds the limit's `max_ttl` if more than the whole limit is in use, or if the clock was set
/// back and the state lies ahead of it. The verdict distinguishes the two: a clock alone must not make a
/// state last longer than its limit.
pub(crate) fn state_ttl<S: Strategy>(strategy: &S, state: &S::State, class: Class, now: Timestamp) -> u64 {
    // rest = expires_at - now. Beyond max_ttl: min(rest, the longest reset_after of the verdict on cost 0).
    let rest = strategy.expires_at(state, class).micros_since(now);
    if rest <= strategy.max_ttl() {
        return rest;
    }
    let nothing = Hit::new(S::Cost::uniform(0)).with_class(class);
    let mut longest = Duration::ZERO;
    strategy
        .peek(state, &nothing, now)
        .for_each(&mut |decision| longest = longest.max(decision.reset_after()));
    rest.min(u64::try_from(longest.as_micros()).unwrap_or(u64::MAX))
}
