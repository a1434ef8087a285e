//! The plan for one request, or the reason why there is none.

use std::sync::Arc;

use traffik_core::storage::BoxFuture;
use traffik_core::{ErasedKey, Hit, Origin, Strategy, Verdict};

use super::key::{QualifiedUid, kinds_of};
use super::profile::Scope;
use super::rejection::Cause;
use super::settings::ThrottleSettings;
use crate::http::request::RequestError;
use crate::identify::ClientKey;

/// The plan for one request.
pub(crate) struct Plan<S: Strategy, M> {
    pub(crate) settings: Arc<ThrottleSettings<S>>,
    /// The strategy that was chosen for this request; `None` for the throttle's own.
    pub(crate) strategy: Option<S>,
    /// The storage that was chosen for this request; `None` for the throttle's own.
    pub(crate) storage: Option<M>,
    pub(crate) client: ClientKey,
    pub(crate) scope: Option<Scope>,
    pub(crate) hit: Hit<S::Cost>,
    /// Whether the limit is enforced for this client.
    pub(crate) enforced: bool,
}

impl<S: Strategy, M> Plan<S, M> {
    /// Returns the origin of a verdict of the storage.
    pub(crate) fn origin(&self, verdict: &S::Verdict) -> Origin {
        if self.enforced { verdict.origin() } else { Origin::Shadow }
    }
}

impl<S: Strategy, M> Plan<S, M> {
    /// Calls `ask` with the key of the state: the client, the scope, and the name of the throttle.
    #[inline(always)]
    pub(crate) fn with_key<T>(&self, uid: &str, ask: impl FnOnce(&dyn ErasedKey) -> T) -> T {
        let qualified = self.strategy.as_ref().and_then(|strategy| self.qualified_uid(uid, strategy));
        let (plain, scoped, plain_qualified, scoped_qualified);
        // One call site for all keys, so that `ask` is inlined into the caller.
        let key: &dyn ErasedKey = match (&qualified, &self.scope) {
            (None, None) => {
                plain = (&self.client, uid);
                &plain
            }
            (None, Some(scope)) => {
                scoped = (&self.client, scope.name(), uid);
                &scoped
            }
            (Some(qualified), None) => {
                plain_qualified = (&self.client, qualified);
                &plain_qualified
            }
            (Some(qualified), Some(scope)) => {
                scoped_qualified = (&self.client, scope.name(), qualified);
                &scoped_qualified
            }
        };
        ask(key)
    }

    /// Returns the throttle's part of the key if the strategy of the request keeps separate states.
    #[cold]
    fn qualified_uid<'a>(&self, uid: &'a str, strategy: &S) -> Option<QualifiedUid<'a>> {
        let kinds = kinds_of(strategy);
        (kinds != self.settings.kinds).then_some(QualifiedUid { uid, kinds })
    }
}

/// A plan, the reason why there is none, or the future of either.
pub(crate) enum MaybePlan<S: Strategy, M> {
    Ready(Plan<S, M>),
    Not(Skipped),
    Later(BoxFuture<'static, PlanResult<S, M>>),
}

/// A plan, or the reason why there is none.
pub(crate) type PlanResult<S, M> = Result<Plan<S, M>, Skipped>;

/// The reason why a request has no plan, and whether the limit is enforced for its client.
pub(crate) struct Skipped {
    pub(crate) reason: SkipReason,
    /// Whether the limit is enforced for the client; otherwise an error does not affect the request.
    pub(crate) enforced: bool,
}

/// The reason why a throttle does not check a request.
pub(crate) enum SkipReason {
    /// The request is not counted.
    NotCounted(Origin),
    /// A function of the request has failed or refused it.
    Error(RequestError),
}

impl<S: Strategy, M: Send> MaybePlan<S, M> {
    /// Waits for the plan.
    pub(crate) async fn get(self) -> PlanResult<S, M> {
        match self {
            Self::Ready(plan) => Ok(plan),
            Self::Not(skipped) => Err(skipped),
            Self::Later(planned) => planned.await,
        }
    }
}

impl<S: Strategy, M> From<PlanResult<S, M>> for MaybePlan<S, M> {
    #[inline(always)]
    fn from(planned: PlanResult<S, M>) -> Self {
        match planned {
            Ok(plan) => Self::Ready(plan),
            Err(skipped) => Self::Not(skipped),
        }
    }
}

impl Skipped {
    /// Returns the cause of a rejection, if the request is to be rejected.
    pub(crate) fn cause(&self) -> Option<Cause> {
        match &self.reason {
            SkipReason::Error(RequestError::Failed(failure)) => Some(Cause::Failed(failure.clone())),
            SkipReason::Error(RequestError::Refused(refusal)) => Some(Cause::Refused(Some(refusal.clone()))),
            SkipReason::NotCounted(_) => None,
        }
    }

    pub(super) const fn skip(origin: Origin) -> Self {
        Self { reason: SkipReason::NotCounted(origin), enforced: true }
    }
}

impl<S: Strategy> ThrottleSettings<S> {
    pub(super) fn exempt(&self) -> Skipped {
        Skipped { reason: SkipReason::NotCounted(Origin::Exempt), enforced: self.enforcement.holds_for_all() }
    }

    /// Returns the skip of a request because of an error. `client` is its client, if that is known.
    pub(super) fn stop(&self, client: Option<&ClientKey>, stop: RequestError) -> Skipped {
        let enforced = match client {
            Some(client) => self.enforcement.holds_for(client),
            None => self.enforcement.holds_for_all(),
        };
        Skipped { reason: SkipReason::Error(stop), enforced }
    }
}
