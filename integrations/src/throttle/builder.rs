//! The options of a throttle.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, HeaderName, HeaderValue, ORIGIN};
use http::response::Parts;
use http::{Method, Response};
use traffik_backends::Memory;
use traffik_core::storage::{AsyncStorage, BoxFuture, Local};
use traffik_core::strategy::Stats;
use traffik_core::{Strategy, Timer, debug_fields};

use super::handle::{ExposeFn, Throttle, ThrottleInner};
use super::profile::{DelayTimer, Identifier, IdentityCache, Profile, Scope};
use super::rate_limit_status;
use super::registry::{Registry, Switch};
use super::reservation::Reservation;
use super::settings::{Enforcement, ThrottleSettings};
use super::settlement::Settlement;
use crate::HeaderFormat;
use crate::error::ThrottleError;
use crate::http::denial::{Denial, Handler};
use crate::http::on_error::OnError;
use crate::http::request::{Fallible, FixedOr};
use crate::http::response::{Answers, SendWhen};
use crate::identify::{Anonymous, Identify, Identity, Peer, RequestParts};
use crate::middleware::background::{Spawn, background};
use crate::observe::Observe;
use crate::rules::{Rule, Rules};

mod by_request;

/// The options of a [`Throttle`].
///
/// What can depend on the request is given as a value, by a function of its [parts](RequestParts) (`.._by`),
/// or by one that answers asynchronously (`.._by_async`). A function may answer with a value or with a
/// result; see [`RequestError`](crate::RequestError).
///
/// A future outlives the parts of the request, which the middleware keeps, so such a function takes what it
/// needs out of them first: `|request| { let path = request.uri.clone(); async move { .. } }`. An
/// `async |request|` closure would hold on to them, and does not compile.
#[must_use = "a throttle limits nothing until it is built and put in front of a service"]
pub struct ThrottleBuilder<S: Strategy, M> {
    profile: Profile,
    settings: ThrottleSettings<S>,
    storage: FixedOr<M>,
    after: Settlement<S>,
    expose: Option<ExposeFn<S, M>>,
    registry: Option<Registry>,
    is_shared: bool,
}

impl<S: Strategy> Throttle<S, Local<Memory<S>>> {
    /// Runs `limit` in a memory of its own with room for 65 536 clients.
    pub fn in_memory(uid: &str, strategy: S) -> ThrottleBuilder<S, Local<Memory<S>>> {
        Self::builder(uid, strategy, Local(Memory::builder().build()))
    }
}

impl<S: Strategy, M: AsyncStorage<S> + 'static> Throttle<S, M> {
    /// Runs `limit` in `storage`. The `uid` keeps throttles that share a storage apart, and names the policy
    /// in headers: 1 to 64 of the characters `a-z A-Z 0-9 . _ : -`.
    pub fn builder(uid: &str, strategy: S, storage: M) -> ThrottleBuilder<S, M> {
        ThrottleBuilder::new(uid, strategy, FixedOr::Fixed(storage))
    }
}

impl<S: Strategy, M: AsyncStorage<S> + Clone + 'static> Throttle<S, M> {
    /// Runs `limit` in the storage that `storage` chooses for each request, such as that of a tenant; see
    /// [`Tenants`](crate::Tenants).
    pub fn builder_by<A: Fallible<M>>(
        uid: &str,
        strategy: S,
        storage: impl Fn(RequestParts<'_>) -> A + Send + Sync + 'static,
    ) -> ThrottleBuilder<S, M> {
        ThrottleBuilder::new(uid, strategy, FixedOr::function(storage))
    }

    /// The same, chosen asynchronously.
    pub fn builder_by_async<A: Fallible<M> + 'static, F: Future<Output = A> + Send + 'static>(
        uid: &str,
        strategy: S,
        storage: impl Fn(RequestParts<'_>) -> F + Send + Sync + 'static,
    ) -> ThrottleBuilder<S, M> {
        ThrottleBuilder::new(uid, strategy, FixedOr::awaited(storage))
    }
}

impl<S: Strategy, M> ThrottleBuilder<S, M> {
    fn new(uid: &str, strategy: S, storage: FixedOr<M>) -> Self {
        let profile = Profile {
            uid: uid.to_owned(),
            rules: Rules::default(),
            identifier: Identifier::Now(Box::new(Peer::default())),
            anonymous: Anonymous::Bucket,
            cache: None,
            scope: None,
            answers: Answers::new(vec![uid.to_owned()]),
            handler: None,
            on_error: OnError::Throttle,
            pause: None,
            max_delay: Duration::MAX,
            spawner: None,
            observers: Vec::new(),
        };
        let settings = ThrottleSettings::of(strategy);
        let (after, expose, registry, is_shared) = (Settlement::Nothing, None, None, false);
        Self { profile, settings, storage, after, expose, registry, is_shared }
    }

    /// Counts by what `identifier` says instead of by peer address.
    pub fn identifier(mut self, identifier: impl Identify + 'static) -> Self {
        self.profile.identifier = Identifier::Now(Box::new(identifier));
        self
    }

    /// Counts by what a function of the request says.
    ///
    /// ```
    /// use traffik::{Gcra, rate};
    /// use traffik::web::{Identity, Throttle};
    ///
    /// let throttle = Throttle::in_memory("api", Gcra::new(rate!("5/s"))).identifier_by(|request| {
    ///     let Some(user) = request.headers.get("x-user") else { return Ok(Identity::anonymous()) };
    ///     Ok(Identity::of(b'h', user.to_str()?.as_bytes())) // a failure, if it is no text
    /// });
    /// # let _ = throttle.build()?;
    /// # Ok::<(), traffik::web::ThrottleError>(())
    /// ```
    pub fn identifier_by<A: Fallible<Identity>>(
        mut self,
        identifier: impl Fn(RequestParts<'_>) -> A + Send + Sync + 'static,
    ) -> Self {
        self.profile.identifier =
            Identifier::Function(Box::new(move |request| identifier(request).into_result()));
        self
    }

    /// Counts by what `identifier` says, asynchronously.
    pub fn identifier_async<A: Fallible<Identity> + 'static, F: Future<Output = A> + Send + 'static>(
        mut self,
        identifier: impl Fn(RequestParts<'_>) -> F + Send + Sync + 'static,
    ) -> Self {
        self.profile.identifier = Identifier::Later(Box::new(move |request| {
            let answer = identifier(request);
            Box::pin(async move { answer.await.into_result() })
        }));
        self
    }

    /// Applies to requests that meet this rule, or another one given so; to all, if none is.
    pub fn apply_to(mut self, rule: Rule) -> Self {
        self.profile.rules.apply_to(rule);
        self
    }

    /// Lets requests that meet this rule pass, uncounted. A path that was spelled oddly, such as
    /// `/a/../health`, is counted all the same: see [`Rule`].
    pub fn bypass(mut self, rule: Rule) -> Self {
        self.profile.rules.bypass(rule);
        self
    }

    /// Lets the preflights of browsers pass, uncounted: `OPTIONS` that ask, by `Origin` and
    /// `Access-Control-Request-Method`, whether a page of another site may send a request. The request itself
    /// is counted.
    ///
    /// For such a page to read a denial, the layer that writes the headers of CORS stands outside the
    /// throttle, and lists what the page may read, such as `Retry-Settlement` and `RateLimit`, in
    /// `Access-Control-Expose-Headers`. Where no layer does, [`header`](Self::header) can.
    pub fn bypass_preflights(self) -> Self {
        let asks = |name: HeaderName| move |request: RequestParts<'_>| request.headers.contains_key(&name);
        let preflight = Rule::new().methods([Method::OPTIONS]).when(asks(ORIGIN));
        self.bypass(preflight.when(asks(ACCESS_CONTROL_REQUEST_METHOD)))
    }

    /// Shares what the identifier says with all throttles that are given the same cache, so that it is asked
    /// once per request.
    pub fn identity_cache(mut self, cache: IdentityCache) -> Self {
        self.profile.cache = Some(cache);
        self
    }

    /// A request counts only if this is so of its response, such as that a login has failed.
    ///
    /// It is charged before it is passed on, so that no more than the limit are under way at a time, and what
    /// it was charged is given back if its response does not count. One whose client goes away before stays
    /// charged.
    pub fn charge_if(mut self, counts: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.after = Settlement::ChargeIf(Arc::new(counts));
        self
    }

    /// Treats requests about whose sender nothing is known, such as those without an API key; by default they
    /// share one limit. A request whose address is not known is refused: see [`Peer`].
    pub fn anonymous(mut self, anonymous: Anonymous) -> Self {
        self.profile.anonymous = anonymous;
        self
    }

    /// Counts requests in this scope; one in the extensions of a request takes its namespace.
    pub fn scope(mut self, scope: impl Into<Scope>) -> Self {
        self.profile.scope = Some(scope.into());
        self
    }

    /// The least that a denied client is told to wait. Nobody is denied for it.
    pub fn min_wait(mut self, min_wait: Duration) -> Self {
        self.settings.min_wait = min_wait;
        self
    }

    /// For whom the throttle denies; for all, if not said otherwise.
    pub fn enforcement(mut self, enforcement: Enforcement) -> Self {
        self.settings.enforcement = enforcement;
        self
    }

    /// Begins disabled: until [enabled](Throttle::enable), all requests pass, uncounted.
    pub fn disabled(mut self) -> Self {
        self.settings.enabled = false;
        self
    }

    /// Tells clients where they stand with every response, in this format.
    pub fn headers(mut self, format: HeaderFormat) -> Self {
        self.profile.answers.format = format;
        self
    }

    /// Sends a header of one's own with every response to a request that was counted. Replaces what a
    /// [handler](Self::on_throttled) sets.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.profile.answers.extra.push((name, value, SendWhen::Always));
        self
    }

    /// Sends a header of one's own with denials. Replaces what a [handler](Self::on_throttled) sets.
    pub fn denial_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.profile.answers.extra.push((name, value, SendWhen::WhenDenied));
        self
    }

    /// Names the policies of a composed limit, in their order; without it all bear the throttle's own name.
    pub fn policies<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.profile.answers.names = names.into_iter().map(str::to_owned).collect();
        self
    }

    /// Answers denials; [`Denial::response`] is what they would be answered otherwise.
    pub fn on_throttled(
        mut self,
        handler: impl Fn(&Denial<'_>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.profile.handler = Some(Handler::Now(Arc::new(handler)));
        self
    }

    /// Answers denials asynchronously.
    pub fn on_throttled_async<F: Future<Output = Response<Bytes>> + Send + 'static>(
        mut self,
        handler: impl Fn(&Denial<'_>) -> F + Send + Sync + 'static,
    ) -> Self {
        self.profile.handler = Some(Handler::Awaited(Arc::new(move |denial| Box::pin(handler(denial)))));
        self
    }

    pub(crate) fn common(mut self, handler: Option<Handler>, spawner: Option<Arc<Spawn>>) -> Self {
        (self.profile.handler, self.profile.spawner) = (handler, spawner);
        self
    }

    /// What is done when the storage, or a function of the request, fails.
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.profile.on_error = on_error;
        self
    }

    /// Sits out the delays of a queueing strategy on this runtime. Without a runtime a request that would
    /// have to be delayed is answered 429 instead, and its namespace in the queue given back.
    /// The turn of a client that goes away goes to those behind it in this process, and the last one back to
    /// the storage; to one elsewhere in the [background](Self::spawner).
    pub fn runtime(mut self, timer: impl Timer + Send + Sync + 'static) -> Self {
        self.profile.pause = Some(Arc::new(DelayTimer::on(timer)));
        self
    }

    /// Delays no request for longer than this: one whose turn is further away is answered 429, and its place
    /// in the queue given back. `Retry-Settlement` is when its turn would be near enough. Without it a request
    /// waits for as long as the queue is.
    pub fn max_delay(mut self, max_delay: Duration) -> Self {
        self.profile.max_delay = max_delay;
        self
    }

    /// Runs in the background what is to be told to a storage elsewhere when nobody waits for it any more,
    /// such as the refund of a request whose client went away: `|future| drop(tokio::spawn(future))`. Without
    /// it that is not told, and a client that goes away while [several throttles](crate::ThrottleSet) are asked
    /// may leave some of them charged.
    pub fn spawner(mut self, spawn: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static) -> Self {
        self.profile.spawner = Some(background(spawn));
        self
    }

    /// Tells `observer` of every request; several may be given.
    pub fn observe(mut self, observer: impl Observe + 'static) -> Self {
        self.profile.observers.push(Box::new(observer));
        self
    }

    /// Enters the throttle in a registry, which refuses a second one of the same name as long as this one is
    /// in use.
    pub fn register(mut self, registry: &Registry) -> Self {
        self.registry = Some(registry.clone());
        self
    }

    /// Counts together with other throttles of this name on the same storage, such as the one that it takes
    /// the place of when limits are read anew. Without it they are [refused](Self::build). Where one throttle
    /// is to limit in several namespaces, clone it instead.
    pub fn shared(mut self) -> Self {
        self.is_shared = true;
        self
    }
}

impl<S: Strategy<Cost = u32>, M> ThrottleBuilder<S, M> {
    /// A request costs what `cost` says once the body of its response, of so many bytes, has been sent or
    /// given up.
    ///
    /// Until then it costs what it was charged before it was passed on, a reserve; then the difference is
    /// given back, or charged without asking. So a client that has used up its limit is not cut off, but
    /// denied the next time. A storage elsewhere is told while the end of the body is held back, or else in
    /// the [background](Self::spawner).
    pub fn settle_by(mut self, cost: impl Fn(&Parts, u64) -> u32 + Send + Sync + 'static) -> Self {
        self.after = Settlement::settle(cost);
        self
    }
}

impl<S: Strategy<Stat: Stats>, M: AsyncStorage<S> + 'static> ThrottleBuilder<S, M> {
    /// Notes on every counted request where its client stands, for the service behind: a
    /// [`RateLimitStatus`](crate::RateLimitStatus) in the request's extensions. That takes a few allocations.
    pub fn expose(mut self) -> Self {
        self.expose = Some(rate_limit_status::expose);
        self
    }
}

impl<S: Strategy, M: AsyncStorage<S> + 'static> ThrottleBuilder<S, M> {
    /// Builds the throttle.
    ///
    /// # Errors
    ///
    /// * [`Name`](ThrottleError::Name) if its name, or that of a policy, cannot stand in a header.
    /// * [`Rule`](ThrottleError::Rule) if no request can meet one of its rules.
    /// * [`Taken`](ThrottleError::Taken) if a throttle in its [registry](Self::register) has its name.
    /// * [`Shared`](ThrottleError::Shared) if another throttle of this process has its name, and counts in
    ///   the same storage, be it in a clone or behind layers: both would count as one. Nothing is noticed of
    ///   a storage that is chosen for each request, that was made twice for one store, or that has no
    ///   [`wait_queue`](AsyncStorage::wait_queue). See [`shared`](Self::shared).
    pub fn build(self) -> Result<Throttle<S, M>, ThrottleError> {
        let Self { profile, settings, storage, after, expose, registry, is_shared } = self;
        for name in profile.answers.names.iter().chain([&profile.uid]) {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
            if !(1..=64).contains(&name.len()) || !name.bytes().all(plain) {
                return Err(ThrottleError::Name(name.clone()));
            }
        }
        profile.rules.check()?;
        let registration = match &registry {
            Some(registry) => Some(registry.reserve(&profile.uid)?),
            None => None,
        };
        let settings = ArcSwap::from_pointee(settings);
        let reservation = None;
        let mut inner =
            Arc::new(ThrottleInner { reservation, profile, settings, storage, after, expose, registration });
        // Where it is, its storage stays.
        let ThrottleInner { profile, storage, .. } = &*inner;
        if let Some(queue) = storage.fixed().and_then(AsyncStorage::wait_queue) {
            let reserved = Reservation::new(queue, &profile.uid, profile.scope.as_ref(), is_shared)?;
            if let Some(inner) = Arc::get_mut(&mut inner) {
                inner.reservation = Some(reserved);
            }
        }
        if let Some(registry) = &registry {
            let control: Arc<dyn Switch> = Arc::clone(&inner) as _;
            registry.enter(&inner.profile.uid, Arc::downgrade(&control));
        }
        Ok(Throttle(inner))
    }
}

debug_fields!([S: Strategy, M] ThrottleBuilder<S, M>: uid = |it| &it.profile.uid);
