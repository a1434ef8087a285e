//! One limit of a throttle, before it is known in whose place it is.

use std::sync::Arc;

use traffik::strategy::{ErasedScale, Report, Single};
use traffik::{FixedWindow, HeapLog, Rate, Scale, Strategy};

/// A strategy whose state takes at most `LEN` bytes.
pub(crate) type Chosen<const LEN: usize> = Arc<dyn ErasedScale<LEN>>;

/// The limit of one rate.
pub(crate) trait Part: Clone + Send + Sync + 'static {
    type Limit: Scale + Strategy<Cost = u32, Stat: Report>;

    /// As a strategy, in the place of another one if there was one: what was used of that is used of this.
    fn limit(self, before: Option<Self>) -> Self::Limit;

    /// One that is never reached.
    fn unlimited() -> Result<Self, String>;
}

impl<const LEN: usize> Part for Chosen<LEN> {
    type Limit = Single<Self, LEN>;

    fn limit(self, before: Option<Self>) -> Self::Limit {
        let limit = Single::new(self);
        before.map_or_else(|| limit.clone(), |before| limit.clone().succeeding(before))
    }

    fn unlimited() -> Result<Self, String> {
        Ok(Arc::new(FixedWindow::new(Rate::UNLIMITED)))
    }
}

/// There is one kind of it only, which knows the states of all others.
impl Part for HeapLog {
    type Limit = Self;

    fn limit(self, _: Option<Self>) -> Self {
        self
    }

    fn unlimited() -> Result<Self, String> {
        Self::new(Rate::UNLIMITED).map_err(|error| error.to_string())
    }
}
