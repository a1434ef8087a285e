//! One operation that is under way: what is asked, how far it has got, and who waits for it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::task::{Poll, Waker};
use std::time::Duration;

use traffik_core::storage::BackendError;
use traffik_core::{Op, Strategy, Timestamp, Verdict};

use super::{CompareAndSwap, Write};
use crate::util::kept::kept_for;
use crate::util::mutex::lock;

/// An operation of whatever strategy, as whoever carries it sees it.
pub(super) trait CasOperation<W>: Send + Sync {
    /// Runs on what is stored. From now on it counts as sent.
    ///
    /// What is stored will be kept for some time yet, if that is known.
    fn run(&self, store: &W, stored: Option<&[u8]>, at: (Timestamp, Option<Duration>)) -> RunResult;

    /// What it came to was not stored, so nothing was charged.
    fn retry(&self);

    /// What it came to holds.
    fn settle(&self);

    /// It came to nothing.
    fn fail(&self, failure: BackendError);
}

/// What running an operation came to.
pub(super) enum RunResult {
    /// There is nothing to store for it.
    Unchanged,
    /// This is to be stored.
    Changed(Write),
    /// Nobody waits for it any more, or it panicked: it was not run.
    Skipped,
}

pub(super) struct StrategyOperation<S: Strategy> {
    strategy: S,
    op: Op<S>,
    progress: Mutex<Progress<S::Verdict>>,
}

struct Progress<V> {
    stage: Stage<V>,
    waker: Option<Waker>,
}

enum Stage<V> {
    Waiting,
    /// This is the answer if what goes with it is stored.
    Sent(V),
    Done(Result<V, BackendError>),
    Panicked(Box<dyn Any + Send>),
    /// Nobody waits any more.
    Abandoned,
}

/// How far an operation had got when it was given up.
#[derive(Clone, Debug)]
pub enum Abandoned<V> {
    /// It had not been sent, and is not going to be: nothing was charged.
    Unsent,
    /// It had been sent: it may have been charged.
    Sent,
    /// It was answered at that very moment.
    Answered(Result<V, BackendError>),
}

impl<S: Strategy> StrategyOperation<S> {
    pub(super) fn new(strategy: S, op: Op<S>) -> Self {
        Self { strategy, op, progress: Mutex::new(Progress { stage: Stage::Waiting, waker: None }) }
    }

    /// The answer if it is there; if it panicked, so does this.
    pub(super) fn poll(&self, waker: &Waker) -> Poll<Result<S::Verdict, BackendError>> {
        let mut progress = lock(&self.progress);
        if let Stage::Waiting | Stage::Sent(_) = progress.stage {
            if !progress.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
                progress.waker = Some(waker.clone());
            }
            return Poll::Pending;
        }
        let stage = std::mem::replace(&mut progress.stage, Stage::Abandoned);
        drop(progress);
        match stage {
            Stage::Done(answer) => Poll::Ready(answer),
            Stage::Panicked(panic) => resume_unwind(panic),
            // As with every future, polling again after the end is the caller's mistake.
            _ => Poll::Pending,
        }
    }

    /// Nobody waits any more.
    pub(super) fn abandon(&self) -> Abandoned<S::Verdict> {
        let stage = std::mem::replace(&mut lock(&self.progress).stage, Stage::Abandoned);
        match stage {
            Stage::Sent(_) => Abandoned::Sent,
            Stage::Done(answer) => Abandoned::Answered(answer),
            Stage::Waiting | Stage::Panicked(_) | Stage::Abandoned => Abandoned::Unsent,
        }
    }

    /// Changes the stage unless nobody waits any more, and tells whether it did.
    fn proceed(&self, change: impl FnOnce(Stage<S::Verdict>) -> Stage<S::Verdict>) -> bool {
        let mut progress = lock(&self.progress);
        if let Stage::Abandoned = progress.stage {
            return false;
        }
        progress.stage = change(std::mem::replace(&mut progress.stage, Stage::Abandoned));
        true
    }

    /// Changes the stage for the last time.
    fn end(&self, change: impl FnOnce(Stage<S::Verdict>) -> Stage<S::Verdict>) {
        if self.proceed(change) {
            let waker = lock(&self.progress).waker.take();
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

/// Stores count the time for which they keep something in whole seconds.
const SLACK: Duration = Duration::from_secs(2);

fn to_micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

impl<S: Strategy, W: CompareAndSwap> CasOperation<W> for StrategyOperation<S> {
    fn run(&self, store: &W, stored: Option<&[u8]>, (now, kept): (Timestamp, Option<Duration>)) -> RunResult {
        if let Stage::Abandoned = lock(&self.progress).stage {
            return RunResult::Skipped;
        }
        let class = self.op.class();
        // A strategy of a user's may panic. Whoever carries its operation has others in hand, and is somebody else.
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let mut state = store.read(&self.strategy, class, stored, now);
            let (verdict, written) = self.op.apply(&self.strategy, &mut state, now);
            let outlasts = |kept: Duration| {
                let denied = matches!(self.op, Op::Check(_)) && !verdict.is_allowed();
                denied && kept_for(&self.strategy, &state, class, now) > to_micros(kept.saturating_add(SLACK))
            };
            let changed = written || kept.is_some_and(outlasts);
            let change = changed.then(|| store.write(&self.strategy, class, &state, now));
            (verdict, change)
        }));
        match ran {
            Ok((verdict, change)) => {
                let is_awaited = self.proceed(|_| Stage::Sent(verdict));
                let ran = change.map_or(RunResult::Unchanged, RunResult::Changed);
                if is_awaited { ran } else { RunResult::Skipped }
            }
            Err(panic) => {
                self.end(|_| Stage::Panicked(panic));
                RunResult::Skipped
            }
        }
    }

    fn retry(&self) {
        self.proceed(|stage| match stage {
            Stage::Sent(_) => Stage::Waiting,
            other => other,
        });
    }

    fn settle(&self) {
        self.end(|stage| match stage {
            Stage::Sent(verdict) => Stage::Done(Ok(verdict)),
            other => other,
        });
    }

    fn fail(&self, failure: BackendError) {
        self.end(|stage| match stage {
            Stage::Waiting | Stage::Sent(_) => Stage::Done(Err(failure)),
            other => other,
        });
    }
}
