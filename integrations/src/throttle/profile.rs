//! The parts of a throttle that depend neither on its strategy nor on its storage.

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
use crate::middleware::background::SpawnFn;
use crate::observe::{Event, Observe, RequestOutcome};
use crate::rules::Rules;

/// A name under which a throttle counts some requests of a client separately, such as an operation.
///
/// Choose it to limit an operation without a second throttle. Insert it into the extensions of a request, or
/// pass it to a [`Client`](crate::Client). The name is a part of the key, so use a few fixed names, and none
/// that a client chooses.
///
/// ```
/// use traffik::web::Scope;
///
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(Scope::new("export"));
/// assert_eq!(request.extensions().get::<Scope>().map(Scope::name), Some("export"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Scope(Arc<str>);

impl Scope {
    /// Returns the scope of this name.
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

/// A cache of a request's identity, shared by several throttles.
///
/// Choose it when an identifier is expensive: of throttles with the same cache, only the first one that
/// counts a request calls its identifier. Within a [`ThrottleSet`](crate::ThrottleSet), a throttle with an
/// asynchronous function does not share its identity with the others of the set. The cache stores nothing
/// itself: the identity travels in the request's extensions.
///
/// ```
/// use traffik::{TokenBucket, rate};
/// use traffik::web::{IdentityCache, Throttle};
///
/// let cache = IdentityCache::new();
/// let minute = Throttle::in_memory("minute", TokenBucket::new(rate!("100/min"))).identity_cache(cache);
/// let day = Throttle::in_memory("day", TokenBucket::new(rate!("9000/day"))).identity_cache(cache);
/// # let _ = (minute.build()?, day.build()?);
/// # Ok::<(), traffik::web::ThrottleError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentityCache(u64);

impl IdentityCache {
    /// Returns a cache unlike all others.
    #[must_use]
    #[expect(
        clippy::new_without_default,
        reason = "each cache differs from all others, so there is no default one"
    )]
    pub fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        // `fetch_add` returns each number once under any ordering; nothing else is published by it.
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// The identities of a request, by cache.
#[derive(Clone, Debug, Default)]
pub(crate) struct IdentityMemo(SmallVec<[(IdentityCache, Identity); 1]>);

impl IdentityMemo {
    fn find(&self, cache: IdentityCache) -> Option<&Identity> {
        self.0.iter().find(|(known, _)| *known == cache).map(|(_, identity)| identity)
    }

    pub(crate) fn add(&mut self, cache: IdentityCache, identity: Identity) {
        // The first identity stays: throttles of one cache must agree on the client.
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

/// The timer of a runtime, which delays requests.
pub(crate) struct DelayTimer {
    pub(crate) sleep: Box<dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync>,
    /// Starts a stopwatch.
    pub(crate) watch: Box<dyn Fn() -> Watch + Send + Sync>,
}

/// A stopwatch: returns the time since its start.
pub(crate) type Watch = Box<dyn Fn() -> Duration + Send + Sync>;

impl DelayTimer {
    pub(crate) fn on(timer: impl Timer + Send + Sync + 'static) -> Self {
        let timer = Arc::new(timer);
        let clock = Arc::clone(&timer);
        Self {
            sleep: Box::new(move |wait| Box::pin(timer.sleep(wait))),
            watch: Box::new(move || {
                // A manual timer measures its own time; others return `None`, and the monotonic clock
                // measures.
                let (passed, start) = (clock.stopwatch(), Instant::now());
                Box::new(move || passed().unwrap_or_else(|| start.elapsed()))
            }),
        }
    }
}

/// The name of a throttle, the clients it counts, and how it answers and reports.
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
    /// The timer for delays; without one, requests are denied instead.
    pub(crate) delay_timer: Option<Arc<DelayTimer>>,
    pub(crate) max_delay: Duration,
    pub(crate) spawner: Option<Arc<SpawnFn>>,
    pub(crate) observers: Vec<Box<dyn Observe>>,
}

impl Profile {
    /// Returns the identity of a request, after the treatment of anonymous ones.
    pub(super) fn identity(
        &self,
        request: RequestParts<'_>,
        memo: Option<&IdentityMemo>,
    ) -> MaybeAsync<Identity> {
        // A set passes its memo before the request's extensions can be written to, so the memo comes first.
        if let Some(cache) = self.cache {
            let before = || request.extensions.get::<IdentityMemo>();
            let found = memo.and_then(|memo| memo.find(cache)).or_else(|| before()?.find(cache));
            if let Some(identity) = found {
                return MaybeAsync::Now(Ok(identity.clone()));
            }
        }
        let anonymous = self.anonymous;
        match &self.identifier {
            Identifier::Now(identifier) => {
                MaybeAsync::Now(Ok(anonymous.applied_to(identifier.identify(request))))
            }
            Identifier::Function(function) => {
                MaybeAsync::Now(function(request).map(|it| anonymous.applied_to(it)))
            }
            Identifier::Later(function) => {
                let identity = function(request);
                MaybeAsync::Later(Box::pin(async move { identity.await.map(|it| anonymous.applied_to(it)) }))
            }
        }
    }

    /// Returns the scope of a request.
    pub(super) fn scope_of(&self, request: RequestParts<'_>) -> Option<Scope> {
        // The request's own scope takes precedence over the throttle's.
        request.extensions.get::<Scope>().or(self.scope.as_ref()).cloned()
    }

    /// Returns the start of a check if an observer needs its duration.
    pub(crate) fn begin(&self) -> Option<Instant> {
        // Reading the clock is a good part of a local check, so only observers make it necessary.
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
