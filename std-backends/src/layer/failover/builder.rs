//! The builder of a failover.

use std::sync::Arc;

use traffik_core::storage::ErrorKind;
use traffik_core::strategy::CapacityError;
use traffik_core::{Clock, Ratio, RatioError, Scale, Strategy, debug_fields};

use crate::MonotonicClock;
use crate::layer::failover::outbox::Outbox;
use crate::layer::failover::primary_node::PrimaryNode;
use crate::layer::failover::route::Router;
use crate::layer::failover::settings::{FailoverChange, FailoverSettings};
use crate::layer::failover::storage::Failover;
use crate::layer::is_outage;
use crate::util::nodes::Nodes;
use crate::util::random::random;
use crate::util::setters::setters;

/// What a [`Failover`] is to be like.
#[must_use]
pub struct FailoverBuilder<S: Strategy, P, F> {
    primary: P,
    fallback: F,
    settings: FailoverSettings<S>,
    journal_capacity: usize,
    clock: Option<Arc<dyn Clock + Send + Sync>>,
}

impl<S: Strategy, P, F> FailoverBuilder<S, P, F> {
    setters! {
        /// Sets the kinds of failure on which the fallback decides. Defaults to those that
        /// [are ill](is_outage) and [`Full`](ErrorKind::Full), of a primary without room for another key. For
        /// an unknown outcome [`after_timeouts`](Self::after_timeouts) is needed too.
        pub const fn on(kinds: fn(ErrorKind) -> bool) => settings.on = kinds;

        /// Goes over on unknown outcomes too, if their kind is one to go over on. Such a hit may be charged
        /// on both sides, but is never merged, so never charged twice to the primary.
        pub const fn after_timeouts() => settings.after_timeouts = true;

        /// Charges the fallback with what the primary admits, so that whoever has used up a limit there finds
        /// it used up here. Refunds are not mirrored. Of a divided limit that is what this instance saw.
        pub const fn warm() => settings.warm = true;

        /// Once the primary is back, charges it with what the fallback admitted of a key, before it is asked
        /// about that key again; but not with what is so old that no limit would count it. It counts from
        /// then on, as if it had just been admitted, so a client may wait for up to twice as long.
        ///
        /// Costs of one class are [summed](traffik_core::Cost::plus), so that this is one call of the
        /// primary, however much was admitted, and one more where it is not known yet that the primary is
        /// back. If there are more classes, or costs without a sum, it is eight calls at most, and the next
        /// request makes the next ones. Whoever asks about the key meanwhile waits for them too. Where a
        /// charge fails, the fallback decides on those who waited, as on any failure of a call that charged
        /// them nothing; a charge whose outcome is unknown is not repeated.
        pub const fn merge() => settings.merge = true;

        /// Notes up to so many admissions of the fallback that are to be [merged](Self::merge), each until it
        /// is, or for as long as the limit counts it. Defaults to 10 000, for each node of the primary: while
        /// one is away, the others have room of their own.
        pub const fn journal_capacity(entries: usize) => journal_capacity = entries;

        /// Goes by this clock; by a [`MonotonicClock`] if nothing is said.
        pub fn clock(clock: impl Clock + Send + Sync + 'static) => clock = Some(Arc::new(clock));

        /// Gives the fallback what this makes of the limit. A limit of which it makes nothing fails every
        /// call with [`ErrorKind::Invalid`], before anybody is asked.
        pub fn share(share: impl Fn(&S) -> Result<S, CapacityError> + Send + Sync + 'static) =>
            settings.share = Some(Box::new(share));
    }

    /// Calls this at each change of sides of each node, within the call that brought it about: it should be
    /// quick, and not panic, for then that call does.
    pub fn on_change(mut self, listener: impl Fn(&FailoverChange) + Send + Sync + 'static) -> Self {
        self.settings.listeners.push(Box::new(listener));
        self
    }

    /// The storage.
    #[must_use]
    pub fn build(self) -> Failover<S, P, F> {
        let Self { primary, fallback, settings, journal_capacity, clock } = self;
        let clock = clock.unwrap_or_else(|| Arc::new(MonotonicClock::default()));
        let (outbox, whole) = (Outbox::new(journal_capacity, random()), Arc::new(PrimaryNode::default()));
        let nodes = Nodes::new();
        Failover { router: Arc::new(Router { primary, fallback, outbox, settings, clock, whole, nodes }) }
    }
}

impl<S: Scale, P, F> FailoverBuilder<S, P, F> {
    /// Gives the fallback the limit divided by this number: of instances that each have a fallback of their
    /// own. It must be one that can be counted exactly when divided, as is said of [`share`](Self::share).
    ///
    /// # Errors
    ///
    /// If it is 0.
    pub fn instances(self, count: u32) -> Result<Self, RatioError> {
        let share = Ratio::new(1, count.into())?;
        Ok(self.share(move |limit| limit.part(share)))
    }
}

impl<S: Strategy, P, F> Failover<S, P, F> {
    /// The primary first, and the fallback where it fails: cold, with the whole limit, and dropping what it
    /// admitted, unless something else is said.
    pub const fn builder(primary: P, fallback: F) -> FailoverBuilder<S, P, F> {
        let settings = FailoverSettings {
            on: |kind| is_outage(kind) || kind == ErrorKind::Full,
            after_timeouts: false,
            share: None,
            warm: false,
            merge: false,
            listeners: Vec::new(),
        };
        FailoverBuilder { primary, fallback, settings, journal_capacity: 10_000, clock: None }
    }
}

debug_fields!([S: Strategy, P, F] FailoverBuilder<S, P, F>: journal_capacity);
