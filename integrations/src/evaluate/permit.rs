//! The admission of a request, kept until its response is there.

use std::sync::Arc;

use http::Extensions;
use http::response::Parts;
use traffik_core::storage::{AsyncStorage, BoxFuture};
use traffik_core::{Origin, Strategy, Verdict, debug_fields};

use crate::identify::Identity;
use crate::middleware::admission::Completion;
use crate::throttle::{IdentityMemo, Plan, Throttle};

/// The admission of a request by a throttle, kept until its response is there.
///
/// [`Throttle::hit`](crate::Throttle::hit) returns it, and [`finish`](crate::Throttle::finish) takes it
/// back.
///
/// ```
/// # async fn left(request: &http::Request<()>) -> Result<(), Box<dyn std::error::Error>> {
/// use traffik::{TokenBucket, rate};
/// use traffik::web::Throttle;
///
/// let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("10/min"))).build()?;
/// let permit = throttle.hit(request).await?;
/// let left = permit.verdict().map(|decision| decision.remaining());
/// assert_eq!(left, Some(9));
/// # Ok(())
/// # }
/// # let mut request = http::Request::new(());
/// # request.extensions_mut().insert(traffik::web::PeerAddress::new(([192, 0, 2, 1], 1).into()));
/// # let left = std::pin::pin!(left(&request));
/// # let mut context = std::task::Context::from_waker(std::task::Waker::noop());
/// # assert!(matches!(left.poll(&mut context), std::task::Poll::Ready(Ok(()))));
/// ```
pub struct Permit<S: Strategy, M> {
    pub(super) verdict: Option<S::Verdict>,
    pub(super) origin: Origin,
    /// The future to poll while the service handles the request.
    pub(super) beside: Option<BoxFuture<'static, ()>>,
    /// The plan, if the response or the service needs it. Most throttles need none.
    pub(super) plan: Option<Arc<Plan<S, M>>>,
}

impl<S: Strategy, M> Permit<S, M> {
    /// The permit of a request that passes without a verdict.
    pub(super) const fn uncounted(origin: Origin) -> Self {
        Self { verdict: None, origin, beside: None, plan: None }
    }

    /// Returns the verdict; `None` if the request was not counted, or the throttle could not decide.
    #[must_use]
    pub const fn verdict(&self) -> Option<&S::Verdict> {
        self.verdict.as_ref()
    }

    /// Returns where the decision comes from, such as the store or a fallback.
    #[must_use]
    pub const fn origin(&self) -> Origin {
        self.origin
    }
}

impl<S: Strategy, M: AsyncStorage<S> + 'static> Permit<S, M> {
    /// The permit of an admission. It keeps the plan only if something needs that later.
    pub(super) fn of(throttle: &Throttle<S, M>, plan: &Arc<Plan<S, M>>, verdict: S::Verdict) -> Self {
        let origin = plan.origin(&verdict);
        // Keeping the plan costs a reference count, and most throttles do not need it.
        let plan = throttle.0.needs_more().then(|| Arc::clone(plan));
        Self { verdict: Some(verdict), origin, beside: None, plan }
    }

    /// Notes the identity and the status of the client in the request's extensions.
    pub(super) fn mark(&self, throttle: &Throttle<S, M>, extensions: &mut Extensions) {
        // Throttles further in with the same cache then need not call their identifier.
        if let (Some(cache), Some(plan)) = (throttle.0.profile.cache, &self.plan) {
            let identity = Identity::Key(plan.client.clone());
            extensions.get_or_insert_default::<IdentityMemo>().add(cache, identity);
        }
        if let (Some(expose), Some(plan), Some(verdict)) = (throttle.0.expose, &self.plan, &self.verdict) {
            expose(throttle, plan, verdict, self.origin, extensions);
        }
    }

    /// Settles the charge of a request by its response.
    pub(super) fn close(self, throttle: &Throttle<S, M>, response: &Parts) -> Completion {
        // Only an admission was charged: a denial that was not enforced has nothing to settle.
        match (self.plan, &self.verdict) {
            (Some(plan), Some(verdict)) if verdict.outcome().is_allowed() => {
                throttle.completion(plan, verdict.receipt(), response)
            }
            _ => Completion::default(),
        }
    }
}

debug_fields!([S: Strategy, M] Permit<S, M>: verdict, origin);
