//! The storage that reports its calls to an observer.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use traffik_core::storage::{AsyncStorage, BackendError, MultiKeyReply, Reply};
use traffik_core::{Clock, ErasedKey, Hit, Op, Outcome, Strategy, Timestamp, Verdict, debug_fields};

use crate::MonotonicClock;
use crate::layer::calls::KeyNodes;
use crate::layer::delegate::delegate;
use crate::layer::instrumented::event::{CallEvent, CallObserver, CallResult, Operation};
use crate::util::key::KeyRefs;

/// A storage that reports each of its calls to [`CallCounters`](crate::layer::CallCounters), or to a
/// function of your own.
///
/// Choose it for metrics and logs of a store. Around the other layers it reports what the caller gets;
/// within them, what the store does.
///
/// * The function takes a `&`[`CallEvent`]. It runs while a request waits for the answer, so it MUST be
///   quick, and MUST NOT log a line for every denial, since an attacker chooses their number.
/// * It reports each call once, when its answer is there or dropped. The duration counts from when the call
///   was made.
/// * A ready answer passes unchanged, without an allocation.
/// * With a storage of several nodes, each call names its [`node`](CallEvent::node), which
///   [`CallCounters`](crate::layer::CallCounters) counts separately.
///
/// ```
/// use traffik::layer::{CallCounters, CallResult, Instrumented, Operation};
/// use traffik::runtime::Manual;
/// use traffik::storage::Local;
/// use traffik::{AsyncLimiter, Memory, TokenBucket, rate};
///
/// let calls = CallCounters::default();
/// let storage = Instrumented::new(Local(Memory::new(1_000)), calls.clone());
/// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("100/min")), storage);
/// Manual::new().run(async { limiter.check("alice").await })??;
/// assert_eq!(calls.count(Operation::Check, CallResult::Allowed), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Instrumented<T> {
    storage: T,
    inner: Arc<InstrumentedInner>,
}

/// The state that clones of an instrumented storage share.
struct InstrumentedInner {
    observer: Box<dyn CallObserver>,
    clock: Box<dyn Clock + Send + Sync>,
}

impl<T> Instrumented<T> {
    /// Wraps a storage, so that its calls are reported to `observer` and timed by a [`MonotonicClock`].
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    /// use traffik::layer::{CallEvent, Instrumented};
    /// use traffik::runtime::Manual;
    /// use traffik::storage::Local;
    /// use traffik::{AsyncLimiter, Memory, TokenBucket, rate};
    ///
    /// let failures = Arc::new(AtomicU64::new(0));
    /// let counted = Arc::clone(&failures);
    /// let storage = Instrumented::new(Local(Memory::new(1_000)), move |call: &CallEvent<'_>| {
    ///     counted.fetch_add(call.failure.is_some().into(), Ordering::Relaxed);
    /// });
    /// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("100/min")), storage);
    /// Manual::new().run(async { limiter.check("alice").await })??;
    /// assert_eq!(failures.load(Ordering::Relaxed), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(storage: T, observer: impl CallObserver + 'static) -> Self {
        Self::with_clock(storage, observer, MonotonicClock::default())
    }

    /// Wraps a storage as [`new`](Self::new) does, with this clock, which should not step.
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

    /// Returns the storage within.
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
        result: impl FnOnce(&A) -> CallResult + Send + 'static,
    ) -> Reply<A> {
        // The node is asked for before the call: afterwards another one may keep the key.
        let timed = self.begin(operation, node);
        let reply = call();
        // A ready answer is reported here, without boxing the reply.
        if let Reply::Ready(Some(answer)) = &reply {
            timed.answered(answer, result);
            return reply;
        }
        // The answer takes the call out. A reply dropped before that reports `Dropped`.
        let mut pending = PendingCall(Some(timed));
        reply.inspect(move |answer| {
            if let Some(timed) = pending.0.take() {
                timed.answered(answer, result);
            }
        })
    }
}

/// A call under way.
struct TimedCall {
    inner: Arc<InstrumentedInner>,
    operation: Operation,
    node: Option<Arc<str>>,
    began: Timestamp,
}

impl TimedCall {
    fn answered<A>(self, answer: &Result<A, BackendError>, result: impl FnOnce(&A) -> CallResult) {
        match answer {
            Ok(answer) => self.report(result(answer), None),
            Err(failure) => self.report(CallResult::Failed(failure.kind()), Some(failure)),
        }
    }

    fn report(&self, result: CallResult, failure: Option<&BackendError>) {
        // A clock that stepped back counts as no time.
        let took = self.inner.clock.now().since(self.began);
        let Self { operation, node, .. } = self;
        self.inner.observer.called(&CallEvent {
            operation: *operation,
            result,
            took,
            node: node.as_ref(),
            failure,
        });
    }
}

/// A pending call. Reports `Dropped` unless it was answered.
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
        // Only these two decide; the outcome of others says nothing about a hit.
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
        // A known denial is a check that was answered at once. Without one, the later call reports itself.
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
        // A call on several nodes counts for none of them.
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
                    // The check counts as denied if any key denies it.
                    let admitted = Outcome::Allow { after: Duration::ZERO };
                    CallResult::of(verdicts.iter().map(Verdict::outcome).fold(admitted, Outcome::and))
                }
            },
        )
    }

    delegate!(self => self.storage; apply_due, node, is_local, wait_queue);
}

debug_fields!([T: Debug] Instrumented<T>: storage);
