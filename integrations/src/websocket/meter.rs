//! Asks a throttle about one message after another, for one client.

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use traffik_core::storage::{AsyncStorage, BackendError, Reply, WaitQueue};
use traffik_core::{ErasedKey, Hit, Key, Op, Origin, Strategy};

use crate::evaluate::TurnAccount;
use crate::middleware::background::Spawn;
use crate::observe::RequestOutcome;
use crate::throttle::{Client, Profile, ReceiptOf, nothing_fixed};

/// A client of a throttle, ready to be asked about.
pub(super) struct Meter<S: Strategy, M> {
    pub(super) client: Client<S, M>,
    /// What a storage is told of the client: a name that is hashed is hashed only once.
    key: Box<[u8]>,
}

/// What was asked.
pub(super) enum Asked<V> {
    /// The throttle is disabled.
    Nothing,
    /// The limit, with whether it is enforced for this client.
    Limit(Reply<V>, bool),
}

impl<S: Strategy, M: AsyncStorage<S> + 'static> Meter<S, M> {
    pub(super) fn new(client: Client<S, M>) -> Self {
        let mut key = Vec::new();
        client
            .plan
            .with_key(client.throttle.uid(), |it| it.feed_to(&mut |bytes| key.extend_from_slice(bytes)));
        Self { client, key: key.into() }
    }

    /// What a message costs if the policy does not say.
    pub(super) const fn cost(&self) -> S::Cost {
        self.client.plan.hit.cost
    }

    /// A message of this cost, as the limit sees it.
    pub(super) const fn hit(&self, cost: S::Cost) -> Hit<S::Cost> {
        Hit { cost, class: self.client.plan.hit.class }
    }

    /// Asks, and charges if it is admitted; by the limit as it is now.
    pub(super) fn check(&self, cost: S::Cost) -> Asked<S::Verdict> {
        self.apply(&Op::Check(self.hit(cost)))
    }

    fn apply(&self, op: &Op<S>) -> Asked<S::Verdict> {
        let (throttle, plan) = (&self.client.throttle, &self.client.plan);
        let settings = throttle.0.settings.load();
        if !settings.enabled {
            return Asked::Nothing;
        }
        let limit = plan.strategy.as_ref().or(settings.strategy.fixed()).or(plan.settings.strategy.fixed());
        let storage = plan.storage.as_ref().or(throttle.storage());
        let (Some(limit), Some(storage)) = (limit, storage) else {
            return Asked::Limit(Reply::ready(Err(nothing_fixed())), true);
        };
        let reply = storage.apply(limit, self, op);
        Asked::Limit(reply, settings.enforcement.holds_for(&plan.client))
    }

    /// The least wait that is told.
    pub(super) fn min_wait(&self) -> Duration {
        self.client.throttle.0.settings.load().min_wait
    }

    /// Returns the throttle's profile.
    pub(super) fn profile(&self) -> &Profile {
        &self.client.throttle.0.profile
    }

    /// Tells what became of a message, and where that comes from.
    pub(super) fn tell(
        &self,
        result: RequestOutcome,
        took: Option<Duration>,
        failure: Option<&BackendError>,
        origin: Origin,
    ) {
        self.profile().report(result, Some(&self.client.plan.client), took, failure, Some(origin));
    }
}

impl<S: Strategy, M: AsyncStorage<S> + 'static> TurnAccount<S> for Meter<S, M> {
    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        self.client.throttle.wait_queue(&self.client.plan)
    }

    fn show_key(&self, show: &mut dyn FnMut(&dyn ErasedKey)) {
        show(self);
    }

    fn refund(&self, hit: Hit<S::Cost>, receipt: ReceiptOf<S>) -> Reply<S::Verdict> {
        match self.apply(&Op::Refund(hit, receipt)) {
            Asked::Limit(reply, _) => reply,
            Asked::Nothing => Reply::ready(Err(nothing_fixed())),
        }
    }

    fn spawner(&self) -> Option<&Arc<Spawn>> {
        self.profile().spawner.as_ref()
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Strategy, M> Key for Meter<S, M> {
    fn feed(&self, sink: &mut impl FnMut(&[u8])) {
        sink(&self.key);
    }

    fn name(&self, text: &mut dyn Write) -> fmt::Result {
        self.client.plan.with_key(self.client.throttle.uid(), |key| key.name_to(text))
    }
}
