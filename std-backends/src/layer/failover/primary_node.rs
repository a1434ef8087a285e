//! A node of the primary: whether it answers, and how many admissions are noted while it does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// A node of the primary, or the primary as a whole.
#[derive(Default)]
pub(super) struct PrimaryNode {
    /// `None` for the primary as a whole.
    pub(super) name: Option<Arc<str>>,
    pub(super) is_away: AtomicBool,
    noted: AtomicUsize,
}

/// Room for one note, which is there for others again once this is dropped.
pub(super) struct RecordSlot(Arc<PrimaryNode>);

impl PrimaryNode {
    pub(super) fn named(name: Arc<str>) -> Self {
        Self { name: Some(name), ..Self::default() }
    }

    /// Returns whether it failed when it was last asked.
    pub(super) fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Acquire)
    }

    /// Takes a place if there is one left of so many.
    pub(super) fn reserve(self: &Arc<Self>, most: usize) -> Option<RecordSlot> {
        let place = RecordSlot(Arc::clone(self));
        // A place that is not to be had is given back at once.
        (self.noted.fetch_add(1, Ordering::Relaxed) < most).then_some(place)
    }
}

impl Drop for RecordSlot {
    fn drop(&mut self) {
        self.0.noted.fetch_sub(1, Ordering::Relaxed);
    }
}
