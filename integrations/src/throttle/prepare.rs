//! From a request to what is to be asked of the storage: who, how much, which limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use smallvec::SmallVec;
use traffik_core::storage::{AsyncStorage, BoxFuture, Failure, Reply};
use traffik_core::{Class, ErrorKind, Hit, Op, Origin, Strategy, Timestamp, Verdict};

use super::{Inner, Settings, Throttle};
use crate::http::request::{Piece, Source, Stop};
use crate::identify::{Anonymous, ClientKey, Identify, Identity, RequestParts};
use crate::observe::{Event, Seen};
use crate::rules::Matching;

/// Counts requests apart within a throttle, such as by operation: put it into the extensions of a request, or give it
/// to a [`Client`](crate::Client). Told to the storage, so its names are few and not a client's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope(pub Arc<str>);

impl From<&str> for Scope {
    fn from(name: &str) -> Self {
        Self(name.into())
    }
}

/// Throttles that are given the same cache ask who is asking only once per request, whichever of them is first.
///
/// It holds nothing itself: the answer travels in the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentityCache(u64);

impl IdentityCache {
    /// A cache unlike all others.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Who is asking, as was found out before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known(SmallVec<[(IdentityCache, Identity); 1]>);

impl Known {
    fn find(&self, cache: IdentityCache) -> Option<&Identity> {
        self.0.iter().find(|(known, _)| *known == cache).map(|(_, identity)| identity)
    }

    pub(crate) fn add(&mut self, cache: IdentityCache, identity: Identity) {
        if self.find(cache).is_none() {
            self.0.push((cache, identity));
        }
    }
}

/// Who tells who is asking.
pub(crate) enum Who {
    Now(Box<dyn Identify>),
    Later(Box<dyn Fn(RequestParts<'_>) -> BoxFuture<'static, Result<Identity, Stop>> + Send + Sync>),
}

/// All that is to be asked about one request.
pub(crate) struct Plan<S: Strategy, M> {
    pub(crate) settings: Arc<Settings<S>>,
    /// Made for this request, if it is not the throttle's own.
    pub(crate) limit: Option<S>,
    /// Chosen for this request, if it is not the throttle's own.
    pub(crate) storage: Option<M>,
    pub(crate) client: ClientKey,
    pub(crate) scope: Option<Scope>,
    pub(crate) hit: Hit<S::Cost>,
    /// Whether the limit is enforced for this client.
    pub(crate) enforced: bool,
}

impl<S: Strategy, M> Plan<S, M> {
    /// Where a decision comes from that a storage has made.
    pub(crate) fn origin(&self, verdict: &S::Verdict) -> Origin {
        if self.enforced { verdict.origin() } else { Origin::Shadow }
    }
}

/// A plan, or why there is none.
pub(crate) enum Prepared<S: Strategy, M> {
    Ready(Plan<S, M>),
    Not(Unasked),
    Later(BoxFuture<'static, Planned<S, M>>),
}

/// A plan, or why nothing is asked.
pub(crate) type Planned<S, M> = Result<Plan<S, M>, Unasked>;

/// Why a throttle asks nothing about a request, and whether the client is to feel it: of a shadow it does not.
pub(crate) struct Unasked {
    pub(crate) why: Why,
    pub(crate) enforced: bool,
}

/// Why nothing is asked.
pub(crate) enum Why {
    /// The request is not counted.
    Skip(Origin),
    Stop(Stop),
}

impl<S: Strategy, M: Send> Prepared<S, M> {
    /// The plan, once it is there.
    pub(crate) async fn get(self) -> Planned<S, M> {
        match self {
            Self::Ready(plan) => Ok(plan),
            Self::Not(unasked) => Err(unasked),
            Self::Later(planned) => planned.await,
        }
    }
}

impl<S: Strategy, M> From<Planned<S, M>> for Prepared<S, M> {
    #[inline(always)]
    fn from(planned: Planned<S, M>) -> Self {
        match planned {
            Ok(plan) => Self::Ready(plan),
            Err(unasked) => Self::Not(unasked),
        }
    }
}

impl Unasked {
    const fn skip(origin: Origin) -> Self {
        Self { why: Why::Skip(origin), enforced: true }
    }
}

impl<S: Strategy> Settings<S> {
    fn exempt(&self) -> Unasked {
        Unasked { why: Why::Skip(Origin::Exempt), enforced: self.enforcement.holds_for_all() }
    }

    /// A request by this client, as far as it is known, cannot be asked about.
    fn stop(&self, client: Option<&Identity>, stop: Stop) -> Unasked {
        let enforced = match client {
            Some(Identity::Key(client)) => self.enforcement.holds_for(client),
            _ => self.enforcement.holds_for_all(),
        };
        Unasked { why: Why::Stop(stop), enforced }
    }
}

impl<S: Strategy, M: AsyncStorage<S> + 'static> Throttle<S, M> {
    /// Finds out what is to be asked about a request.
    pub(crate) fn prepare(&self, request: RequestParts<'_>, known: Option<&Known>) -> Prepared<S, M> {
        match self.0.rules.matching(request) {
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
        if let Who::Now(identifier) = &it.who
            && it.cache.is_none()
            && it.storage.fixed().is_some()
            && settings.are_fixed()
        {
            let identity = it.anonymous.applied_to(identifier.identify(request));
            return plan(settings, identity, Pieces::default(), it.scope_of(request)).into();
        }
        let identity = it.identity(request, known);
        if let Piece::Now(Identity::Exempt) = identity {
            return Prepared::Not(settings.exempt());
        }
        let scope = it.scope_of(request);
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
        let uid = self.0.uid.as_str();
        match &plan.scope {
            None => storage.apply(limit, &(&plan.client, uid), op),
            Some(Scope(scope)) => storage.apply(limit, &(&plan.client, &**scope, uid), op),
        }
    }

    /// What a check would be told if it is known without a call of the storage that it is denied.
    pub(crate) fn known_denial(&self, plan: &Plan<S, M>) -> Option<S::Verdict> {
        let (limit, storage) = self.ground(plan)?;
        let uid = self.0.uid.as_str();
        match &plan.scope {
            None => storage.known_denial(limit, &(&plan.client, uid), &plan.hit),
            Some(Scope(scope)) => storage.known_denial(limit, &(&plan.client, &**scope, uid), &plan.hit),
        }
    }

    /// The strategy's own figures for whom a plan is about.
    pub(crate) async fn figures(&self, plan: &Plan<S, M>) -> Result<S::Stat, Failure> {
        let Some((limit, storage)) = self.ground(plan) else { return Err(nowhere()) };
        let uid = self.0.uid.as_str();
        let reply = match &plan.scope {
            None => storage.load(limit, &(&plan.client, uid)),
            Some(Scope(scope)) => storage.load(limit, &(&plan.client, &**scope, uid)),
        };
        let (state, now) = reply.await?;
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

    /// The limit and the storage of a plan.
    fn ground<'a>(&'a self, plan: &'a Plan<S, M>) -> Option<(&'a S, &'a M)> {
        let limit = plan.limit.as_ref().or(plan.settings.limit.fixed())?;
        Some((limit, plan.storage.as_ref().or(self.0.storage.fixed())?))
    }
}

impl<S: Strategy, M> Inner<S, M> {
    /// Who is asking; what the throttle is to think of those about whom nothing is known is settled here.
    fn identity(&self, request: RequestParts<'_>, known: Option<&Known>) -> Piece<Identity> {
        if let Some(cache) = self.cache {
            let before = || request.extensions.get::<Known>();
            let found = known.and_then(|known| known.find(cache)).or_else(|| before()?.find(cache));
            if let Some(identity) = found {
                return Piece::Now(identity.clone());
            }
        }
        let anonymous = self.anonymous;
        match &self.who {
            Who::Now(identifier) => Piece::Now(anonymous.applied_to(identifier.identify(request))),
            Who::Later(function) => {
                let identity = function(request);
                Piece::Later(Box::pin(async move { identity.await.map(|it| anonymous.applied_to(it)) }))
            }
        }
    }

    /// Within what a request is counted.
    fn scope_of(&self, request: RequestParts<'_>) -> Option<Scope> {
        request.extensions.get::<Scope>().or(self.scope.as_ref()).cloned()
    }

    /// Tells whoever wants to hear of it.
    pub(crate) fn notice(&self, event: &Event<'_>) {
        self.observers.iter().for_each(|observer| observer.seen(event));
    }

    pub(crate) fn event(&self, result: Seen) -> Event<'_> {
        Event { throttle: &self.uid, result, client: None, took: None, failure: None, origin: None }
    }
}

/// Nobody has told the limit or the storage.
pub(crate) fn nowhere() -> Failure {
    Failure::new(
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
type Told<S, M> = Result<Pieces<S, M>, BoxFuture<'static, Result<Pieces<S, M>, Stop>>>;

impl<S: Strategy, M: Send + 'static> Pieces<S, M> {
    fn ask(it: &Inner<S, M>, settings: &Settings<S>, request: RequestParts<'_>) -> Result<Told<S, M>, Stop> {
        let limit = settings.limit.ask(request)?;
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
        Identity::Refused(status) => return Err(settings.stop(None, Anonymous::refusal(status).into())),
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

/// Where states are kept, or a function of the request that tells it.
pub(crate) type Place<M> = Source<M>;
