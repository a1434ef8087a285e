//! A limit on requests: who is asking, what a request costs, and what is answered.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use traffik_core::storage::{AsyncStorage, BoxFuture};
use traffik_core::{Class, Strategy};

use crate::http::denial::Handler;
use crate::http::on_error::OnError;
use crate::http::request::{Fallible, Source};
use crate::http::response::Answers;
use crate::identify::{Anonymous, RequestParts};
use crate::observe::Observe;
use crate::rules::Rules;
use crate::throttle::registry::{Registration, Switch};

pub(crate) mod after;
mod base;
mod builder;
mod client;
pub(crate) mod prepare;
mod registry;
mod settings;
mod standing;
mod tenants;

use after::After;
pub use base::Base;
pub use builder::{NameError, ThrottleBuilder};
pub use client::Client;
#[cfg(feature = "websocket")]
pub(crate) use prepare::nowhere;
pub use prepare::{IdentityCache, Scope};
pub(crate) use prepare::{Known, Plan, Planned, Prepared, Why};
use prepare::{Place, Who};
pub use registry::{Registry, RegistryError};
use settings::Settings;
pub use settings::{Enforcement, Part};
pub use standing::Standing;
pub use tenants::Tenants;

/// Limits requests by who sends them.
///
/// Counts by peer address, a cost of 1 each, and tells a client where it stands only when it is denied, unless
/// said otherwise. Cheap to clone; clones are the same throttle.
///
/// When the storage cannot answer, the request is answered 503 with `Retry-After: 1`: nobody passes unchecked, unless
/// [told so](ThrottleBuilder::on_error).
///
/// It is put in front of a service by [`ThrottleLayer`](crate::ThrottleLayer) or [`Throttled`](crate::Throttled), or
/// asked within one: [`hit`](Self::hit) does with a request all that the middleware does, and
/// [`client`](Self::client) or [`known`](Self::known) gives the verbs of a limiter for one client.
///
/// ```
/// use traffik_core::{TokenBucket, rate};
/// use traffik_integrations::Throttle;
///
/// let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("100/min"))).build()?;
/// # let _ = throttle;
/// # Ok::<(), traffik_integrations::NameError>(())
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
///   the new one is told that it [succeeds](traffik_core::Erased::succeeding) the old: then what was in use stays used.
/// * A request under way keeps what held when it came.
///
/// Cost 0 passes always; the name, the storage and the identifier stay for good, since the keys depend on them.
pub struct Throttle<S: Strategy, M>(pub(crate) Arc<Inner<S, M>>);

/// All that a throttle is.
pub(crate) struct Inner<S: Strategy, M> {
    pub(crate) uid: String,
    pub(crate) settings: ArcSwap<Settings<S>>,
    pub(crate) storage: Place<M>,
    pub(crate) rules: Rules,
    pub(crate) after: After<S>,
    pub(crate) expose: Option<standing::Expose<S, M>>,
    pub(crate) who: Who,
    pub(crate) anonymous: Anonymous,
    pub(crate) cache: Option<IdentityCache>,
    pub(crate) scope: Option<Scope>,
    pub(crate) answers: Answers,
    pub(crate) handler: Option<Handler>,
    pub(crate) on_error: OnError,
    pub(crate) delay: Option<Box<Delay>>,
    pub(crate) spawner: Option<Arc<Spawn>>,
    pub(crate) observers: Vec<Box<dyn Observe>>,
    /// Keeps the name from others.
    #[expect(dead_code, reason = "it is there to be dropped")]
    pub(crate) registration: Option<Registration>,
}

/// Sleeps on some runtime.
pub(crate) type Delay = dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync;

/// Runs something in the background.
pub(crate) type Spawn = dyn Fn(BoxFuture<'static, ()>) + Send + Sync;

impl<S: Strategy, M> Throttle<S, M> {
    /// The name that keeps this throttle apart from others on the same storage.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.0.uid
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
    pub fn set_limit(&self, limit: S) {
        self.0.replace(|settings| settings.limit = Source::Fixed(limit.clone()));
    }

    /// Replaces the limit by a function of the request.
    pub fn set_limit_by<A: Fallible<S>>(
        &self,
        limit: impl Fn(RequestParts<'_>) -> A + Send + Sync + 'static,
    ) {
        let limit = Source::function(limit);
        self.0.replace(|settings| settings.limit = limit.clone());
    }

    /// Replaces what a request costs.
    pub fn set_cost(&self, cost: S::Cost) {
        self.0.replace(|settings| settings.cost = Source::Fixed(cost));
    }

    /// Replaces what a request costs by a function of it.
    pub fn set_cost_by<A: Fallible<S::Cost>>(
        &self,
        cost: impl Fn(RequestParts<'_>) -> A + Send + Sync + 'static,
    ) {
        let cost = Source::function(cost);
        self.0.replace(|settings| settings.cost = cost.clone());
    }

    /// Replaces the class of all requests.
    pub fn set_class(&self, class: Class) {
        self.0.replace(|settings| settings.class = Source::Fixed(class));
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

impl<S: Strategy, M> Inner<S, M> {
    /// Changes one setting; two changes at a time are both made.
    fn replace(&self, change: impl Fn(&mut Settings<S>)) {
        self.settings.rcu(|settings| {
            let mut settings = Settings::clone(settings);
            change(&mut settings);
            settings
        });
    }

    fn set_enabled(&self, enabled: bool) {
        self.replace(|settings| settings.enabled = enabled);
    }
}

impl<S: Strategy, M: AsyncStorage<S>> Switch for Inner<S, M> {
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

impl<S: Strategy, M> fmt::Debug for Throttle<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").field("uid", &self.0.uid).finish_non_exhaustive()
    }
}
