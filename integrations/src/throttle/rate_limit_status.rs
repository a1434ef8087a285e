//! Where a client stands, for the service behind a throttle.

use std::fmt;
use std::sync::Arc;

use http::Extensions;
use traffik_core::storage::{AsyncStorage, BackendError, BoxFuture};
use traffik_core::strategy::{Stats, StatsSnapshot};
use traffik_core::{Decision, Origin, Strategy, Verdict};

use super::handle::Throttle;
use super::plan::Plan;

/// Where the sender of a request stands with a throttle that [tells so](crate::ThrottleBuilder::expose), in the
/// extensions of the request. With axum it is an extractor (feature `axum`).
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

/// All that were noted on a request, the outermost first.
#[derive(Clone, Default)]
struct StatusList(Vec<RateLimitStatus>);

impl RateLimitStatus {
    /// What the throttle of this name has noted on a request.
    #[must_use]
    pub fn of(extensions: &Extensions, throttle: &str) -> Option<Self> {
        Self::all(extensions).find(|status| status.throttle() == throttle).cloned()
    }

    /// What all throttles have noted on a request, the outermost first.
    pub fn all(extensions: &Extensions) -> impl Iterator<Item = &Self> {
        extensions.get::<StatusList>().into_iter().flat_map(|noted| &noted.0)
    }

    /// The name of the throttle.
    #[must_use]
    pub fn throttle(&self) -> &str {
        &self.0.throttle
    }

    /// What each limit has decided, with its name.
    pub fn policies(&self) -> impl Iterator<Item = (&str, &Decision)> {
        self.0.policies.iter().map(|(name, decision)| (name.as_str(), decision))
    }

    /// Where the decision comes from.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.0.origin
    }

    /// The strategy's own figures for the client, as they are now; `find` returns one by name.
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

/// Notes where a client stands.
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
    let (asked, about) = (throttle.clone(), Arc::clone(plan));
    let stat = Box::new(move || -> BoxFuture<'static, Result<StatsSnapshot, BackendError>> {
        let (asked, about) = (asked.clone(), Arc::clone(&about));
        Box::pin(async move { asked.figures(&about).await.map(|stat| StatsSnapshot::of(&stat)) })
    });
    let inner = StatusInner { throttle: throttle.uid().to_owned(), policies, origin, stat };
    extensions.get_or_insert_default::<StatusList>().0.push(RateLimitStatus(Arc::new(inner)));
}
