//! All of a throttle that does not depend on its strategy and its storage.

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use smallvec::SmallVec;
use traffik_core::storage::{BackendError, BoxFuture};
use traffik_core::{ErasedKey, Origin, Timer};

use crate::http::denial::Handler;
use crate::http::on_error::OnError;
use crate::http::request::{MaybeAsync, RequestError, RequestParts};
use crate::http::response::Answers;
use crate::identify::{Anonymous, Identify, Identity};
use crate::middleware::background::Spawn;
use crate::observe::{Event, Observe, RequestOutcome};
use crate::rules::Rules;

/// Counts requests apart within a throttle, such as by operation: put it into the extensions of a request, or give it
/// to a [`Client`](crate::Client). Told to the storage, so its names are few and not a client's own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope(Arc<str>);

impl Scope {
    /// The scope of this name.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self(name.into())
    }

    /// Returns the name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }
}

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

/// Identities of a request's client that were found out before.
#[derive(Clone, Debug, Default)]
pub(crate) struct IdentityMemo(SmallVec<[(IdentityCache, Identity); 1]>);

impl IdentityMemo {
    fn find(&self, cache: IdentityCache) -> Option<&Identity> {
        self.0.iter().find(|(known, _)| *known == cache).map(|(_, identity)| identity)
    }

    pub(crate) fn add(&mut self, cache: IdentityCache, identity: Identity) {
        if self.find(cache).is_none() {
            self.0.push((cache, identity));
        }
    }
}

/// The identifier of clients.
pub(crate) enum Identifier {
    Now(Box<dyn Identify>),
    Function(Box<dyn Fn(RequestParts<'_>) -> Result<Identity, RequestError> + Send + Sync>),
    Later(Box<dyn Fn(RequestParts<'_>) -> BoxFuture<'static, Result<Identity, RequestError>> + Send + Sync>),
}

/// Time on some runtime.
pub(crate) struct DelayTimer {
    pub(crate) sleep: Box<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>,
    /// Starts a watch.
    pub(crate) watch: Box<dyn Fn() -> Watch + Send + Sync>,
}

/// Reports how much time has passed since it was started.
pub(crate) type Watch = Box<dyn Fn() -> Duration + Send + Sync>;

impl DelayTimer {
    pub(crate) fn on(timer: impl Timer + Send + Sync + 'static) -> Self {
        let timer = Arc::new(timer);
        let clock = Arc::clone(&timer);
        Self {
            sleep: Box::new(move |wait| Box::pin(timer.sleep(wait))),
            watch: Box::new(move || {
                let (passed, start) = (clock.stopwatch(), Instant::now());
                Box::new(move || passed().unwrap_or_else(|| start.elapsed()))
            }),
        }
    }
}

/// The name of a throttle, whom it counts, and how it answers and reports.
pub(crate) struct Profile {
    pub(crate) uid: String,
    pub(crate) rules: Rules,
    pub(crate) identifier: Identifier,
    pub(crate) anonymous: Anonymous,
    pub(crate) cache: Option<IdentityCache>,
    pub(crate) scope: Option<Scope>,
    pub(crate) answers: Answers,
    pub(crate) handler: Option<Handler>,
    pub(crate) on_error: OnError,
    /// Where delays are sat out, and the longest that is.
    pub(crate) pause: Option<Arc<DelayTimer>>,
    pub(crate) max_delay: Duration,
    pub(crate) spawner: Option<Arc<Spawn>>,
    pub(crate) observers: Vec<Box<dyn Observe>>,
}

impl Profile {
    /// Who is asking; what the throttle is to think of those about whom nothing is known is settled here.
    pub(super) fn identity(
        &self,
        request: RequestParts<'_>,
        memo: Option<&IdentityMemo>,
    ) -> MaybeAsync<Identity> {
        if let Some(cache) = self.cache {
            let before = || request.extensions.get::<IdentityMemo>();
            let found = memo.and_then(|memo| memo.find(cache)).or_else(|| before()?.find(cache));
            if let Some(identity) = found {
                return MaybeAsync::Now(identity.clone());
            }
        }
        let anonymous = self.anonymous;
        match &self.identifier {
            Identifier::Now(identifier) => {
                MaybeAsync::Now(anonymous.applied_to(identifier.identify(request)))
            }
            Identifier::Function(function) => match function(request) {
                Ok(identity) => MaybeAsync::Now(anonymous.applied_to(identity)),
                Err(stop) => MaybeAsync::Later(Box::pin(ready(Err(stop)))),
            },
            Identifier::Later(function) => {
                let identity = function(request);
                MaybeAsync::Later(Box::pin(async move { identity.await.map(|it| anonymous.applied_to(it)) }))
            }
        }
    }

    /// Within what a request is counted.
    pub(super) fn scope_of(&self, request: RequestParts<'_>) -> Option<Scope> {
        request.extensions.get::<Scope>().or(self.scope.as_ref()).cloned()
    }

    /// The time at which a check begins, if an observer wants to hear how long it takes.
    pub(crate) fn begin(&self) -> Option<Instant> {
        (!self.observers.is_empty()).then(Instant::now)
    }

    /// Reports to all observers.
    pub(crate) fn report(
        &self,
        result: RequestOutcome,
        client: Option<&dyn ErasedKey>,
        took: Option<Duration>,
        failure: Option<&BackendError>,
        origin: Option<Origin>,
    ) {
        let event = Event { throttle: &self.uid, result, client, took, failure, origin };
        self.observers.iter().for_each(|observer| observer.seen(&event));
    }
}
