//! A storage that is left alone while a breaker is open.

use traffik_core::storage::{AsyncStorage, Joint, Reply};
use traffik_core::{ErasedKey, Hit, Op, Strategy, Timestamp};

use crate::layer::Breaker;
use crate::layer::delegate::delegate;
use crate::util::key::Keys;

/// A storage behind a [`Breaker`], where there is an example.
///
/// * While the breaker is open the storage is not called at all.
/// * A call may pass when it is made, and has ended when its answer is there or dropped. So an answer that is kept without
///   being awaited keeps the place of a probe.
/// * Put a deadline within it, not around it: a call that is dropped counts only if it is known to be
///   [slow](crate::layer::BreakerBuilder::slow).
#[derive(Clone, Debug)]
pub struct CircuitBreaker<T> {
    storage: T,
    breaker: Breaker,
}

impl<T> CircuitBreaker<T> {
    /// The storage, behind the breaker.
    #[must_use]
    pub fn new(storage: T, breaker: &Breaker) -> Self {
        Self { storage, breaker: breaker.clone() }
    }

    /// The storage.
    pub const fn storage(&self) -> &T {
        &self.storage
    }

    /// The breaker.
    #[must_use]
    pub const fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// `tells` is whether an answer shows that the store was asked.
    fn pass<A: Send + 'static>(&self, call: impl FnOnce() -> Reply<A>, tells: fn(&A) -> bool) -> Reply<A> {
        let permit = match self.breaker.permit() {
            Ok(permit) => permit,
            Err(refusal) => return Reply::ready(Err(refusal)),
        };
        call().inspect(move |answer| permit.answered(answer, tells))
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Strategy, T: AsyncStorage<S>> AsyncStorage<S> for CircuitBreaker<T> {
    fn apply(&self, limit: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        self.pass(|| self.storage.apply(limit, key, op), |_| true)
    }

    fn load(&self, limit: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        self.pass(|| self.storage.load(limit, key), |_| true)
    }

    fn check_together(&self, limit: &S, keys: Keys<'_>, hit: &Hit<S::Cost>) -> Reply<Joint<S::Verdict>> {
        self.pass(|| self.storage.check_together(limit, keys, hit), |told| *told != Joint::Unable)
    }

    // A denial holds whether the store answers or not.
    delegate!(self => self.storage; node, is_local, known_denial, wait_queue);
}
