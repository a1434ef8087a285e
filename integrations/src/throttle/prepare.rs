//! Turns a request into a plan: the client, the cost, the strategy and the storage.

use std::sync::Arc;

use traffik_core::storage::{AsyncStorage, BackendError, Reply, WaitQueue};
use traffik_core::{Class, ErasedKey, ErrorKind, Hit, Op, Origin, Strategy, Timestamp};

use super::handle::{Throttle, ThrottleInner};
use super::plan::{MaybePlan, Plan, PlanResult, Skipped};
use super::profile::{Identifier, IdentityMemo, Scope};
use super::settings::ThrottleSettings;
use crate::http::request::{MaybeAsync, RequestError, RequestParts};
use crate::identify::{ClientKey, Identity};
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
            let scope = it.profile.scope_of(request);
            let planned = client(&settings, Ok(identity))
                .and_then(|client| plan(settings, client, RequestChoices::default(), scope));
            return planned.into();
        }
        // The identity comes first: for a client that is exempt or refused no other function of the request
        // is called, and a failure of another one never admits a client that is refused.
        let identity = match it.profile.identity(request, memo) {
            MaybeAsync::Now(identity) => match client(&settings, identity) {
                Ok(client) => Ok(client),
                Err(skipped) => return MaybePlan::Not(skipped),
            },
            MaybeAsync::Later(identity) => Err(identity),
        };
        let scope = it.profile.scope_of(request);
        match (identity, RequestChoices::ask(it, &settings, request)) {
            (Ok(client), MaybeAsync::Now(choices)) => chosen(settings, client, choices, scope).into(),
            (identity, choices) => MaybePlan::Later(Box::pin(async move {
                let client = match identity {
                    Ok(client) => client,
                    Err(later) => client(&settings, later.await)?,
                };
                chosen(settings, client, choices.get().await, scope)
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

impl<S: Strategy, M: Send + 'static> RequestChoices<S, M> {
    /// Calls all functions of the request.
    fn ask(
        it: &ThrottleInner<S, M>,
        settings: &ThrottleSettings<S>,
        request: RequestParts<'_>,
    ) -> MaybeAsync<Self> {
        let (strategy, cost) = (settings.strategy.ask(request), settings.cost.ask(request));
        let (class, storage) = (settings.class.ask(request), it.storage.ask(request));
        match (strategy, cost, class, storage) {
            (
                MaybeAsync::Now(strategy),
                MaybeAsync::Now(cost),
                MaybeAsync::Now(class),
                MaybeAsync::Now(storage),
            ) => MaybeAsync::Now(Self::of(strategy, cost, class, storage)),
            (strategy, cost, class, storage) => MaybeAsync::Later(Box::pin(async move {
                let (strategy, cost) = (strategy.get().await, cost.get().await);
                Self::of(strategy, cost, class.get().await, storage.get().await)
            })),
        }
    }

    /// Returns all choices, or the first refusal, or else the first failure: a failure may let the request
    /// pass, so it never takes the place of a refusal.
    fn of(
        strategy: Result<Option<S>, RequestError>,
        cost: Result<Option<S::Cost>, RequestError>,
        class: Result<Option<Class>, RequestError>,
        storage: Result<Option<M>, RequestError>,
    ) -> Result<Self, RequestError> {
        let errors =
            [strategy.as_ref().err(), cost.as_ref().err(), class.as_ref().err(), storage.as_ref().err()];
        for error in errors.into_iter().flatten() {
            if let RequestError::Refused(refusal) = error {
                return Err(RequestError::Refused(refusal.clone()));
            }
        }
        Ok(Self { strategy: strategy?, cost: cost?, class: class?, storage: storage? })
    }
}

/// Returns the client of an identity, or the reason why there is no plan for it.
#[inline(always)]
fn client<S: Strategy>(
    settings: &ThrottleSettings<S>,
    identity: Result<Identity, RequestError>,
) -> Result<ClientKey, Skipped> {
    match identity {
        Ok(Identity::Key(client)) => Ok(client),
        Ok(Identity::Exempt) => Err(settings.exempt()),
        Ok(Identity::Refused(refusal)) => Err(settings.stop(None, refusal.into())),
        Err(error) => Err(settings.stop(None, error)),
    }
}

/// Returns the plan for the choices of a request, if no function failed.
fn chosen<S: Strategy, M>(
    settings: Arc<ThrottleSettings<S>>,
    client: ClientKey,
    choices: Result<RequestChoices<S, M>, RequestError>,
    scope: Option<Scope>,
) -> PlanResult<S, M> {
    match choices {
        Ok(choices) => plan(settings, client, choices, scope),
        Err(error) => Err(settings.stop(Some(&client), error)),
    }
}

/// Returns the plan, from its parts.
#[inline(always)]
fn plan<S: Strategy, M>(
    settings: Arc<ThrottleSettings<S>>,
    client: ClientKey,
    choices: RequestChoices<S, M>,
    scope: Option<Scope>,
) -> PlanResult<S, M> {
    let RequestChoices { strategy, cost, class, storage } = choices;
    let cost = cost.or(settings.cost.fixed().copied());
    let class = class.or(settings.class.fixed().copied()).unwrap_or_default();
    let Some(cost) = cost else {
        return Err(settings.stop(Some(&client), nothing_fixed().into()));
    };
    let enforced = settings.enforcement.holds_for(&client);
    let hit = Hit::new(cost).with_class(class);
    Ok(Plan { settings, strategy, storage, client, scope, hit, enforced })
}
