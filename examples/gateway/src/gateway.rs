//! The state behind every request, and its replacement when the file is read anew.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::sync::watch::Sender;
use traffik::DeniedKey;
use traffik::web::Tally;

use crate::echo::Echo;
use crate::events::Events;
use crate::options::Options;
use crate::plan::{CommonSettings, ThrottlePlan};
use crate::stores::Stores;
use crate::throttles::{Pipeline, PipelineBuilder, ThrottleControl};
use crate::upstream::Upstream;

/// The state that every request is answered from.
pub(crate) struct Gateway {
    pub(crate) pipeline: ArcSwap<Pipeline>,
    pub(crate) tally: Tally,
    pub(crate) events: Events,
    pub(crate) common: CommonSettings,
    pub(crate) upstream: Upstream,
    stores: Mutex<Stores>,
    /// Asks whatever is open to end. All that is open holds a receiver.
    pub(crate) end: Sender<bool>,
}

impl Gateway {
    pub(crate) fn new(options: &Options) -> Result<Self, String> {
        let (common, plans) = (options.common()?, options.plans()?);
        let (tally, end) = (Tally::default(), Sender::default());
        let echo = Echo::new(options, &tally, &end)?;
        let upstream = Upstream::new(options.upstream.clone(), echo);
        let mut stores = Stores::default();
        let pipeline =
            PipelineBuilder::new(&common, &mut stores, &tally).pipeline(&plans, upstream.clone())?;
        Ok(Self {
            pipeline: ArcSwap::from_pointee(pipeline),
            tally,
            events: Events::default(),
            common,
            upstream,
            stores: Mutex::new(stores),
            end,
        })
    }

    /// Limits by these plans from now on, or as before if one of them fails. Returns the throttles that
    /// forgot what was used.
    pub(crate) fn replace(&self, plans: &[ThrottlePlan]) -> Result<Vec<String>, String> {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken only if all of the throttles can be made.
        let mut next = stores.clone();
        let maker = PipelineBuilder::new(&self.common, &mut next, &self.tally);
        let pipeline = maker.pipeline(plans, self.upstream.clone())?;
        let forgotten = std::mem::take(&mut next.forgotten);
        *stores = next;
        self.pipeline.store(Arc::new(pipeline));
        Ok(forgotten)
    }

    /// Returns those who were denied most, of all throttles.
    pub(crate) fn denied_most(&self) -> Vec<DeniedKey> {
        let pipeline = self.pipeline.load();
        let most = |control: &ThrottleControl| {
            let mut most = control.denials.most();
            most.iter_mut().for_each(|it| it.name = format!("{} {}", it.name, control.uid));
            most
        };
        let mut all: Vec<_> = pipeline.controls.iter().flat_map(most).collect();
        all.sort_by_key(|it| std::cmp::Reverse(it.denials));
        all
    }
}
