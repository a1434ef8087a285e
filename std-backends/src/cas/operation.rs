//! One operation under way: its request, its progress and its waiter.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;
use std::task::{Poll, Waker};
use std::time::Duration;

use traffik_core::storage::BackendError;
use traffik_core::{Op, Strategy, Timestamp, Verdict};

use super::{CompareAndSwap, Write};
use crate::util::mutex::lock;
use crate::util::state_ttl::state_ttl;

/// An operation of any strategy, as its driver sees it.
pub(super) trait CasOperation<W>: Send + Sync {
    /// Runs the operation on the stored bytes. From then on it counts as sent, since the swap follows.
    ///
    /// The pair `at` is the present, and the remaining time to live of the bytes if it is known.
    fn run(&self, store: &W, stored: Option<&[u8]>, at: (Timestamp, Option<Duration>)) -> RunResult;

    /// Returns the operation to the waiting stage after a lost swap: nothing was charged.
    fn retry(&self);

    /// Completes the operation with its recorded verdict.
    fn settle(&self);

    /// Fails the operation: nothing was charged, or the outcome is unknown, as `failure` says.
    fn fail(&self, failure: BackendError);
}

/// The result of running an operation.
pub(super) enum RunResult {
    /// Leaves the stored bytes as they are.
    Unchanged,
    /// Changes the stored bytes.
    Changed(Write),
    /// Skipped: its answer was dropped, or its strategy panicked.
    Skipped,
}

/// An operation of one strategy, with its progress.
pub(super) struct StrategyOperation<S: Strategy> {
    strategy: S,
    op: Op<S>,
    progress: Mutex<Progress<S::Verdict>>,
}

/// The stage of an operation, and the waker of the task that awaits the answer.
///
/// | from | to | by |
/// |---|---|---|
/// | `Waiting` | `Sent` or `Panicked` | `run` |
/// | `Sent` | `Waiting` | `retry` |
/// | `Sent` | `Done` | `settle` |
/// | `Waiting`, `Sent` | `Done` | `fail` |
/// | any | `Abandoned` | `abandon`, and the poll that returns the answer |
struct Progress<V> {
    stage: Stage<V>,
    waker: Option<Waker>,
}

enum Stage<V> {
    Waiting,
    /// The verdict that becomes the answer once its bytes are stored.
    Sent(V),
    Done(Result<V, BackendError>),
    Panicked(Box<dyn Any + Send>),
    /// The answer was returned, or dropped.
    Abandoned,
}

/// The progress of an operation at the moment it was given up.
///
/// ```
/// use traffik::cas::Abandoned;
///
/// let may_be_charged = |abandoned: Abandoned<()>| match abandoned {
///     Abandoned::Unsent => false,
///     Abandoned::Sent => true,
///     Abandoned::Answered(answer) => answer.is_ok(),
/// };
/// assert!(may_be_charged(Abandoned::Sent) && !may_be_charged(Abandoned::Unsent));
/// ```
#[derive(Clone, Debug)]
pub enum Abandoned<V> {
    /// The swap was not sent and will not be: nothing was charged.
    Unsent,
    /// The swap was sent: the operation may be charged.
    Sent,
    /// The answer was already there.
    Answered(Result<V, BackendError>),
}

impl<S: Strategy> StrategyOperation<S> {
    pub(super) fn new(strategy: S, op: Op<S>) -> Self {
        Self { strategy, op, progress: Mutex::new(Progress { stage: Stage::Waiting, waker: None }) }
    }

    /// Returns the answer once it is there. Panics if the strategy panicked.
    pub(super) fn poll(&self, waker: &Waker) -> Poll<Result<S::Verdict, BackendError>> {
        let mut progress = lock(&self.progress);
        // The waker is set under the same lock that `end` changes the stage under, so no wake-up is lost.
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

    /// Ends the wait for the answer, and returns the progress.
    pub(super) fn abandon(&self) -> Abandoned<S::Verdict> {
        let stage = std::mem::replace(&mut lock(&self.progress).stage, Stage::Abandoned);
        match stage {
            Stage::Sent(_) => Abandoned::Sent,
            Stage::Done(answer) => Abandoned::Answered(answer),
            Stage::Waiting | Stage::Panicked(_) | Stage::Abandoned => Abandoned::Unsent,
        }
    }

    /// Changes the stage unless it is `Abandoned`, and returns whether it did.
    fn proceed(&self, change: impl FnOnce(Stage<S::Verdict>) -> Stage<S::Verdict>) -> bool {
        let mut progress = lock(&self.progress);
        if let Stage::Abandoned = progress.stage {
            return false;
        }
        progress.stage = change(std::mem::replace(&mut progress.stage, Stage::Abandoned));
        true
    }

    /// Changes the stage for the last time, and wakes the task that awaits the answer.
    fn end(&self, change: impl FnOnce(Stage<S::Verdict>) -> Stage<S::Verdict>) {
        if self.proceed(change) {
            let waker = lock(&self.progress).waker.take();
            // Outside the lock: waking may poll or drop that task at once.
            waker.into_iter().for_each(Waker::wake);
        }
    }
}

/// The tolerance for stores that count a time to live in whole seconds.
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
        // A user's strategy may panic. The driver runs it in the task of another operation, so the panic
        // must not pass.
        let ran = catch_unwind(AssertUnwindSafe(|| {
            let mut state = store.read(&self.strategy, class, stored, now);
            let (verdict, written) = self.op.apply(&self.strategy, &mut state, now);
            // A denial that lasts longer than the stored bytes has them stored again: outlasts = state_ttl >
            // kept + SLACK.
            let outlasts = |kept: Duration| {
                let denied = matches!(self.op, Op::Check(_)) && !verdict.is_allowed();
                denied
                    && state_ttl(&self.strategy, &state, class, now) > to_micros(kept.saturating_add(SLACK))
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
