//! Checks messages of one client against a throttle.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use traffik_core::storage::{AsyncStorage, BackendError, Reply, WaitQueue};
use traffik_core::{ErasedKey, Hit, Key, Op, Origin, Strategy};

use crate::evaluate::TurnAccount;
use crate::middleware::background::SpawnFn;
use crate::observe::RequestOutcome;
use crate::throttle::{Client, Profile, VerdictReceipt, nothing_fixed};

/// A client of a throttle, with the bytes of its key.
pub(super) struct ClientMeter<S: Strategy, M> {
    pub(super) client: Client<S, M>,
    /// The bytes of the client's key: a key that has to be hashed is hashed once for all messages.
    key: Box<[u8]>,
}

/// The reply to a check.
pub(super) enum CheckReply<V> {
    /// The throttle is disabled.
    Disabled,
    /// The storage's reply, and whether the limit is enforced for this client.
    Limit(Reply<V>, bool),
}

impl<S: Strategy, M: AsyncStorage<S> + 'static> ClientMeter<S, M> {
    pub(super) fn new(client: Client<S, M>) -> Self {
        let mut key = Vec::new();
        client
            .plan
            .with_key(client.throttle.uid(), |it| it.feed_to(&mut |bytes| key.extend_from_slice(bytes)));
        Self { client, key: key.into() }
    }

    /// Returns the cost of a message for which the policy sets none.
    pub(super) const fn cost(&self) -> S::Cost {
        self.client.plan.hit.cost
    }

    /// Returns the hit of a message of this cost.
    pub(super) const fn hit(&self, cost: S::Cost) -> Hit<S::Cost> {
        Hit { cost, class: self.client.plan.hit.class }
    }

    /// Checks a message against the current limit, and charges it if it is admitted.
    pub(super) fn check(&self, cost: S::Cost) -> CheckReply<S::Verdict> {
        self.apply(&Op::Check(self.hit(cost)))
    }

    fn apply(&self, op: &Op<S>) -> CheckReply<S::Verdict> {
        let (throttle, plan) = (&self.client.throttle, &self.client.plan);
        let settings = throttle.0.settings.load();
        if !settings.enabled {
            return CheckReply::Disabled;
        }
        let limit = plan.strategy.as_ref().or(settings.strategy.fixed()).or(plan.settings.strategy.fixed());
        let storage = plan.storage.as_ref().or(throttle.storage());
        let (Some(limit), Some(storage)) = (limit, storage) else {
            return CheckReply::Limit(Reply::ready(Err(nothing_fixed())), true);
        };
        let reply = storage.apply(limit, self, op);
        CheckReply::Limit(reply, settings.enforcement.holds_for(&plan.client))
    }

    /// Returns the least wait to report.
    pub(super) fn min_wait(&self) -> Duration {
        self.client.throttle.0.settings.load().min_wait
    }

    /// Returns the throttle's profile.
    pub(super) fn profile(&self) -> &Profile {
        &self.client.throttle.0.profile
    }

    /// Reports the outcome of a message, and the origin of the decision.
    pub(super) fn report(
        &self,
        result: RequestOutcome,
        took: Option<Duration>,
        failure: Option<&BackendError>,
        origin: Origin,
    ) {
        self.profile().report(result, Some(&self.client.plan.client), took, failure, Some(origin));
    }
}

impl<S: Strategy, M: AsyncStorage<S> + 'static> TurnAccount<S> for ClientMeter<S, M> {
    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        self.client.throttle.wait_queue(&self.client.plan)
    }

    fn show_key(&self, show: &mut dyn FnMut(&dyn ErasedKey)) {
        show(self);
    }

    fn refund(&self, hit: Hit<S::Cost>, receipt: VerdictReceipt<S>) -> Reply<S::Verdict> {
        match self.apply(&Op::Refund(hit, receipt)) {
            CheckReply::Limit(reply, _) => reply,
            CheckReply::Disabled => Reply::ready(Err(nothing_fixed())),
        }
    }

    fn spawner(&self) -> Option<&Arc<SpawnFn>> {
        self.profile().spawner.as_ref()
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Strategy, M> Key for ClientMeter<S, M> {
    fn feed(&self, sink: &mut impl FnMut(&[u8])) {
        sink(&self.key);
    }

    fn name(&self, text: &mut dyn Write) -> fmt::Result {
        self.client.plan.with_key(self.client.throttle.uid(), |key| key.name_to(text))
    }
}
