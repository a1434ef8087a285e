//! A node of the primary: whether it answers, and how many admissions are recorded for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A node of the primary, or the primary as a whole.
#[derive(Default)]
pub(super) struct PrimaryNode {
    /// The name; `None` for the primary as a whole.
    pub(super) name: Option<Arc<str>>,
    pub(super) is_away: AtomicBool,
    /// The number of its records in the outbox.
    noted: AtomicUsize,
}

/// Room for one record, freed when it is dropped.
pub(super) struct RecordSlot(Arc<PrimaryNode>);

impl PrimaryNode {
    pub(super) fn named(name: Arc<str>) -> Self {
        Self { name: Some(name), ..Self::default() }
    }

    /// Returns whether its last call failed.
    pub(super) fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Acquire)
    }

    /// Reserves room for one of at most `most` records.
    pub(super) fn reserve(self: &Arc<Self>, most: usize) -> Option<RecordSlot> {
        let place = RecordSlot(Arc::clone(self));
        // Without room, dropping `place` takes the record off the count at once.
        (self.noted.fetch_add(1, Ordering::Relaxed) < most).then_some(place)
    }
}

impl Drop for RecordSlot {
    fn drop(&mut self) {
        self.0.noted.fetch_sub(1, Ordering::Relaxed);
    }
}
