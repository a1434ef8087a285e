//! What a fallback admitted, so that the primary can be told, once.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crate::turns::{Locked, Turns};
use traffik_core::{Digest, Hit, Key, Seed, Strategy, Timestamp, Verdict};

type Receipt<S> = <<S as Strategy>::Verdict as Verdict>::Receipt;

/// Notes that share a lock, on average where there is no room for more: they are looked at one after another.
const SHARED: usize = 8;

/// A bounded list of admissions by key, each noted until no limit would count it any more. Keys are told apart by a keyed
/// 64-bit hash.
pub(super) struct Journal<S: Strategy> {
    most: usize,
    seed: Seed,
    pages: Box<[Turns<Vec<Note<S>>>]>,
    count: AtomicUsize,
    unnoted: AtomicU64,
    /// Microseconds; before that nothing is over.
    first_over: AtomicU64,
}

/// An admission.
pub(super) struct Note<S: Strategy> {
    pub(super) digest: Digest,
    pub(super) hit: Hit<S::Cost>,
    pub(super) receipt: Receipt<S>,
    /// From when on no limit counts it.
    pub(super) over: Timestamp,
    /// To be charged to the primary.
    pub(super) is_due: bool,
    /// Charged to the primary, or perhaps so.
    pub(super) is_merged: bool,
}

impl<S: Strategy> Journal<S> {
    pub(super) fn new(most: usize, seed: u64) -> Self {
        let pages = (0..most.div_ceil(SHARED).max(1)).map(|_| Turns::new(Vec::new())).collect();
        let (count, unnoted) = (AtomicUsize::new(0), AtomicU64::new(0));
        let first_over = AtomicU64::new(u64::MAX);
        Self { most, seed: Seed::new(seed), pages, count, unnoted, first_over }
    }

    pub(super) fn unnoted(&self) -> u64 {
        self.unnoted.load(Ordering::Relaxed)
    }

    pub(super) fn digest<K: Key + ?Sized>(&self, key: &K) -> Digest {
        self.seed.digest(key)
    }

    pub(super) fn note(&self, note: Note<S>, now: Timestamp) {
        if !self.has_room() {
            self.forget_over(now);
            if !self.has_room() {
                self.unnoted.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        let over = note.over.as_micros();
        if over < self.first_over.load(Ordering::Relaxed) {
            self.first_over.fetch_min(over, Ordering::Relaxed);
        }
        let mut notes = self.page(note.digest);
        if notes.capacity() == 0 {
            notes.reserve_exact(SHARED);
        }
        notes.push(note);
    }

    /// Whether there is room for one more, which is then taken.
    fn has_room(&self) -> bool {
        let has_room = self.count.fetch_add(1, Ordering::Relaxed) < self.most;
        if !has_room {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        has_room
    }

    fn forget_over(&self, now: Timestamp) {
        if now.as_micros() < self.first_over.load(Ordering::Relaxed) {
            return;
        }
        self.first_over.store(u64::MAX, Ordering::Relaxed);
        for page in &self.pages {
            let mut notes = page.lock();
            self.retain(&mut notes, |note| note.over > now);
            if let Some(first) = notes.iter().map(|note| note.over.as_micros()).min() {
                self.first_over.fetch_min(first, Ordering::Relaxed);
            }
        }
    }

    fn retain(&self, notes: &mut Vec<Note<S>>, stays: impl Fn(&Note<S>) -> bool) {
        let before = notes.len();
        notes.retain(stays);
        self.count.fetch_sub(before - notes.len(), Ordering::Relaxed);
    }

    pub(super) fn forget(&self, digest: Digest) {
        self.retain(&mut self.page(digest), |note| note.digest != digest);
    }

    /// Takes an admission out; whether the primary was charged with it. `None` if it is none of the fallback's.
    pub(super) fn take(&self, digest: Digest, hit: &Hit<S::Cost>, receipt: &Receipt<S>) -> Option<bool> {
        let mut notes = self.page(digest);
        let is_it = |note: &Note<S>| note.digest == digest && note.hit == *hit && note.receipt == *receipt;
        let at = notes.iter().position(is_it)?;
        self.count.fetch_sub(1, Ordering::Relaxed);
        Some(notes.swap_remove(at).is_merged)
    }

    /// Whether the primary is to be charged with something of a key.
    pub(super) fn is_due(&self, digest: Digest, now: Timestamp) -> bool {
        self.page(digest).iter().any(|note| note.is_due_at(digest, now))
    }

    /// The next hit that the primary is to be charged with, counted as charged from now on.
    pub(super) fn next_due(&self, digest: Digest, now: Timestamp) -> Option<Hit<S::Cost>> {
        let mut notes = self.page(digest);
        let note = notes.iter_mut().find(|note| note.is_due_at(digest, now))?;
        (note.is_due, note.is_merged) = (false, true);
        Some(note.hit)
    }

    /// It could not be charged.
    pub(super) fn put_back(&self, digest: Digest, hit: &Hit<S::Cost>) {
        let mut notes = self.page(digest);
        let merged = |note: &&mut Note<S>| note.digest == digest && note.is_merged && note.hit == *hit;
        if let Some(note) = notes.iter_mut().find(merged) {
            (note.is_due, note.is_merged) = (true, false);
        }
    }

    #[expect(clippy::indexing_slicing, reason = "a remainder is below what it is divided by")]
    fn page(&self, digest: Digest) -> Locked<'_, Vec<Note<S>>> {
        self.pages[(digest.as_u64() % self.pages.len() as u64) as usize].lock()
    }
}

impl<S: Strategy> Note<S> {
    fn is_due_at(&self, digest: Digest, now: Timestamp) -> bool {
        self.digest == digest && self.is_due && self.over > now
    }
}
