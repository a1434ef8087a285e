//! The rate-limit status of a client, for the service behind a throttle.

use std::fmt;
use std::sync::Arc;

use http::Extensions;
use traffik_core::storage::{AsyncStorage, BackendError, BoxFuture};
use traffik_core::strategy::{Stats, StatsSnapshot};
use traffik_core::{Decision, Origin, Strategy, Verdict};

use super::handle::Throttle;
use super::plan::Plan;

/// The rate-limit status of a request's client, in the request's extensions.
///
/// Choose it to show users how much is left. [`expose`](crate::ThrottleBuilder::expose) makes a throttle
/// insert it. With axum and actix-web it is an extractor (features `axum`, `actix`).
///
/// ```
/// # async fn handler(request: http::Request<()>) -> Option<String> {
/// use traffik::web::RateLimitStatus;
///
/// let api = RateLimitStatus::of(request.extensions(), "api")?;
/// let left = api.policies().next()?.1.remaining();
/// let used = api.stat().await.ok()?.find("current_count"); // the strategy's own figures, by name
/// # Some(format!("{left} left, {used:?} used"))
/// # }
/// ```
#[derive(Clone)]
pub struct RateLimitStatus(Arc<StatusInner>);

struct StatusInner {
    throttle: String,
    policies: Vec<(String, Decision)>,
    origin: Origin,
    stat: Box<dyn Fn() -> BoxFuture<'static, Result<StatsSnapshot, BackendError>> + Send + Sync>,
}

/// All statuses of a request, the outermost throttle first.
#[derive(Clone, Default)]
struct StatusList(Vec<RateLimitStatus>);

impl RateLimitStatus {
    /// Returns the status that the throttle of this name has inserted.
    #[must_use]
    pub fn of(extensions: &Extensions, throttle: &str) -> Option<Self> {
        Self::all(extensions).find(|status| status.throttle() == throttle).cloned()
    }

    /// Yields the statuses of all throttles, the outermost first.
    pub fn all(extensions: &Extensions) -> impl Iterator<Item = &Self> {
        extensions.get::<StatusList>().into_iter().flat_map(|list| &list.0)
    }

    /// Returns the name of the throttle.
    #[must_use]
    pub fn throttle(&self) -> &str {
        &self.0.throttle
    }

    /// Yields the name and the decision of each limit.
    pub fn policies(&self) -> impl Iterator<Item = (&str, &Decision)> {
        self.0.policies.iter().map(|(name, decision)| (name.as_str(), decision))
    }

    /// Returns where the decision comes from, such as the store or a fallback.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.0.origin
    }

    /// Loads the strategy's own figures for the client, as they are now; `find` returns one by name.
    ///
    /// Waits for the storage, as long as its timeout allows. A dropped future changes nothing.
    ///
    /// # Errors
    ///
    /// Fails with a [`BackendError`] if the storage fails.
    pub async fn stat(&self) -> Result<StatsSnapshot, BackendError> {
        (self.0.stat)().await
    }
}

impl fmt::Debug for RateLimitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let StatusInner { throttle, policies, origin, .. } = &*self.0;
        f.debug_struct("RateLimitStatus")
            .field("throttle", throttle)
            .field("policies", policies)
            .field("origin", origin)
            .finish()
    }
}

/// Inserts the status into a request's extensions.
pub(crate) fn expose<S, M>(
    throttle: &Throttle<S, M>,
    plan: &Arc<Plan<S, M>>,
    verdict: &S::Verdict,
    origin: Origin,
    extensions: &mut Extensions,
) where
    S: Strategy<Stat: Stats>,
    M: AsyncStorage<S> + 'static,
{
    let (mut policies, answers) = (Vec::new(), &throttle.0.profile.answers);
    verdict.for_each(&mut |decision| {
        policies.push((answers.policy(policies.len(), decision).name.to_owned(), *decision));
    });
    let (owner, plan) = (throttle.clone(), Arc::clone(plan));
    let stat = Box::new(move || -> BoxFuture<'static, Result<StatsSnapshot, BackendError>> {
        let (owner, plan) = (owner.clone(), Arc::clone(&plan));
        Box::pin(async move { owner.figures(&plan).await.map(|stat| StatsSnapshot::of(&stat)) })
    });
    let inner = StatusInner { throttle: throttle.uid().to_owned(), policies, origin, stat };
    extensions.get_or_insert_default::<StatusList>().0.push(RateLimitStatus(Arc::new(inner)));
}
