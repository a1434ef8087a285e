//! The state that all requests share, and its replacement when the file is reloaded.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use http::StatusCode;
use tokio::sync::watch::Sender;
use traffik::web::Tally;

use crate::access::AdminAccess;
use crate::config::options::Options;
use crate::limits::plan::{CommonSettings, ThrottlePlan};
use crate::live::events::Events;
use crate::proxy::echo::Echo;
use crate::proxy::upstream::Upstream;
use crate::stores::store::Stores;
use crate::throttles::pipeline::{Pipeline, PipelineBuilder};

/// The state that all requests share.
pub(crate) struct Gateway {
    pub(crate) pipeline: ArcSwap<Pipeline>,
    pub(crate) tally: Tally,
    pub(crate) events: Events,
    pub(crate) common: CommonSettings,
    pub(crate) admin: AdminAccess,
    /// The status of a denial on `--auth`, in place of that of the throttle.
    pub(crate) auth_denied_status: Option<StatusCode>,
    pub(crate) upstream: Upstream,
    /// Locked by reloads only, one at a time; requests read `pipeline` without a lock.
    stores: Mutex<Stores>,
    /// Signals connections to end. Each connection holds a receiver, so `closed()` completes once the last
    /// one has ended.
    pub(crate) end: Sender<bool>,
}

impl Gateway {
    /// Builds the throttles of `plans`, which are those of the options.
    ///
    /// # Errors
    ///
    /// Fails with the first throttle that cannot be built.
    pub(crate) fn new(options: &Options, plans: &[ThrottlePlan]) -> Result<Self, String> {
        let common = options.common()?;
        let (tally, end) = (Tally::default(), Sender::default());
        let echo = Echo::new(options, &tally, &end)?;
        let upstream = Upstream::new(options, &common, end.clone(), echo)?;
        let mut stores = Stores::default();
        let pipeline =
            PipelineBuilder::new(&common, &mut stores, &tally).build(plans, upstream.before(plans))?;
        Ok(Self {
            pipeline: ArcSwap::from_pointee(pipeline),
            tally,
            events: Events::default(),
            common,
            admin: AdminAccess::new(&options.operation)?,
            auth_denied_status: options.auth.auth_denied_status,
            upstream,
            stores: Mutex::new(stores),
            end,
        })
    }

    /// Replaces all throttles by those of `plans`. Returns a line for each throttle that lost counts.
    ///
    /// # Errors
    ///
    /// Fails if a throttle cannot be built; the throttles before then stay in use.
    pub(crate) fn replace(&self, plans: &[ThrottlePlan]) -> Result<Vec<String>, String> {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        // Work on a copy, which replaces the stores only if every throttle can be built. A poisoned lock is
        // safe to take for the same reason: no half-made change is ever visible.
        let mut next = stores.clone();
        let builder = PipelineBuilder::new(&self.common, &mut next, &self.tally);
        let pipeline = builder.build(plans, self.upstream.before(plans))?;
        let losses = std::mem::take(&mut next.losses);
        *stores = next;
        // Requests under way finish with the pipeline that they loaded.
        self.pipeline.store(Arc::new(pipeline));
        Ok(losses)
    }
}
