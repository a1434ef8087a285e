//! A request that a throttle lets pass, until its response is there.

use std::sync::Arc;

use http::Extensions;
use http::response::Parts;
use traffik_core::storage::{AsyncStorage, BoxFuture};
use traffik_core::{Origin, Strategy, Verdict, debug_fields};

use crate::identify::Identity;
use crate::middleware::admission::Completion;
use crate::throttle::{IdentityMemo, Plan, Throttle};

/// A request that a throttle lets pass, until its response is there.
pub struct Permit<S: Strategy, M> {
    pub(super) verdict: Option<S::Verdict>,
    pub(super) origin: Origin,
    /// Work that goes on while the request is served.
    pub(super) beside: Option<BoxFuture<'static, ()>>,
    /// The plan, if it is needed later on; the usual request needs none.
    pub(super) plan: Option<Arc<Plan<S, M>>>,
}

impl<S: Strategy, M> Permit<S, M> {
    pub(super) const fn uncounted(origin: Origin) -> Self {
        Self { verdict: None, origin, beside: None, plan: None }
    }

    /// Returns the verdict; `None` if the request was not counted.
    #[must_use]
    pub const fn verdict(&self) -> Option<&S::Verdict> {
        self.verdict.as_ref()
    }

    /// Where the decision comes from.
    #[must_use]
    pub const fn origin(&self) -> Origin {
        self.origin
    }
}

impl<S: Strategy, M: AsyncStorage<S> + 'static> Permit<S, M> {
    /// An admission, with what is asked for later on.
    pub(super) fn of(throttle: &Throttle<S, M>, plan: &Arc<Plan<S, M>>, verdict: S::Verdict) -> Self {
        let origin = plan.origin(&verdict);
        let plan = throttle.0.needs_more().then(|| Arc::clone(plan));
        Self { verdict: Some(verdict), origin, beside: None, plan }
    }

    /// Notes on a request what the service behind may want to know.
    pub(super) fn mark(&self, throttle: &Throttle<S, M>, extensions: &mut Extensions) {
        if let (Some(cache), Some(plan)) = (throttle.0.profile.cache, &self.plan) {
            let identity = Identity::Key(plan.client.clone());
            extensions.get_or_insert_default::<IdentityMemo>().add(cache, identity);
        }
        if let (Some(expose), Some(plan), Some(verdict)) = (throttle.0.expose, &self.plan, &self.verdict) {
            expose(throttle, plan, verdict, self.origin, extensions);
        }
    }

    /// Settles what the response decides, of a request that was charged.
    pub(super) fn close(self, throttle: &Throttle<S, M>, response: &Parts) -> Completion {
        match (self.plan, &self.verdict) {
            (Some(plan), Some(verdict)) if verdict.outcome().is_allowed() => {
                throttle.left(plan, verdict.receipt(), response)
            }
            _ => Completion::default(),
        }
    }
}

debug_fields!([S: Strategy, M] Permit<S, M>: verdict, origin);
