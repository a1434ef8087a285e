//! Turns a request into a plan: the client, the cost, the strategy and the storage.

use std::sync::Arc;

use traffik_core::storage::{AsyncStorage, BackendError, BoxFuture, Reply, WaitQueue};
use traffik_core::{Class, ErasedKey, ErrorKind, Hit, Op, Origin, Strategy, Timestamp};

use super::handle::{Throttle, ThrottleInner};
use super::plan::{MaybePlan, Plan, PlanResult, Skipped};
use super::profile::{Identifier, IdentityMemo, Scope};
use super::settings::ThrottleSettings;
use crate::http::request::{MaybeAsync, RequestError, RequestParts};
use crate::identify::Identity;
use crate::rules::Applicability;

impl<S: Strategy, M: AsyncStorage<S> + 'static> Throttle<S, M> {
    /// Plans a request if the rules apply to it.
    pub(crate) fn prepare(&self, request: RequestParts<'_>, memo: Option<&IdentityMemo>) -> MaybePlan<S, M> {
        match self.0.profile.rules.matching(request) {
            Applicability::No => MaybePlan::Not(Skipped::skip(Origin::Bypassed)),
            Applicability::Yes(_) => self.plan(request, memo),
            Applicability::Later(open) => {
                // Functions of the request run now: the future outlives the borrowed request.
                let prepared = self.plan(request, memo);
                MaybePlan::Later(Box::pin(async move {
                    if open.applies().await {
                        prepared.get().await
                    } else {
                        Err(Skipped::skip(Origin::Bypassed))
                    }
                }))
            }
        }
    }

    /// Plans a request that the throttle applies to.
    #[inline(always)]
    pub(crate) fn plan(&self, request: RequestParts<'_>, memo: Option<&IdentityMemo>) -> MaybePlan<S, M> {
        let it = &*self.0;
        let settings = it.settings.load_full();
        if !settings.enabled {
            return MaybePlan::Not(Skipped::skip(Origin::Disabled));
        }
        // The fast path: in most throttles only the identity is a function of the request.
        if let Identifier::Now(identifier) = &it.profile.identifier
            && it.profile.cache.is_none()
            && it.storage.fixed().is_some()
            && settings.are_fixed()
        {
            let identity = it.profile.anonymous.applied_to(identifier.identify(request));
            return plan(settings, identity, RequestChoices::default(), it.profile.scope_of(request)).into();
        }
        // The identity comes first: a client that is exempt or refused costs no other function of the
        // request, and a failure of another one never admits a client that is refused.
        let identity = match it.profile.identity(request, memo) {
            Ok(MaybeAsync::Now(identity)) => match counted(&settings, identity) {
                Ok(identity) => MaybeAsync::Now(identity),
                Err(skipped) => return MaybePlan::Not(skipped),
            },
            Ok(later) => later,
            Err(stop) => return MaybePlan::Not(settings.stop(None, stop)),
        };
        let scope = it.profile.scope_of(request);
        match (identity, RequestChoices::ask(it, &settings, request)) {
            (MaybeAsync::Now(identity), Ok(Ok(choices))) => plan(settings, identity, choices, scope).into(),
            (MaybeAsync::Now(identity), Ok(Err(stop))) => {
                MaybePlan::Not(settings.stop(Some(&identity), stop))
            }
            (identity, choices) => MaybePlan::Later(Box::pin(async move {
                let identity = match identity.get().await {
                    Ok(identity) => counted(&settings, identity)?,
                    Err(stop) => return Err(settings.stop(None, stop)),
                };
                let choices = match choices {
                    Ok(choices) => choices,
                    Err(awaited) => awaited.await,
                };
                match choices {
                    Ok(choices) => plan(settings, identity, choices, scope),
                    Err(stop) => Err(settings.stop(Some(&identity), stop)),
                }
            })),
        }
    }

    /// Applies an operation to the state of a plan.
    pub(crate) fn apply(&self, plan: &Plan<S, M>, op: &Op<S>) -> Reply<S::Verdict> {
        let Some((strategy, storage)) = self.strategy_and_storage(plan) else {
            return Reply::ready(Err(nothing_fixed()));
        };
        plan.with_key(self.uid(), |key| storage.apply(strategy, key, op))
    }

    /// Returns the denial that the storage knows without a call.
    pub(crate) fn known_denial(&self, plan: &Plan<S, M>) -> Option<S::Verdict> {
        let (strategy, storage) = self.strategy_and_storage(plan)?;
        plan.with_key(self.uid(), |key| storage.known_denial(strategy, key, &plan.hit))
    }

    /// Loads the strategy's own figures for the client of a plan.
    pub(crate) async fn figures(&self, plan: &Plan<S, M>) -> Result<S::Stat, BackendError> {
        let Some((strategy, storage)) = self.strategy_and_storage(plan) else { return Err(nothing_fixed()) };
        let (state, now) = plan.with_key(self.uid(), |key| storage.load(strategy, key)).await?;
        Ok(strategy.stat(&state, plan.hit.class, now))
    }

    /// Returns the verdict for a client that has used nothing.
    pub(crate) fn fresh(&self, plan: &Plan<S, M>) -> Option<S::Verdict> {
        let (strategy, _) = self.strategy_and_storage(plan)?;
        Some(strategy.peek(&S::State::default(), &plan.hit.free(), Timestamp::EPOCH))
    }

    /// Reports whether the storage of a plan answers at once.
    pub(crate) fn is_local(&self, plan: &Plan<S, M>) -> bool {
        self.strategy_and_storage(plan).is_some_and(|(_, storage)| storage.is_local())
    }

    /// Returns the queue of waiters in the storage of a plan.
    pub(crate) fn wait_queue<'a>(&'a self, plan: &'a Plan<S, M>) -> Option<&'a dyn WaitQueue> {
        self.strategy_and_storage(plan)?.1.wait_queue()
    }

    /// Calls `show` with the key of a plan.
    pub(crate) fn show_key(&self, plan: &Plan<S, M>, show: &mut dyn FnMut(&dyn ErasedKey)) {
        plan.with_key(self.uid(), show);
    }

    /// Returns the strategy and the storage of a plan.
    fn strategy_and_storage<'a>(&'a self, plan: &'a Plan<S, M>) -> Option<(&'a S, &'a M)> {
        let strategy = plan.strategy.as_ref().or(plan.settings.strategy.fixed())?;
        Some((strategy, plan.storage.as_ref().or(self.0.storage.fixed())?))
    }
}

/// Returns the error of a plan that was made without a request, where the strategy, the cost or the storage
/// is a function of the request.
pub(crate) fn nothing_fixed() -> BackendError {
    BackendError::new(
        ErrorKind::Other,
        "the strategy, the cost or the storage is a function of the request, and there is no request; set it \
         on the client",
    )
}

/// The values that functions of a request have chosen; `None` for fixed values.
struct RequestChoices<S: Strategy, M> {
    strategy: Option<S>,
    cost: Option<S::Cost>,
    class: Option<Class>,
    storage: Option<M>,
}

impl<S: Strategy, M> Default for RequestChoices<S, M> {
    fn default() -> Self {
        Self { strategy: None, cost: None, class: None, storage: None }
    }
}

/// The choices, or the error of a function of the request.
type ChoicesResult<S, M> = Result<RequestChoices<S, M>, RequestError>;

impl<S: Strategy, M: Send + 'static> RequestChoices<S, M> {
    /// Calls all functions of the request. If one fails and another one refuses, the request is refused: a
    /// failure may let it pass.
    fn ask(
        it: &ThrottleInner<S, M>,
        settings: &ThrottleSettings<S>,
        request: RequestParts<'_>,
    ) -> Result<ChoicesResult<S, M>, BoxFuture<'static, ChoicesResult<S, M>>> {
        let (strategy, cost) = (settings.strategy.ask(request), settings.cost.ask(request));
        let (class, storage) = (settings.class.ask(request), it.storage.ask(request));
        match (strategy, cost, class, storage) {
            (
                Ok(MaybeAsync::Now(strategy)),
                Ok(MaybeAsync::Now(cost)),
                Ok(MaybeAsync::Now(class)),
                Ok(MaybeAsync::Now(storage)),
            ) => Ok(Ok(Self { strategy, cost, class, storage })),
            // An error waits for the other answers, one of which may be a refusal.
            (strategy, cost, class, storage)
                if is_later(&strategy) || is_later(&cost) || is_later(&class) || is_later(&storage) =>
            {
                Err(Box::pin(async move {
                    let (strategy, cost) = (answer(strategy).await, answer(cost).await);
                    Self::of(strategy, cost, answer(class).await, answer(storage).await)
                }))
            }
            (strategy, cost, class, storage) => {
                Ok(Self::of(value(strategy), value(cost), value(class), value(storage)))
            }
        }
    }

    /// Returns all choices, or the first refusal, or else the first failure.
    fn of(
        strategy: Result<Option<S>, RequestError>,
        cost: Result<Option<S::Cost>, RequestError>,
        class: Result<Option<Class>, RequestError>,
        storage: Result<Option<M>, RequestError>,
    ) -> Result<Self, RequestError> {
        match (strategy, cost, class, storage) {
            (Ok(strategy), Ok(cost), Ok(class), Ok(storage)) => Ok(Self { strategy, cost, class, storage }),
            (strategy, cost, class, storage) => {
                let errors = [strategy.err(), cost.err(), class.err(), storage.err()].into_iter().flatten();
                // The least of booleans is false, and of equal ones the first is returned.
                let error = errors.min_by_key(|error| !matches!(error, RequestError::Refused(_)));
                Err(error.unwrap_or_else(|| nothing_fixed().into()))
            }
        }
    }
}

/// The answer of a function of the request, which may have to be awaited.
type Asked<T> = Result<MaybeAsync<Option<T>>, RequestError>;

const fn is_later<T>(asked: &Asked<T>) -> bool {
    matches!(asked, Ok(MaybeAsync::Later(_)))
}

/// Waits for an answer.
async fn answer<T: Send>(asked: Asked<T>) -> Result<Option<T>, RequestError> {
    asked?.get().await
}

/// Returns an answer that is there.
fn value<T>(asked: Asked<T>) -> Result<Option<T>, RequestError> {
    match asked? {
        MaybeAsync::Now(value) => Ok(value),
        MaybeAsync::Later(_) => Ok(None),
    }
}

/// Returns an identity that is counted, or the reason why there is no plan for it.
fn counted<S: Strategy>(settings: &ThrottleSettings<S>, identity: Identity) -> Result<Identity, Skipped> {
    match identity {
        Identity::Key(_) => Ok(identity),
        Identity::Exempt => Err(settings.exempt()),
        Identity::Refused(refusal) => Err(settings.stop(None, refusal.into())),
    }
}

/// Returns the plan, from its parts.
#[inline(always)]
fn plan<S: Strategy, M>(
    settings: Arc<ThrottleSettings<S>>,
    identity: Identity,
    choices: RequestChoices<S, M>,
    scope: Option<Scope>,
) -> PlanResult<S, M> {
    let RequestChoices { strategy, cost, class, storage } = choices;
    let client = match identity {
        Identity::Key(client) => client,
        Identity::Exempt => return Err(settings.exempt()),
        Identity::Refused(refusal) => return Err(settings.stop(None, refusal.into())),
    };
    let cost = cost.or(settings.cost.fixed().copied());
    let class = class.or(settings.class.fixed().copied()).unwrap_or_default();
    let Some(cost) = cost else {
        return Err(settings.stop(Some(&Identity::Key(client)), nothing_fixed().into()));
    };
    let enforced = settings.enforcement.holds_for(&client);
    let hit = Hit::new(cost).with_class(class);
    Ok(Plan { settings, strategy, storage, client, scope, hit, enforced })
}
