//! The handle of a throttle: shared by its clones, and changeable while it serves.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use http::Extensions;
use traffik_backends::Memory;
use traffik_core::storage::{AsyncStorage, DynStorage, Local};
use traffik_core::{Class, Origin, Strategy, debug_fields};

use super::plan::Plan;
use super::profile::Profile;
use super::registry::{Registration, Switch};
use super::reservation::Reservation;
use super::settings::{Enforcement, ThrottleSettings};
use super::settlement::Settlement;
use crate::http::request::{Fallible, FixedOr, RequestParts};

/// A rate limit on requests, by client.
///
/// Build it with [`in_memory`](Self::in_memory) for one process, or with [`builder`](Self::builder) on a
/// shared store. [`ThrottleLayer`](crate::ThrottleLayer) and [`Throttled`](crate::Throttled) put it in front
/// of a service. Within a handler most callers want [`hit`](Self::hit), which does what the middleware does;
/// [`client`](Self::client) and [`client_for`](Self::client_for) return a client with the operations of a
/// limiter.
///
/// ```
/// use traffik::{TokenBucket, rate};
/// use traffik::web::Throttle;
///
/// let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("100/min"))).build()?;
/// throttle.set_strategy(TokenBucket::new(rate!("200/min"))); // also while it serves
/// assert!(throttle.is_enabled());
/// # Ok::<(), traffik::web::ThrottleError>(())
/// ```
///
/// Defaults: it counts by peer address, at a cost of 1, and sends headers only with denials. If the storage
/// fails, requests are answered 503 with `Retry-After: 1`; [`on_error`](crate::ThrottleBuilder::on_error)
/// changes that. A throttle is cheap to clone, and clones are the same throttle.
///
/// # Changes at run time
///
/// The strategy, the cost, the class, the least wait and the enforcement can change while requests are
/// served. Changes apply to later requests. States stay where they are, under the same keys:
///
/// * A new rate inherits what was used, counted in cost. A larger limit leaves that much more, a smaller one
///   that much less. The change itself grants nothing.
/// * The type of the strategy is fixed; to choose it at run time use [`Erased`](traffik_core::Erased). A
///   state of another strategy counts as that of a new client, unless the new strategy
///   [migrates](traffik_core::Erased::migrating_from) from the old one: then what was used stays used.
/// * A request under way keeps the settings that it began with.
///
/// A request of cost 0 always passes. The name, the storage and the identifier never change, since states and
/// their keys depend on them.
pub struct Throttle<S: Strategy, M>(pub(crate) Arc<ThrottleInner<S, M>>);

/// The type of a throttle in memory, for a field. [`Throttle::in_memory`] makes it.
///
/// ```
/// use traffik::{TokenBucket, rate};
/// use traffik::web::{MemoryThrottle, Throttle, ThrottleError};
///
/// /// The state of a server.
/// #[derive(Clone)]
/// struct App {
///     exports: MemoryThrottle<TokenBucket>,
/// }
///
/// fn app() -> Result<App, ThrottleError> {
///     Ok(App { exports: Throttle::in_memory("exports", TokenBucket::new(rate!("10/h"))).build()? })
/// }
/// # app()?;
/// # Ok::<(), ThrottleError>(())
/// ```
pub type MemoryThrottle<S> = Throttle<S, Local<Memory<S>>>;

/// The type of a throttle on any storage, for a field where the storage is chosen at run time or has
/// layers.
///
/// A throttle on Redis without layers is a `Throttle<S, RedisStorage>`.
///
/// ```
/// use std::sync::Arc;
/// use traffik::storage::{AsyncStorage, DynStorage};
/// use traffik::{Gcra, rate};
/// use traffik::web::{DynThrottle, Throttle, ThrottleError};
///
/// fn api(layered: impl AsyncStorage<Gcra> + 'static) -> Result<DynThrottle<Gcra>, ThrottleError> {
///     let storage: DynStorage<Gcra> = Arc::new(layered);
///     Throttle::builder("api", Gcra::new(rate!("5/s")), storage).build()
/// }
/// ```
pub type DynThrottle<S> = Throttle<S, DynStorage<S>>;

/// Inserts the status of a client into the extensions of its request.
pub(crate) type ExposeFn<S, M> =
    fn(&Throttle<S, M>, &Arc<Plan<S, M>>, &<S as Strategy>::Verdict, Origin, &mut Extensions);

/// The parts of a throttle, which its clones share.
pub(crate) struct ThrottleInner<S: Strategy, M> {
    /// The reservation of the name on the storage. Declared first, so that it is dropped before the storage,
    /// whose address it holds.
    pub(super) reservation: Option<Reservation>,
    pub(crate) profile: Profile,
    pub(crate) settings: ArcSwap<ThrottleSettings<S>>,
    pub(crate) storage: FixedOr<M>,
    pub(crate) after: Settlement<S>,
    pub(crate) expose: Option<ExposeFn<S, M>>,
    /// The reservation of the name in the registry.
    #[expect(dead_code, reason = "only its drop matters")]
    pub(crate) registration: Option<Registration>,
}

impl<S: Strategy, M> Throttle<S, M> {
    /// Returns the name, which separates throttles on the same storage.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.0.profile.uid
    }

    /// Returns the storage; `None` if it is chosen for each request.
    #[must_use]
    pub fn storage(&self) -> Option<&M> {
        self.0.storage.fixed()
    }

    /// Reports whether requests are counted and denied.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.0.settings.load().enabled
    }

    /// Counts and denies requests again.
    pub fn enable(&self) {
        self.0.set_enabled(true);
    }

    /// Lets all requests pass uncounted.
    pub fn disable(&self) {
        self.0.set_enabled(false);
    }

    /// Replaces the strategy.
    pub fn set_strategy(&self, strategy: S) {
        self.0.replace(|settings| settings.set_strategy(strategy.clone()));
    }

    /// Replaces the strategy by a function of the request, as
    /// [`strategy_by`](crate::ThrottleBuilder::strategy_by) does. Strategies of the type and the period of
    /// the last fixed strategy continue with its states; others have separate states.
    pub fn set_strategy_by<A: Fallible<S>>(
        &self,
        strategy: impl Fn(RequestParts<'_>) -> A + Send + Sync + 'static,
    ) {
        let strategy = FixedOr::function(strategy);
        self.0.replace(|settings| settings.strategy = strategy.clone());
    }

    /// Replaces the cost of a request.
    pub fn set_cost(&self, cost: S::Cost) {
        self.0.replace(|settings| settings.cost = FixedOr::Fixed(cost));
    }

    /// Replaces the cost by a function of the request.
    pub fn set_cost_by<A: Fallible<S::Cost>>(
        &self,
        cost: impl Fn(RequestParts<'_>) -> A + Send + Sync + 'static,
    ) {
        let cost = FixedOr::function(cost);
        self.0.replace(|settings| settings.cost = cost.clone());
    }

    /// Replaces the class of all requests.
    pub fn set_class(&self, class: Class) {
        self.0.replace(|settings| settings.class = FixedOr::Fixed(class));
    }

    /// Replaces the least wait that denials report.
    pub fn set_min_wait(&self, min_wait: Duration) {
        self.0.replace(|settings| settings.min_wait = min_wait);
    }

    /// Replaces the clients whom the throttle denies.
    pub fn set_enforcement(&self, enforcement: Enforcement) {
        self.0.replace(|settings| settings.enforcement = enforcement.clone());
    }
}

impl<S: Strategy, M> ThrottleInner<S, M> {
    /// Reports whether the plan is needed after the request has passed.
    pub(crate) const fn needs_more(&self) -> bool {
        self.profile.cache.is_some() || self.expose.is_some() || !matches!(self.after, Settlement::Nothing)
    }

    /// Changes one setting. If two changes are concurrent, both take effect.
    fn replace(&self, change: impl Fn(&mut ThrottleSettings<S>)) {
        // `rcu` runs the closure again if another change was stored meanwhile, so neither is lost.
        self.settings.rcu(|settings| {
            let mut settings = ThrottleSettings::clone(settings);
            change(&mut settings);
            settings
        });
    }

    fn set_enabled(&self, enabled: bool) {
        self.replace(|settings| settings.enabled = enabled);
    }
}

impl<S: Strategy, M: AsyncStorage<S>> Switch for ThrottleInner<S, M> {
    fn set_enabled(&self, enabled: bool) {
        Self::set_enabled(self, enabled);
    }

    fn is_enabled(&self) -> bool {
        self.settings.load().enabled
    }
}

impl<S: Strategy, M> Clone for Throttle<S, M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

debug_fields!([S: Strategy, M] Throttle<S, M>: uid = |it| it.uid());
