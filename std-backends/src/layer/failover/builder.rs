//! The builder of a failover.

use std::sync::Arc;

use traffik_core::storage::ErrorKind;
use traffik_core::strategy::CapacityError;
use traffik_core::{Clock, Ratio, RatioError, Scale, Strategy, debug_fields};

use crate::MonotonicClock;
use crate::layer::failover::outbox::Outbox;
use crate::layer::failover::primary_node::PrimaryNode;
use crate::layer::failover::router::Router;
use crate::layer::failover::settings::{FailoverChange, FailoverSettings};
use crate::layer::failover::storage::Failover;
use crate::layer::is_outage;
use crate::util::nodes::Nodes;
use crate::util::random::random;
use crate::util::setters::setters;

/// The options of a [`Failover`].
///
/// [`Failover::builder`] creates it. Every option has a default.
///
/// ```
/// use traffik::layer::Failover;
/// use traffik::storage::Local;
/// use traffik::{Memory, TokenBucket};
///
/// let [primary, fallback] = [1_000, 100].map(|keys| Local(Memory::<TokenBucket>::new(keys)));
/// let builder = Failover::<TokenBucket, _, _>::builder(primary, fallback);
/// let storage = builder.instances(4)?.warm().merge().build();
/// assert!(!storage.is_away());
/// # Ok::<(), traffik::RatioError>(())
/// ```
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
        /// Sets the kinds of failure on which the fallback decides. Defaults to [`is_outage`], and
        /// [`Full`](ErrorKind::Full) of a primary without room for another key. An unknown outcome needs
        /// [`after_timeouts`](Self::after_timeouts) too.
        pub const fn on(kinds: fn(ErrorKind) -> bool) => settings.on = kinds;

        /// Lets the fallback decide after unknown outcomes too, if [`on`](Self::on) holds for
        /// [`Timeout`](ErrorKind::Timeout). By default such a call fails. Both sides may charge such a hit,
        /// but it is never merged, so the primary never charges it twice.
        pub const fn after_timeouts() => settings.after_timeouts = true;

        /// Charges the fallback with what the primary admits, so that a limit that is used up on the primary
        /// is used up on the fallback. Defaults to a cold fallback. Refunds are not mirrored. If the limit is
        /// divided among instances, the fallback counts what this instance admitted.
        pub const fn warm() => settings.warm = true;

        /// Charges the primary with what the fallback admitted of a key, once the primary is back and
        /// before the next check of that key. Defaults to dropping it.
        ///
        /// Admissions that are so old that no limit counts them are dropped. The others count from then on,
        /// as if they had just been admitted, so a client may wait up to twice as long.
        ///
        /// Costs of one class are [summed](traffik_core::Cost::plus), so that merging a key takes one call of
        /// the primary, however much was admitted. It takes one more call while the primary is not known to
        /// be back. With several classes, or costs without a sum, a request makes at most eight calls; the
        /// next request makes the next ones. Concurrent requests for the key wait for these calls too.
        ///
        /// If a charge fails, the waiting requests themselves charged nothing, and the fallback decides on
        /// them. A charge whose outcome is unknown is not repeated.
        pub const fn merge() => settings.merge = true;

        /// Sets the number of admissions of the fallback that are kept for [merging](Self::merge), for each
        /// node of the primary. Defaults to 10 000.
        ///
        /// An admission is kept until it is merged, or for as long as the limit counts it. While one node
        /// is away, the others have room of their own.
        pub const fn journal_capacity(entries: usize) => journal_capacity = entries;

        /// Sets the clock. Defaults to a [`MonotonicClock`].
        pub fn clock(clock: impl Clock + Send + Sync + 'static) => clock = Some(Arc::new(clock));

        /// Sets the strategy of the fallback, made from that of the primary. Defaults to the same strategy.
        /// If `share` fails for a strategy, every call with it fails with [`ErrorKind::Invalid`], before
        /// any storage is asked.
        pub fn share(share: impl Fn(&S) -> Result<S, CapacityError> + Send + Sync + 'static) =>
            settings.share = Some(Box::new(share));
    }

    /// Calls `listener` when a node of the primary goes away or comes back.
    ///
    /// The listener runs within the call that caused the change. It should be quick, and must not panic,
    /// because that call would panic.
    pub fn on_change(mut self, listener: impl Fn(&FailoverChange) + Send + Sync + 'static) -> Self {
        self.settings.listeners.push(Box::new(listener));
        self
    }

    /// Builds the storage.
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
    /// Gives the fallback the limit divided by `count`, the number of instances that each have a fallback.
    ///
    /// The strategy must be one that can be divided exactly; otherwise calls fail with
    /// [`ErrorKind::Invalid`], as with [`share`](Self::share).
    ///
    /// # Errors
    ///
    /// Fails with [`RatioError`] if `count` is 0.
    pub fn instances(self, count: u32) -> Result<Self, RatioError> {
        let share = Ratio::new(1, count.into())?;
        Ok(self.share(move |strategy| strategy.part(share)))
    }
}

impl<S: Strategy, P, F> Failover<S, P, F> {
    /// Creates a builder of a failover: the primary first, and the fallback where the primary fails.
    ///
    /// By default the fallback starts cold, applies the whole limit, and its admissions are never merged.
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
