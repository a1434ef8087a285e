//! From a request to what is to be asked of the storage: who, how much, which limit.

use std::sync::Arc;

use traffik_core::storage::{AsyncStorage, BackendError, BoxFuture, Reply, WaitQueue};
use traffik_core::{Class, ErasedKey, ErrorKind, Hit, Op, Origin, Strategy, Timestamp};

use super::handle::{Inner, Throttle};
use super::plan::{Plan, Planned, Prepared, Unasked};
use super::profile::{Known, Scope, Who};
use super::settings::Settings;
use crate::http::request::{Piece, RequestError, RequestParts};
use crate::identify::Identity;
use crate::rules::Matching;

impl<S: Strategy, M: AsyncStorage<S> + 'static> Throttle<S, M> {
    /// Finds out what is to be asked about a request.
    pub(crate) fn prepare(&self, request: RequestParts<'_>, known: Option<&Known>) -> Prepared<S, M> {
        match self.0.profile.rules.matching(request) {
            Matching::No => Prepared::Not(Unasked::skip(Origin::Bypassed)),
            Matching::Yes(_) => self.plan(request, known),
            Matching::Later(open) => {
                // What is to be asked is found out now, while the request can be looked at.
                let prepared = self.plan(request, known);
                Prepared::Later(Box::pin(async move {
                    if open.applies().await {
                        prepared.get().await
                    } else {
                        Err(Unasked::skip(Origin::Bypassed))
                    }
                }))
            }
        }
    }

    /// The same of a request that the throttle applies to.
    #[inline(always)]
    pub(crate) fn plan(&self, request: RequestParts<'_>, known: Option<&Known>) -> Prepared<S, M> {
        let it = &*self.0;
        let settings = it.settings.load_full();
        if !settings.enabled {
            return Prepared::Not(Unasked::skip(Origin::Disabled));
        }
        // Of most throttles nothing is a function of the request but who is asking, and nothing else is asked for.
        if let Who::Now(identifier) = &it.profile.who
            && it.profile.cache.is_none()
            && it.storage.fixed().is_some()
            && settings.are_fixed()
        {
            let identity = it.profile.anonymous.applied_to(identifier.identify(request));
            return plan(settings, identity, Pieces::default(), it.profile.scope_of(request)).into();
        }
        let identity = it.profile.identity(request, known);
        if let Piece::Now(Identity::Exempt) = identity {
            return Prepared::Not(settings.exempt());
        }
        let scope = it.profile.scope_of(request);
        match (identity, Pieces::ask(it, &settings, request)) {
            (Piece::Now(identity), Ok(Ok(pieces))) => plan(settings, identity, pieces, scope).into(),
            (Piece::Now(identity), Err(stop)) => Prepared::Not(settings.stop(Some(&identity), stop)),
            (identity, pieces) => Prepared::Later(Box::pin(async move {
                let identity = match identity.get().await {
                    Ok(Identity::Exempt) => return Err(settings.exempt()),
                    Ok(identity) => identity,
                    Err(stop) => return Err(settings.stop(None, stop)),
                };
                let pieces = match pieces {
                    Ok(Ok(pieces)) => Ok(pieces),
                    Ok(Err(awaited)) => awaited.await,
                    Err(stop) => Err(stop),
                };
                match pieces {
                    Ok(pieces) => plan(settings, identity, pieces, scope),
                    Err(stop) => Err(settings.stop(Some(&identity), stop)),
                }
            })),
        }
    }

    /// Applies an operation to the state that a plan is about.
    pub(crate) fn apply(&self, plan: &Plan<S, M>, op: &Op<S>) -> Reply<S::Verdict> {
        let Some((limit, storage)) = self.ground(plan) else { return Reply::ready(Err(nowhere())) };
        plan.with_key(self.uid(), |key| storage.apply(limit, key, op))
    }

    /// What a check would be told if it is known without a call of the storage that it is denied.
    pub(crate) fn known_denial(&self, plan: &Plan<S, M>) -> Option<S::Verdict> {
        let (limit, storage) = self.ground(plan)?;
        plan.with_key(self.uid(), |key| storage.known_denial(limit, key, &plan.hit))
    }

    /// The strategy's own figures for whom a plan is about.
    pub(crate) async fn figures(&self, plan: &Plan<S, M>) -> Result<S::Stat, BackendError> {
        let Some((limit, storage)) = self.ground(plan) else { return Err(nowhere()) };
        let (state, now) = plan.with_key(self.uid(), |key| storage.load(limit, key)).await?;
        Ok(limit.stat(&state, plan.hit.class, now))
    }

    /// What the limit of a plan says of a client who has used nothing.
    pub(crate) fn fresh(&self, plan: &Plan<S, M>) -> Option<S::Verdict> {
        let (limit, _) = self.ground(plan)?;
        Some(limit.peek(&S::State::default(), &plan.hit.free(), Timestamp::EPOCH))
    }

    /// Whether what a plan asks for is answered at once.
    pub(crate) fn is_local(&self, plan: &Plan<S, M>) -> bool {
        self.ground(plan).is_some_and(|(_, storage)| storage.is_local())
    }

    /// The queue of those who wait in the storage of a plan.
    pub(crate) fn wait_queue<'a>(&'a self, plan: &'a Plan<S, M>) -> Option<&'a dyn WaitQueue> {
        self.ground(plan)?.1.wait_queue()
    }

    /// Shows the key of whom a plan is about.
    pub(crate) fn show_key(&self, plan: &Plan<S, M>, show: &mut dyn FnMut(&dyn ErasedKey)) {
        plan.with_key(self.uid(), show);
    }

    /// The limit and the storage of a plan.
    fn ground<'a>(&'a self, plan: &'a Plan<S, M>) -> Option<(&'a S, &'a M)> {
        let limit = plan.limit.as_ref().or(plan.settings.strategy.fixed())?;
        Some((limit, plan.storage.as_ref().or(self.0.storage.fixed())?))
    }
}

/// Nobody has told the limit or the storage.
pub(crate) fn nowhere() -> BackendError {
    BackendError::new(
        ErrorKind::Other,
        "the limit or the storage is a function of the request, of which there is none; give the client one",
    )
}

/// What functions of a request have told.
struct Pieces<S: Strategy, M> {
    limit: Option<S>,
    cost: Option<S::Cost>,
    class: Option<Class>,
    storage: Option<M>,
}

impl<S: Strategy, M> Default for Pieces<S, M> {
    fn default() -> Self {
        Self { limit: None, cost: None, class: None, storage: None }
    }
}

/// The pieces, or else what is to be awaited for them.
type Told<S, M> = Result<Pieces<S, M>, BoxFuture<'static, Result<Pieces<S, M>, RequestError>>>;

impl<S: Strategy, M: Send + 'static> Pieces<S, M> {
    fn ask(
        it: &Inner<S, M>,
        settings: &Settings<S>,
        request: RequestParts<'_>,
    ) -> Result<Told<S, M>, RequestError> {
        let limit = settings.strategy.ask(request)?;
        let cost = settings.cost.ask(request)?;
        let class = settings.class.ask(request)?;
        let storage = it.storage.ask(request)?;
        Ok(match (limit, cost, class, storage) {
            (Piece::Now(limit), Piece::Now(cost), Piece::Now(class), Piece::Now(storage)) => {
                Ok(Self { limit, cost, class, storage })
            }
            (limit, cost, class, storage) => Err(Box::pin(async move {
                let (limit, cost) = (limit.get().await?, cost.get().await?);
                Ok(Self { limit, cost, class: class.get().await?, storage: storage.get().await? })
            })),
        })
    }
}

/// All pieces together.
#[inline(always)]
fn plan<S: Strategy, M>(
    settings: Arc<Settings<S>>,
    identity: Identity,
    pieces: Pieces<S, M>,
    scope: Option<Scope>,
) -> Planned<S, M> {
    let Pieces { limit, cost, class, storage } = pieces;
    let client = match identity {
        Identity::Key(client) => client,
        Identity::Exempt => return Err(settings.exempt()),
        Identity::Refused(refusal) => return Err(settings.stop(None, refusal.into())),
    };
    let cost = cost.or(settings.cost.fixed().copied());
    let class = class.or(settings.class.fixed().copied()).unwrap_or_default();
    let Some(cost) = cost else {
        return Err(settings.stop(Some(&Identity::Key(client)), nowhere().into()));
    };
    let enforced = settings.enforcement.holds_for(&client);
    let hit = Hit::new(cost).with_class(class);
    Ok(Plan { settings, limit, storage, client, scope, hit, enforced })
}
