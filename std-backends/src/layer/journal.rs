//! What a fallback admitted: so that a refund finds where it belongs, and the primary can be told.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use traffik_core::{Hit, Strategy, Timestamp, Verdict};

type Receipt<S> = <<S as Strategy>::Verdict as Verdict>::Receipt;

/// A bounded list of admissions by key, each noted until no limit would count it any more.
pub(super) struct Journal<S: Strategy> {
    most: usize,
    noted: Mutex<Noted<S>>,
}

struct Noted<S: Strategy> {
    by_key: HashMap<Vec<u8>, Vec<Entry<S>>>,
    count: usize,
    unnoted: u64,
    /// Before that nothing is over.
    first_over: Timestamp,
}

struct Entry<S: Strategy> {
    hit: Hit<S::Cost>,
    receipt: Receipt<S>,
    over: Timestamp,
    /// To be charged to the primary.
    is_due: bool,
    /// Charged to the primary, or perhaps so.
    is_merged: bool,
}

impl<S: Strategy> Journal<S> {
    pub(super) fn new(most: usize) -> Self {
        let noted = Noted { by_key: HashMap::new(), count: 0, unnoted: 0, first_over: Timestamp::MAX };
        Self { most, noted: Mutex::new(noted) }
    }

    pub(super) fn unnoted(&self) -> u64 {
        self.noted().unnoted
    }

    pub(super) fn note(
        &self,
        key: &[u8],
        hit: Hit<S::Cost>,
        receipt: Receipt<S>,
        is_due: bool,
        now: Timestamp,
        over: Timestamp,
    ) {
        let mut noted = self.noted();
        if noted.count >= self.most && noted.first_over <= now {
            noted.forget_over(now);
        }
        if noted.count >= self.most {
            noted.unnoted += 1;
            return;
        }
        noted.count += 1;
        noted.first_over = noted.first_over.min(over);
        let entry = Entry { hit, receipt, over, is_due, is_merged: false };
        noted.by_key.entry(key.to_vec()).or_default().push(entry);
    }

    pub(super) fn forget(&self, key: &[u8]) {
        let mut noted = self.noted();
        let gone = noted.by_key.remove(key).map_or(0, |entries| entries.len());
        noted.count -= gone;
    }

    /// Takes an admission out; whether the primary was charged with it. `None` if it is none of the fallback's.
    pub(super) fn take(&self, key: &[u8], hit: &Hit<S::Cost>, receipt: &Receipt<S>) -> Option<bool> {
        let mut noted = self.noted();
        let entries = noted.by_key.get_mut(key)?;
        let at = entries.iter().position(|entry| entry.hit == *hit && entry.receipt == *receipt)?;
        let entry = entries.swap_remove(at);
        if entries.is_empty() {
            noted.by_key.remove(key);
        }
        noted.count -= 1;
        Some(entry.is_merged)
    }

    /// The next hit that the primary is to be charged with, counted as charged from now on.
    pub(super) fn next_due(&self, key: &[u8], now: Timestamp) -> Option<Hit<S::Cost>> {
        let mut noted = self.noted();
        let entries = noted.by_key.get_mut(key)?;
        let entry = entries.iter_mut().find(|entry| entry.is_due && entry.over > now)?;
        (entry.is_due, entry.is_merged) = (false, true);
        Some(entry.hit)
    }

    /// It could not be charged.
    pub(super) fn put_back(&self, key: &[u8], hit: &Hit<S::Cost>) {
        let mut noted = self.noted();
        let entries = noted.by_key.get_mut(key).into_iter().flatten();
        if let Some(entry) = entries.into_iter().find(|entry| entry.is_merged && entry.hit == *hit) {
            (entry.is_due, entry.is_merged) = (true, false);
        }
    }

    /// Nobody panics with it.
    fn noted(&self) -> MutexGuard<'_, Noted<S>> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Strategy> Noted<S> {
    fn forget_over(&mut self, now: Timestamp) {
        self.first_over = Timestamp::MAX;
        self.count = 0;
        let (count, first) = (&mut self.count, &mut self.first_over);
        self.by_key.retain(|_, entries| {
            entries.retain(|entry| entry.over > now);
            *count += entries.len();
            *first = entries.iter().fold(*first, |first, entry| first.min(entry.over));
            !entries.is_empty()
        });
    }
}
