//! The state of a pool: its connections, its attempts to connect, and the calls that wait.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use futures_util::future::{AbortHandle, AbortRegistration};
use traffik_core::storage::BackendError;

use super::super::wire::Wire;
use super::mailbox::{Delivery, Mailbox};
use crate::util::pause::Pause;

/// The limits of a pool.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct PoolSettings {
    /// The most connections at a time.
    pub(in super::super) size: usize,
    /// Connections that stay open while idle.
    pub(in super::super) minimum: usize,
    /// Idle time after which other connections are closed.
    pub(in super::super) idle: Duration,
    /// The budget of an attempt to connect.
    pub(in super::super) connect_timeout: Duration,
    /// The budget of a call.
    pub(in super::super) timeout: Duration,
}

/// The state of a pool, under one lock.
pub(super) struct PoolState<T> {
    /// Idle connections. The last one was used last, and is used next. While there is one, no call waits.
    pub(super) idle: Vec<IdleConnection<T>>,
    /// Open connections: idle, in use, or delivered to a call that waits.
    pub(super) open: usize,
    /// The calls that wait, in their order.
    pub(super) waiting: VecDeque<Arc<Mailbox<T>>>,
    /// The attempts under way, the oldest first.
    pub(super) attempts: Vec<Attempt>,
    /// The number of attempts so far, which numbers the next one.
    pub(super) attempted: u64,
    pub(super) broken_streak: BrokenStreak,
    /// The pause of calls after attempts without an answer.
    pub(super) pause: Pause,
    /// The pause of further attempts: the server accepts no more connections than are open.
    pub(super) growth_pause: Pause,
    pub(super) is_closed: bool,
}

/// The connections in a row that broke before their first answer.
#[derive(Default)]
pub(super) struct BrokenStreak {
    /// The number of attempts when the last one broke.
    attempted: u64,
    times: u32,
}

/// An idle connection.
pub(super) struct IdleConnection<T> {
    pub(super) wire: Box<Wire<T>>,
    pub(super) since: Instant,
}

/// Early breaks in a row after which calls pause. A network that cuts connections now and then also cuts some
/// before their first answer.
const MAX_EARLY_BREAKS: u32 = 4;

/// Time without a result after which another attempt may start beside one.
const NEXT_ATTEMPT_AFTER: Duration = Duration::from_millis(500);

/// An attempt under way. Dropping it aborts it.
pub(super) struct Attempt {
    number: u64,
    /// When it began. Ages come from this, and not from a timer alone: the attempt's runtime may be stopped.
    began: Instant,
    abort: AbortHandle,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

/// The next step of a call that waits.
pub(super) enum ConnectStep {
    /// Start this attempt.
    Begin(u64, AbortRegistration),
    /// Wait for a delivery, and look again after this time, if any.
    Wait(Option<Duration>),
    /// Fail with the cause of the last attempt.
    Fail(BackendError),
}

impl<T> Default for PoolState<T> {
    fn default() -> Self {
        Self {
            idle: Vec::new(),
            open: 0,
            waiting: VecDeque::new(),
            attempts: Vec::new(),
            attempted: 0,
            broken_streak: BrokenStreak::default(),
            pause: Pause::default(),
            growth_pause: Pause::default(),
            is_closed: false,
        }
    }
}

impl<T> PoolState<T> {
    /// Delivers a connection to the first call that waits, or else keeps it idle. Returns the waker to call.
    pub(super) fn deliver(&mut self, wire: Box<Wire<T>>, now: Instant) -> Option<Waker> {
        if let Some(mailbox) = self.waiting.pop_front() {
            return mailbox.put(Delivery::Wire(wire));
        }
        self.idle.push(IdleConnection { wire, since: now });
        None
    }

    /// Takes connections that were idle for too long, and leaves the minimum.
    pub(super) fn take_expired(&mut self, now: Instant, settings: &PoolSettings) -> Vec<IdleConnection<T>> {
        // `idle` is sorted by `since`, so the old ones come first.
        let is_old = |it: &&IdleConnection<T>| now.saturating_duration_since(it.since) > settings.idle;
        let old = self.idle.iter().take_while(is_old).count();
        if old == 0 {
            return Vec::new();
        }
        // At least `minimum` of `open` stay, of which some are in use: old ≤ open − minimum.
        let old = old.min(self.open.saturating_sub(settings.minimum));
        self.open -= old;
        self.idle.drain(..old).collect()
    }

    /// Makes the first call that waits look for due attempts. Returns the waker to call.
    pub(super) fn wake_next(&self) -> Option<Waker> {
        self.waiting.front().and_then(|mailbox| mailbox.put(Delivery::Recheck))
    }

    /// Records that the connection of an attempt broke before its first answer. Returns whether four did so
    /// in a row, each begun after the one before had broken.
    pub(super) fn breaks_again(&mut self, number: u64) -> bool {
        let BrokenStreak { attempted, times } = &mut self.broken_streak;
        // Attempts begun before the last break met the same fault, so they count once.
        if number > *attempted {
            (*attempted, *times) = (self.attempted, times.saturating_add(1));
        }
        *times >= MAX_EARLY_BREAKS
    }

    /// Counts a closed connection. Returns the waker to call.
    pub(super) fn ended(&mut self) -> Option<Waker> {
        self.open = self.open.saturating_sub(1);
        if self.open == 0 {
            // With no connection open, the server's limit on connections is not the problem.
            self.growth_pause.end();
        }
        self.wake_next()
    }
}

impl<T> PoolState<T> {
    /// Returns the next step of a call that waits.
    pub(super) fn step(&mut self, now: Instant, settings: &PoolSettings) -> ConnectStep {
        // Attempts over budget may belong to a stopped runtime; dropping them aborts them.
        self.attempts.retain(|it| now.saturating_duration_since(it.began) < settings.connect_timeout);
        let age = |it: &Attempt| now.saturating_duration_since(it.began);
        if self.open > 0 {
            // Older attempts count as stuck, so one attempt for each waiting call is young.
            let young = self.attempts.iter().filter(|it| age(it) < NEXT_ATTEMPT_AFTER).count();
            let is_full = self.open + self.attempts.len() >= settings.size;
            let is_growth_paused = self.growth_pause.cause(now).is_some();
            if is_full || is_growth_paused || young >= self.waiting.len() {
                return ConnectStep::Wait(None);
            }
            return self.begin(now);
        }
        if let Some(failure) = self.pause.cause(now) {
            return ConnectStep::Fail(failure);
        }
        // No connection is open: the oldest attempt keeps its whole budget, and a younger one beside it is
        // replaced every NEXT_ATTEMPT_AFTER.
        match self.attempts.last().map(age) {
            Some(age) if age < NEXT_ATTEMPT_AFTER => {
                return ConnectStep::Wait(Some(NEXT_ATTEMPT_AFTER - age));
            }
            _ => self.attempts.truncate(1),
        }
        self.begin(now)
    }

    /// Records a new attempt, and returns the step that starts it.
    pub(super) fn begin(&mut self, now: Instant) -> ConnectStep {
        let (abort, registration) = AbortHandle::new_pair();
        self.attempted += 1;
        self.attempts.push(Attempt { number: self.attempted, began: now, abort });
        ConnectStep::Begin(self.attempted, registration)
    }

    /// Removes an attempt. Returns `false` if it was given up before.
    pub(super) fn end(&mut self, number: u64) -> bool {
        let before = self.attempts.len();
        self.attempts.retain(|it| it.number != number);
        self.attempts.len() < before
    }
}

#[cfg(test)]
mod tests {
    use traffik_core::storage::ErrorKind;

    use super::super::super::failure::failure;
    use super::*;

    const SETTINGS: PoolSettings = PoolSettings {
        size: 4,
        minimum: 1,
        idle: Duration::from_secs(60),
        connect_timeout: Duration::from_secs(5),
        timeout: Duration::from_millis(500),
    };

    /// Returns the numbers of the attempts under way at these times, in milliseconds, if none ends.
    fn under_way(state: &mut PoolState<()>, start: Instant, times: &[u64]) -> Vec<Vec<u64>> {
        let numbers = times.iter().map(|time| {
            let _ = state.step(start + Duration::from_millis(*time), &SETTINGS);
            state.attempts.iter().map(|it| it.number).collect()
        });
        numbers.collect()
    }

    /// The oldest attempt keeps its whole budget, and the one beside it is replaced.
    #[test]
    fn an_attempt_without_an_end_is_followed_by_others_two_at_a_time() {
        let (mut state, start) = (PoolState::default(), Instant::now());
        let times = [0, 1, 499, 500, 999, 1_000, 4_999, 5_000, 5_499, 5_500];
        assert_eq!(
            under_way(&mut state, start, &times),
            [&[1][..], &[1], &[1], &[1, 2], &[1, 2], &[1, 3], &[1, 4], &[4], &[4, 5], &[4, 5]]
        );
        assert!(matches!(state.step(start, &SETTINGS), ConnectStep::Wait(Some(_))));
    }

    #[test]
    fn a_call_fails_at_once_in_a_pause() {
        let (mut state, start) = (PoolState::<()>::default(), Instant::now());
        state.pause.begin(failure(ErrorKind::Unavailable, "here", "refused"), start);
        assert!(matches!(state.step(start, &SETTINGS), ConnectStep::Fail(_)));
        let later = start + Duration::from_millis(50);
        assert!(matches!(state.step(later, &SETTINGS), ConnectStep::Begin(1, _)));
    }

    /// With a connection open, as many attempts begin as calls wait and there is room for.
    #[test]
    fn a_pool_grows_by_who_waits_and_settles_for_what_it_gets() {
        let (mut state, start) = (PoolState::<()>::default(), Instant::now());
        state.open = 1;
        assert_eq!(under_way(&mut state, start, &[0]), [[0; 0]]);
        state.waiting.extend((0..2).map(|_| Arc::default()));
        assert_eq!(under_way(&mut state, start, &[0, 1, 2]), [&[1][..], &[1, 2], &[1, 2]]);
        state.waiting.extend((0..9).map(|_| Arc::default()));
        assert_eq!(under_way(&mut state, start, &[2, 3]), [[1, 2, 3]; 2]);
        state.attempts.clear();
        state.growth_pause.begin(failure(ErrorKind::Unavailable, "here", "full"), start);
        assert_eq!(under_way(&mut state, start, &[0, 12]), [[0; 0]; 2]);
        assert_eq!(under_way(&mut state, start, &[26]), [[4]]);
    }
}
