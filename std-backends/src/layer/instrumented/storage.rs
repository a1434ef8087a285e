//! A storage whose calls are told to somebody: how they ended, and how long they took.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use traffik_core::storage::{AsyncStorage, BackendError, ErrorKind, MultiKeyReply, Reply};
use traffik_core::{Clock, ErasedKey, Hit, Op, Outcome, Strategy, Timestamp, Verdict, debug_fields, named};

use crate::MonotonicClock;
use crate::layer::calls::KeyNodes;
use crate::layer::delegate::delegate;
use crate::util::key::KeyRefs;

/// Observes every call of a storage: a function of a [`CallEvent`], or [`CallCounters`](crate::layer::CallCounters).
///
/// It is called while somebody waits for the answer, so it MUST be quick, and MUST NOT write a line for every
/// denial: a denial is what an attacker asks for. It is not told of which key, so what is kept of it does not
/// grow with keys.
pub trait CallObserver: Send + Sync {
    /// A call has ended.
    fn called(&self, call: &CallEvent<'_>);
}

impl<F: Fn(&CallEvent<'_>) + Send + Sync> CallObserver for F {
    fn called(&self, call: &CallEvent<'_>) {
        self(call);
    }
}

/// How a call went.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CallEvent<'a> {
    /// What was asked.
    pub operation: Operation,
    /// How it ended.
    pub ended: CallResult,
    /// How long it took until then, to the microsecond.
    pub took: Duration,
    /// The [node](AsyncStorage::node) that keeps the key, or all of the keys; `None` for a storage that is
    /// one node, and where keys are on several.
    pub node: Option<&'a Arc<str>>,
    /// What has failed, if something has.
    pub failure: Option<&'a BackendError>,
}

named! {
    /// The question to a storage.
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    #[non_exhaustive]
    pub enum Operation {
        /// To decide on a hit and book it.
        Check = "check",
        /// To decide on a hit.
        Peek = "peek",
        /// To book what has already happened.
        Charge = "charge",
        /// To take an admission back.
        Refund = "refund",
        /// To forget a key.
        Reset = "reset",
        /// For a copy of a state.
        Load = "load",
        /// To check one hit on several keys.
        CheckTogether = "check_together",
    }
}

impl Operation {
    const fn of<S: Strategy>(op: &Op<S>) -> Self {
        match op {
            Op::Check(_) => Self::Check,
            Op::Peek(_) => Self::Peek,
            Op::Charge(_) => Self::Charge,
            Op::Refund(..) => Self::Refund,
            Op::Reset => Self::Reset,
        }
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallResult {
    /// A hit was admitted, or would be.
    Allowed,
    /// A hit was denied, or would be.
    Denied,
    /// A hit was denied, and no wait would help.
    Never,
    /// What was asked was done.
    Done,
    /// The storage cannot do it, and did nothing.
    Unable,
    /// Nobody waited for the answer.
    Dropped,
    /// It failed.
    Failed(ErrorKind),
}

impl CallResult {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Allowed,
        Self::Denied,
        Self::Never,
        Self::Done,
        Self::Unable,
        Self::Dropped,
        Self::Failed(ErrorKind::Contended),
        Self::Failed(ErrorKind::Full),
        Self::Failed(ErrorKind::Unavailable),
        Self::Failed(ErrorKind::Timeout),
        Self::Failed(ErrorKind::Invalid),
        Self::Failed(ErrorKind::Closed),
        Self::Failed(ErrorKind::Corrupt),
        Self::Failed(ErrorKind::Denied),
        Self::Failed(ErrorKind::Other),
    ];

    /// It, in a word; a failure by its kind.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Never => "never",
            Self::Done => "done",
            Self::Unable => "unable",
            Self::Dropped => "dropped",
            Self::Failed(ErrorKind::Contended) => "failed_contended",
            Self::Failed(ErrorKind::Full) => "failed_full",
            Self::Failed(ErrorKind::Unavailable) => "failed_unavailable",
            Self::Failed(ErrorKind::Timeout) => "failed_timeout",
            Self::Failed(ErrorKind::Invalid) => "failed_invalid",
            Self::Failed(ErrorKind::Closed) => "failed_closed",
            Self::Failed(ErrorKind::Corrupt) => "failed_corrupt",
            Self::Failed(ErrorKind::Denied) => "failed_denied",
            Self::Failed(_) => "failed_other",
        }
    }

    /// Whether the storage has failed.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        matches!(self, Self::Failed(_))
    }

    fn of(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Allow { .. } => Self::Allowed,
            Outcome::Deny { .. } => Self::Denied,
            Outcome::Never => Self::Never,
        }
    }
}

/// A storage that reports each of its calls to [`CallCounters`](crate::layer::CallCounters), or to a function of your own.
///
/// * The function takes a `&`[`CallEvent`]. It runs while somebody waits for the answer, so it MUST be quick, and
///   MUST NOT write a line for every denial: a denial is what an attacker asks for.
/// * Each call is told once, when its answer is there or dropped. Its time runs from when it was made.
/// * An answer that is there at once is passed on as it is, and nothing allocated.
/// * Of a storage that is made of several nodes each call names its [`node`](CallEvent::node), which
///   [`CallCounters`](crate::layer::CallCounters) counts apart.
/// * Around other wrappers it tells what whoever asks gets; within them, what the store does.
///
/// ```
/// use traffik::layer::{CallCounters, CallResult, Instrumented, Operation};
/// use traffik::Memory;
/// use traffik::storage::Local;
/// use traffik::{AsyncLimiter, TokenBucket, rate};
///
/// let calls = CallCounters::default();
/// let storage = Instrumented::new(Local(Memory::new(1_000)), calls.clone());
/// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("100/min")), storage);
/// drop(limiter.check("alice"));
/// assert_eq!(calls.count(Operation::Check, CallResult::Allowed), 1);
/// ```
#[derive(Clone)]
pub struct Instrumented<T> {
    storage: T,
    inner: Arc<InstrumentedInner>,
}

struct InstrumentedInner {
    observer: Box<dyn CallObserver>,
    clock: Box<dyn Clock + Send + Sync>,
}

impl<T> Instrumented<T> {
    /// The storage, its calls reported to `observer`, timed by a [`MonotonicClock`].
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use traffik::Memory;
    /// use traffik::layer::{CallEvent, Instrumented};
    /// use traffik::storage::Local;
    /// use traffik::{AsyncLimiter, TokenBucket, rate};
    ///
    /// let failures = Arc::new(AtomicU64::new(0));
    /// let counted = Arc::clone(&failures);
    /// let storage = Instrumented::new(Local(Memory::new(1_000)), move |call: &CallEvent<'_>| {
    ///     counted.fetch_add(call.failure.is_some().into(), Ordering::Relaxed);
    /// });
    /// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("100/min")), storage);
    /// drop(limiter.check("alice"));
    /// assert_eq!(failures.load(Ordering::Relaxed), 0);
    /// ```
    pub fn new(storage: T, observer: impl CallObserver + 'static) -> Self {
        Self::with_clock(storage, observer, MonotonicClock::default())
    }

    /// The same, timed by this clock, which should not step.
    pub fn with_clock(
        storage: T,
        observer: impl CallObserver + 'static,
        clock: impl Clock + Send + Sync + 'static,
    ) -> Self {
        Self {
            storage,
            inner: Arc::new(InstrumentedInner { observer: Box::new(observer), clock: Box::new(clock) }),
        }
    }

    /// The storage.
    pub const fn storage(&self) -> &T {
        &self.storage
    }

    fn begin(&self, operation: Operation, node: Option<Arc<str>>) -> TimedCall {
        TimedCall { inner: Arc::clone(&self.inner), operation, node, began: self.inner.clock.now() }
    }

    fn timed<A: Send + 'static>(
        &self,
        operation: Operation,
        node: Option<Arc<str>>,
        call: impl FnOnce() -> Reply<A>,
        ended: impl FnOnce(&A) -> CallResult + Send + 'static,
    ) -> Reply<A> {
        let timed = self.begin(operation, node);
        let reply = call();
        if let Reply::Ready(Some(answer)) = &reply {
            timed.answered(answer, ended);
            return reply;
        }
        let mut pending = PendingCall(Some(timed));
        reply.inspect(move |answer| {
            if let Some(timed) = pending.0.take() {
                timed.answered(answer, ended);
            }
        })
    }
}

/// A call that has begun.
struct TimedCall {
    inner: Arc<InstrumentedInner>,
    operation: Operation,
    node: Option<Arc<str>>,
    began: Timestamp,
}

impl TimedCall {
    fn answered<A>(self, answer: &Result<A, BackendError>, ended: impl FnOnce(&A) -> CallResult) {
        match answer {
            Ok(answer) => self.report(ended(answer), None),
            Err(failure) => self.report(CallResult::Failed(failure.kind()), Some(failure)),
        }
    }

    fn report(&self, ended: CallResult, failure: Option<&BackendError>) {
        let took = self.inner.clock.now().since(self.began);
        let Self { operation, node, .. } = self;
        self.inner.observer.called(&CallEvent {
            operation: *operation,
            ended,
            took,
            node: node.as_ref(),
            failure,
        });
    }
}

/// A call that is told as dropped unless it was answered.
struct PendingCall(Option<TimedCall>);

impl Drop for PendingCall {
    fn drop(&mut self) {
        if let Some(timed) = self.0.take() {
            timed.report(CallResult::Dropped, None);
        }
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Strategy, T: AsyncStorage<S>> AsyncStorage<S> for Instrumented<T> {
    fn apply(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        let decides = matches!(op, Op::Check(_) | Op::Peek(_));
        self.timed(
            Operation::of(op),
            self.storage.node(key),
            || self.storage.apply(strategy, key, op),
            move |verdict| if decides { CallResult::of(verdict.outcome()) } else { CallResult::Done },
        )
    }

    fn load(&self, strategy: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        self.timed(
            Operation::Load,
            self.storage.node(key),
            || self.storage.load(strategy, key),
            |_| CallResult::Done,
        )
    }

    fn known_denial(&self, strategy: &S, key: &dyn ErasedKey, hit: &Hit<S::Cost>) -> Option<S::Verdict> {
        let mut timed = self.begin(Operation::Check, None);
        let denied = self.storage.known_denial(strategy, key, hit)?;
        timed.node = self.storage.node(key);
        timed.report(CallResult::of(denied.outcome()), None);
        Some(denied)
    }

    fn check_together(
        &self,
        strategy: &S,
        keys: KeyRefs<'_>,
        hit: &Hit<S::Cost>,
    ) -> Reply<MultiKeyReply<S::Verdict>> {
        let node = match KeyNodes::of(&self.storage, keys) {
            KeyNodes::One(node) => node,
            KeyNodes::Several(_) => None,
        };
        self.timed(
            Operation::CheckTogether,
            node,
            || self.storage.check_together(strategy, keys, hit),
            |reply| match reply {
                MultiKeyReply::Unsupported => CallResult::Unable,
                MultiKeyReply::Atomic(verdicts) | MultiKeyReply::Sequential(verdicts) => {
                    let admitted = Outcome::Allow { after: Duration::ZERO };
                    CallResult::of(verdicts.iter().map(Verdict::outcome).fold(admitted, Outcome::and))
                }
            },
        )
    }

    delegate!(self => self.storage; apply_due, node, is_local, wait_queue);
}

debug_fields!([T: Debug] Instrumented<T>: storage);
