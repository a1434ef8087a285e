//! The builder of a throttle.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::response::Parts;
use traffik_backends::Memory;
use traffik_core::storage::{AsyncStorage, BoxFuture, Local};
use traffik_core::strategy::Stats;
use traffik_core::{Strategy, Timer, debug_fields};

use super::handle::{ExposeFn, Throttle, ThrottleInner};
use super::profile::{DelayTimer, Identifier, Profile};
use super::rate_limit_status;
use super::registry::{Registry, Switch};
use super::reservation::Reservation;
use super::settings::{Enforcement, ThrottleSettings};
use super::settlement::Settlement;
use crate::error::ThrottleError;
use crate::http::denial::Handler;
use crate::http::on_error::OnError;
use crate::http::request::{Fallible, FixedOr};
use crate::http::response::Answers;
use crate::identify::{Anonymous, Peer, RequestParts};
use crate::middleware::background::{SpawnFn, background};
use crate::observe::Observe;
use crate::rules::Rules;

mod answers;
mod by_request;
mod clients;

/// The options of a [`Throttle`].
///
/// [`Throttle::in_memory`] and [`Throttle::builder`] return it; [`build`](Self::build) makes the throttle.
///
/// ```
/// use http::Method;
/// use traffik::{TokenBucket, rate};
/// use traffik::web::{ApiKey, HeaderFormat, Rule, Throttle};
///
/// let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("100/min")))
///     .identifier(ApiKey::new("x-api-key".parse()?))
///     .cost_by(|request| if request.method == Method::POST { 10 } else { 1 })
///     .bypass(Rule::new().path("/health"))
///     .headers(HeaderFormat::Draft10)
///     .build()?;
/// assert_eq!(throttle.uid(), "api");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// An option that can depend on the request takes a value, a function of the request's
/// [parts](RequestParts) (`.._by`), or an asynchronous function (`.._by_async`). A function returns a value
/// or a result; see [`RequestError`](crate::RequestError).
///
/// A future outlives the borrowed parts of the request, so an asynchronous function first copies the values
/// it needs: `|request| { let path = request.uri.clone(); async move { .. } }`. An `async |request|` closure
/// would keep the borrow, and does not compile. A request waits for the future without a bound; if its client
/// goes away, the future is dropped.
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
    /// Returns the builder of a throttle that runs `strategy` in a new memory, with room for 65 536 clients.
    pub fn in_memory(uid: &str, strategy: S) -> ThrottleBuilder<S, Local<Memory<S>>> {
        Self::builder(uid, strategy, Local(Memory::builder().build()))
    }
}

impl<S: Strategy, M: AsyncStorage<S> + 'static> Throttle<S, M> {
    /// Returns the builder of a throttle that runs `strategy` in `storage`.
    ///
    /// The `uid` separates throttles that share a storage, and names the policy in headers. It has 1 to 64
    /// of the characters `a-z A-Z 0-9 . _ : -`.
    pub fn builder(uid: &str, strategy: S, storage: M) -> ThrottleBuilder<S, M> {
        ThrottleBuilder::new(uid, strategy, FixedOr::Fixed(storage))
    }
}

impl<S: Strategy, M: AsyncStorage<S> + Clone + 'static> Throttle<S, M> {
    /// Returns the builder of a throttle that runs `strategy` in the storage that `storage` chooses for each
    /// request, such as that of a tenant; see [`Tenants`](crate::Tenants).
    pub fn builder_by<A: Fallible<M>>(
        uid: &str,
        strategy: S,
        storage: impl Fn(RequestParts<'_>) -> A + Send + Sync + 'static,
    ) -> ThrottleBuilder<S, M> {
        ThrottleBuilder::new(uid, strategy, FixedOr::function(storage))
    }

    /// Returns the builder of a throttle whose storage is chosen asynchronously for each request; otherwise
    /// like [`builder_by`](Self::builder_by).
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
            delay_timer: None,
            max_delay: Duration::MAX,
            spawner: None,
            observers: Vec::new(),
        };
        let settings = ThrottleSettings::of(strategy);
        let (after, expose, registry, is_shared) = (Settlement::Nothing, None, None, false);
        Self { profile, settings, storage, after, expose, registry, is_shared }
    }

    /// Counts a request only if `counts` returns true for its response, for example only failed logins.
    ///
    /// A request is charged before it is passed on, so that requests under way at a time cannot exceed the
    /// limit. If its response does not count, the charge is refunded. A request stays charged if its client
    /// goes away before the response, or if the service fails without one.
    pub fn charge_if(mut self, counts: impl Fn(&Parts) -> bool + Send + Sync + 'static) -> Self {
        self.after = Settlement::ChargeIf(Arc::new(counts));
        self
    }

    /// Sets the clients whom the throttle denies. Defaults to all.
    pub fn enforcement(mut self, enforcement: Enforcement) -> Self {
        self.settings.enforcement = enforcement;
        self
    }

    /// Starts disabled: all requests pass uncounted until [`enable`](Throttle::enable) is called.
    pub fn disabled(mut self) -> Self {
        self.settings.enabled = false;
        self
    }

    /// Sets what throttles of one `ThrottleDefaults` share.
    pub(crate) fn common(mut self, handler: Option<Handler>, spawner: Option<Arc<SpawnFn>>) -> Self {
        (self.profile.handler, self.profile.spawner) = (handler, spawner);
        self
    }

    /// Sets the timer that waits for the delays of a queueing strategy. Defaults to none.
    ///
    /// Without a runtime a request that would be delayed is answered 429, and its place in the queue is
    /// refunded. The turn of a client that goes away passes to the waiters behind it in this process. The
    /// last turn goes back to the storage; a remote one gets it in the [background](Self::spawner).
    pub fn runtime(mut self, timer: impl Timer + Send + Sync + 'static) -> Self {
        self.profile.delay_timer = Some(Arc::new(DelayTimer::on(timer)));
        self
    }

    /// Limits the delay of a request. A request whose turn is further away is answered 429, and its place in
    /// the queue is refunded; `Retry-After` says when its turn would be near enough. Defaults to no limit.
    pub fn max_delay(mut self, max_delay: Duration) -> Self {
        self.profile.max_delay = max_delay;
        self
    }

    /// Sets the function that runs futures in the background: `|future| drop(tokio::spawn(future))`.
    ///
    /// It runs calls of remote storages for which no request waits, such as the refund of a request whose
    /// client went away. Without a spawner those calls are not made, and a client that goes away during the
    /// check of [several throttles](crate::ThrottleSet) may leave some of them charged.
    pub fn spawner(mut self, spawn: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static) -> Self {
        self.profile.spawner = Some(background(spawn));
        self
    }

    /// Reports every request to `observer`. Several observers may be added.
    pub fn observe(mut self, observer: impl Observe + 'static) -> Self {
        self.profile.observers.push(Box::new(observer));
        self
    }

    /// Enters the throttle in a registry, which refuses a second throttle of this name while this one is in
    /// use.
    pub fn register(mut self, registry: &Registry) -> Self {
        self.registry = Some(registry.clone());
        self
    }

    /// Allows other throttles of this name on the same storage, and counts together with them. Choose it for
    /// a reload of limits, where a throttle and its successor overlap. Without it the second throttle is
    /// [refused](Self::build). To limit in several places, clone the throttle instead.
    pub fn shared(mut self) -> Self {
        self.is_shared = true;
        self
    }
}

impl<S: Strategy<Cost = u32>, M> ThrottleBuilder<S, M> {
    /// Charges a request by its response: `cost` receives the head and the length of the sent body in
    /// bytes.
    ///
    /// Until the body has ended, the request is charged its normal cost, as a reserve. Then the difference is
    /// refunded, or charged even beyond the limit. So a client that has used up its limit is not cut off, but
    /// denied the next time. The end of the body is held back until a remote storage has answered. If the
    /// body is dropped, the storage is called in the [background](Self::spawner).
    pub fn settle_by(mut self, cost: impl Fn(&Parts, u64) -> u32 + Send + Sync + 'static) -> Self {
        self.after = Settlement::settle(cost);
        self
    }
}

impl<S: Strategy<Stat: Stats>, M: AsyncStorage<S> + 'static> ThrottleBuilder<S, M> {
    /// Inserts a [`RateLimitStatus`](crate::RateLimitStatus) into the extensions of every counted request,
    /// for the service behind. This takes a few allocations.
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
    /// * [`Name`](ThrottleError::Name) if its name, or that of a policy, is empty, too long for a header or
    ///   has other characters than [`builder`](Throttle::builder) allows.
    /// * [`Rule`](ThrottleError::Rule) if one of its rules has a condition that no request can meet.
    /// * [`Taken`](ThrottleError::Taken) if a throttle in its [registry](Self::register) has its name.
    /// * [`Shared`](ThrottleError::Shared) if another throttle of this process has its name and scope and
    ///   counts in the same storage, also in a clone or behind layers: both would count as one. This is not
    ///   detected for a storage that is chosen for each request, that was made twice for one store, or that
    ///   has no [`wait_queue`](AsyncStorage::wait_queue). See [`shared`](Self::shared).
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
        // The reservation holds the address of the storage, which is final only within the `Arc`.
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
