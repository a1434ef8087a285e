//! The connections of a pool, those that are being made, and the calls that wait for one.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use futures_util::future::{AbortHandle, AbortRegistration};
use traffik_core::storage::BackendError;

use super::super::wire::Wire;
use super::turn::{Come, Turn};
use crate::util::pause::Pause;

/// How many connections there may be, for how long they lie idle, and how long making one may take.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Settings {
    /// The most at a time.
    pub(in super::super) size: usize,
    /// How many are kept also if nobody uses them.
    pub(in super::super) minimum: usize,
    /// For how long others are.
    pub(in super::super) idle: Duration,
    /// The budget of an attempt to connect.
    pub(in super::super) connect_timeout: Duration,
    /// The time of a call.
    pub(in super::super) timeout: Duration,
}

pub(super) struct State<T> {
    /// The one that was used last comes last, and is used next. While there is one, nobody waits.
    pub(super) idle: Vec<Idle<T>>,
    /// How many are open: idle, in use, or on their way to a call that waits.
    pub(super) open: usize,
    /// The calls that wait for one, the first one first.
    pub(super) waiting: VecDeque<Arc<Turn<T>>>,
    /// The attempts on their way, the oldest first.
    pub(super) attempts: Vec<Attempt>,
    /// How many attempts there were.
    pub(super) attempted: u64,
    pub(super) useless: Useless,
    /// The pause of calls after attempts without an answer.
    pub(super) pause: Pause,
    /// The pause of attempts alone: the server gives no more connections than there are.
    pub(super) settled: Pause,
    pub(super) is_closed: bool,
}

/// Connections that broke before their first answer, since one has answered.
#[derive(Default)]
pub(super) struct Useless {
    /// How many attempts there were when the last one broke.
    attempted: u64,
    times: u32,
}

pub(super) struct Idle<T> {
    pub(super) wire: Box<Wire<T>>,
    pub(super) since: Instant,
}

/// After how many useless connections one after another calls pause: a network that cuts connections now and
/// then cuts some before their first answer, too.
const USELESS: u32 = 4;

/// After how long without a result another attempt may begin beside one.
const SOON: Duration = Duration::from_millis(500);

/// An attempt that is on its way.
pub(super) struct Attempt {
    number: u64,
    /// Ages are told by this, and not by a timer alone: the runtime of an attempt may be driven no more.
    began: Instant,
    abort: AbortHandle,
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.abort.abort();
    }
}

/// The next step of a call that waits.
pub(super) enum Step {
    /// Begins an attempt.
    Begin(u64, AbortRegistration),
    /// Waits for what comes; if there is a time, looks again after it.
    Wait(Option<Duration>),
    /// Fails with the cause of the last attempt.
    Fail(BackendError),
}

impl<T> Default for State<T> {
    fn default() -> Self {
        Self {
            idle: Vec::new(),
            open: 0,
            waiting: VecDeque::new(),
            attempts: Vec::new(),
            attempted: 0,
            useless: Useless::default(),
            pause: Pause::default(),
            settled: Pause::default(),
            is_closed: false,
        }
    }
}

impl<T> State<T> {
    /// Hands a connection to whoever waits first, or lays it by; returns whom to wake.
    pub(super) fn place(&mut self, wire: Box<Wire<T>>, now: Instant) -> Option<Waker> {
        if let Some(turn) = self.waiting.pop_front() {
            return turn.put(Come::Wire(wire));
        }
        self.idle.push(Idle { wire, since: now });
        None
    }

    /// Takes those that nobody needed for long, but for the minimum.
    pub(super) fn spare(&mut self, now: Instant, settings: &Settings) -> Vec<Idle<T>> {
        let is_old = |it: &&Idle<T>| now.saturating_duration_since(it.since) > settings.idle;
        let old = self.idle.iter().take_while(is_old).count();
        if old == 0 {
            return Vec::new();
        }
        let old = old.min(self.open.saturating_sub(settings.minimum));
        self.open -= old;
        self.idle.drain(..old).collect()
    }

    /// Returns whom to wake so that somebody sees to it that there is a connection.
    pub(super) fn nudge(&self) -> Option<Waker> {
        self.waiting.front().and_then(|turn| turn.put(Come::Look))
    }

    /// Notes that what an attempt of this number made broke before its first answer. Returns whether that is
    /// the server's way: several did, each of them begun after the one before had broken.
    pub(super) fn breaks_again(&mut self, number: u64) -> bool {
        let Useless { attempted, times } = &mut self.useless;
        if number > *attempted {
            (*attempted, *times) = (self.attempted, times.saturating_add(1));
        }
        *times >= USELESS
    }

    /// Ends a connection; returns whom to wake.
    pub(super) fn ended(&mut self) -> Option<Waker> {
        self.open = self.open.saturating_sub(1);
        if self.open == 0 {
            self.settled.end();
        }
        self.nudge()
    }
}

impl<T> State<T> {
    /// Decides what a call that waits does next.
    pub(super) fn step(&mut self, now: Instant, settings: &Settings) -> Step {
        self.attempts.retain(|it| now.saturating_duration_since(it.began) < settings.connect_timeout);
        let age = |it: &Attempt| now.saturating_duration_since(it.began);
        if self.open > 0 {
            let young = self.attempts.iter().filter(|it| age(it) < SOON).count();
            let is_full = self.open + self.attempts.len() >= settings.size;
            let has_settled = self.settled.cause(now).is_some();
            if is_full || has_settled || young >= self.waiting.len() {
                return Step::Wait(None);
            }
            return self.begin(now);
        }
        if let Some(failure) = self.pause.cause(now) {
            return Step::Fail(failure);
        }
        match self.attempts.last().map(age) {
            Some(age) if age < SOON => return Step::Wait(Some(SOON - age)),
            _ => self.attempts.truncate(1),
        }
        self.begin(now)
    }

    /// Notes an attempt that begins.
    pub(super) fn begin(&mut self, now: Instant) -> Step {
        let (abort, registration) = AbortHandle::new_pair();
        self.attempted += 1;
        self.attempts.push(Attempt { number: self.attempted, began: now, abort });
        Step::Begin(self.attempted, registration)
    }

    /// Ends an attempt; false if it was given up before.
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

    const SETTINGS: Settings = Settings {
        size: 4,
        minimum: 1,
        idle: Duration::from_secs(60),
        connect_timeout: Duration::from_secs(5),
        timeout: Duration::from_millis(500),
    };

    /// The numbers of the attempts under way at these times, in milliseconds, if none ends.
    fn under_way(state: &mut State<()>, start: Instant, times: &[u64]) -> Vec<Vec<u64>> {
        let numbers = times.iter().map(|time| {
            let _ = state.step(start + Duration::from_millis(*time), &SETTINGS);
            state.attempts.iter().map(|it| it.number).collect()
        });
        numbers.collect()
    }

    /// The oldest attempt keeps its whole budget, and the one beside it is replaced.
    #[test]
    fn an_attempt_without_an_end_is_followed_by_others_two_at_a_time() {
        let (mut state, start) = (State::default(), Instant::now());
        let times = [0, 1, 499, 500, 999, 1_000, 4_999, 5_000, 5_499, 5_500];
        assert_eq!(
            under_way(&mut state, start, &times),
            [&[1][..], &[1], &[1], &[1, 2], &[1, 2], &[1, 3], &[1, 4], &[4], &[4, 5], &[4, 5]]
        );
        assert!(matches!(state.step(start, &SETTINGS), Step::Wait(Some(_))));
    }

    #[test]
    fn a_pause_is_told_at_once() {
        let (mut state, start) = (State::<()>::default(), Instant::now());
        state.pause.begin(failure(ErrorKind::Unavailable, "here", "refused"), start);
        assert!(matches!(state.step(start, &SETTINGS), Step::Fail(_)));
        let later = start + Duration::from_millis(50);
        assert!(matches!(state.step(later, &SETTINGS), Step::Begin(1, _)));
    }

    /// With a connection open, as many attempts begin as calls wait and there is room for.
    #[test]
    fn a_pool_grows_by_who_waits_and_settles_for_what_it_gets() {
        let (mut state, start) = (State::<()>::default(), Instant::now());
        state.open = 1;
        assert_eq!(under_way(&mut state, start, &[0]), [[0; 0]]);
        state.waiting.extend((0..2).map(|_| Arc::default()));
        assert_eq!(under_way(&mut state, start, &[0, 1, 2]), [&[1][..], &[1, 2], &[1, 2]]);
        state.waiting.extend((0..9).map(|_| Arc::default()));
        assert_eq!(under_way(&mut state, start, &[2, 3]), [[1, 2, 3]; 2]);
        state.attempts.clear();
        state.settled.begin(failure(ErrorKind::Unavailable, "here", "full"), start);
        assert_eq!(under_way(&mut state, start, &[0, 12]), [[0; 0]; 2]);
        assert_eq!(under_way(&mut state, start, &[26]), [[4]]);
    }
}
