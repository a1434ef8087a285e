//! A throttle as it is held: shared by its clones, and changed while it serves.

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

/// Limits requests by who sends them.
///
/// Counts by peer address, a cost of 1 each, and tells a client where it stands only when it is denied, unless
/// said otherwise. Cheap to clone; clones are the same throttle.
///
/// When the storage cannot answer, the request is answered 503 with `Retry-Settlement: 1`: nobody passes unchecked, unless
/// [told so](crate::ThrottleBuilder::on_error).
///
/// It is put in front of a service by [`ThrottleLayer`](crate::ThrottleLayer) or [`Throttled`](crate::Throttled), or
/// asked within one: [`hit`](Self::hit) does with a request all that the middleware does, and
/// [`client`](Self::client) or [`known`](Self::client_for) gives the verbs of a limiter for one client.
///
/// ```
/// use traffik::{TokenBucket, rate};
/// use traffik::web::Throttle;
///
/// let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("100/min"))).build()?;
/// # let _ = throttle;
/// # Ok::<(), traffik::web::ThrottleError>(())
/// ```
///
/// # What can be replaced
///
/// The limit, the cost, the class, the least wait and the enforcement can be replaced while requests are served, each
/// for the requests that come after. States stay where they are, under the same keys:
///
/// * A limit of another rate inherits what was used: it stays used, counted in cost. A larger limit has as much more,
///   a smaller one as much less, and nothing is granted by the change.
/// * The type of the limit is fixed; a limit whose strategy is to be chosen anew is an
///   [`Erased`](traffik_core::Erased). A state left by another strategy counts as that of a client never seen, unless
///   the new one is told that it [succeeds](traffik_core::Erased::migrating_from) the old: then what was in use stays used.
/// * A request under way keeps what held when it came.
///
/// Cost 0 passes always; the name, the storage and the identifier stay for good, since the keys depend on them.
pub struct Throttle<S: Strategy, M>(pub(crate) Arc<ThrottleInner<S, M>>);

/// A throttle in a memory of its own, as [`Throttle::in_memory`] makes it: the type of a field.
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

/// A throttle on a storage of any type, such as one with layers around it: the type of a field where the
/// storage is chosen at run time. One on Redis without layers is a `Throttle<S, RedisStorage>`.
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

/// Notes where a client stands.
pub(crate) type ExposeFn<S, M> =
    fn(&Throttle<S, M>, &Arc<Plan<S, M>>, &<S as Strategy>::Verdict, Origin, &mut Extensions);

/// All that a throttle is.
pub(crate) struct ThrottleInner<S: Strategy, M> {
    /// Keeps the name on the storage from others; dropped before the storage, whose address it is.
    pub(super) reservation: Option<Reservation>,
    pub(crate) profile: Profile,
    pub(crate) settings: ArcSwap<ThrottleSettings<S>>,
    pub(crate) storage: FixedOr<M>,
    pub(crate) after: Settlement<S>,
    pub(crate) expose: Option<ExposeFn<S, M>>,
    /// Keeps the name from others.
    #[expect(dead_code, reason = "it is there to be dropped")]
    pub(crate) registration: Option<Registration>,
}

impl<S: Strategy, M> Throttle<S, M> {
    /// The name that keeps this throttle apart from others on the same storage.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.0.profile.uid
    }

    /// The storage it counts in; `None` if it is chosen for each request.
    #[must_use]
    pub fn storage(&self) -> Option<&M> {
        self.0.storage.fixed()
    }

    /// Whether requests are counted and denied.
    #[must_use]
    pub fn is_enabled(&self) -> bool {
        self.0.settings.load().enabled
    }

    /// Counts and denies again.
    pub fn enable(&self) {
        self.0.set_enabled(true);
    }

    /// Lets all requests pass, uncounted.
    pub fn disable(&self) {
        self.0.set_enabled(false);
    }

    /// Replaces the limit.
    pub fn set_strategy(&self, strategy: S) {
        self.0.replace(|settings| settings.set_strategy(strategy.clone()));
    }

    /// Replaces the limit by a function of the request, as
    /// [`strategy_by`](crate::ThrottleBuilder::strategy_by) does: limits of the strategy and the period that were
    /// fixed before go on with what was used, others keep states of their own.
    pub fn set_strategy_by<A: Fallible<S>>(
        &self,
        limit: impl Fn(RequestParts<'_>) -> A + Send + Sync + 'static,
    ) {
        let limit = FixedOr::function(limit);
        self.0.replace(|settings| settings.strategy = limit.clone());
    }

    /// Replaces what a request costs.
    pub fn set_cost(&self, cost: S::Cost) {
        self.0.replace(|settings| settings.cost = FixedOr::Fixed(cost));
    }

    /// Replaces what a request costs by a function of it.
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

    /// Replaces the least that a denied client is told to wait.
    pub fn set_min_wait(&self, min_wait: Duration) {
        self.0.replace(|settings| settings.min_wait = min_wait);
    }

    /// Replaces for whom the throttle denies.
    pub fn set_enforcement(&self, enforcement: Enforcement) {
        self.0.replace(|settings| settings.enforcement = enforcement.clone());
    }
}

impl<S: Strategy, M> ThrottleInner<S, M> {
    /// Whether a plan is asked for once more after the request was let pass.
    pub(crate) const fn needs_more(&self) -> bool {
        self.profile.cache.is_some() || self.expose.is_some() || !matches!(self.after, Settlement::Nothing)
    }

    /// Changes one setting; two changes at a time are both made.
    fn replace(&self, change: impl Fn(&mut ThrottleSettings<S>)) {
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
