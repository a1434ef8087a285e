//! What a fallback admitted, so that the primary can be told, once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use portable_atomic::AtomicU64;
use traffik_core::{Cost, Digest, Hit, Seed, Strategy, Timestamp, Verdict};

use crate::layer::failover::primary_node::{PrimaryNode, RecordSlot};
use crate::util::shared_future::{SharedFuture, WeakSharedFuture};
use crate::util::spin_lock::{SpinGuard, SpinLock};

/// The charges to the primary of what is due of one key.
pub(super) type Merge = SharedFuture<()>;

type ChargeReceipt<S> = <<S as Strategy>::Verdict as Verdict>::Receipt;

/// Notes that share a lock, on average where there is no room for more.
const SHARED: usize = 8;

/// A list of admissions by key, bounded for each node that failed, each noted until the primary was charged
/// with it or no limit would count it any more. Keys are told apart by a keyed 64-bit hash.
pub(super) struct Outbox<S: Strategy> {
    most: usize,
    pub(super) seed: Seed,
    pages: Box<[SpinLock<Vec<KeyAccount<S>>>]>,
    dropped_entries: AtomicU64,
    /// Microseconds; before that nothing is over.
    first_expiry: AtomicU64,
}

/// The admissions of one key.
struct KeyAccount<S: Strategy> {
    digest: Digest,
    /// To be charged to the primary, and until when some of them are.
    due: Vec<AdmissionRecord<S>>,
    due_until: Timestamp,
    /// The primary is being charged with them, as long as there is somebody who does; else it may have been.
    sent: Vec<AdmissionRecord<S>>,
    merge: Option<WeakSharedFuture<()>>,
}

/// An admission.
pub(super) struct AdmissionRecord<S: Strategy> {
    pub(super) hit: Hit<S::Cost>,
    pub(super) receipt: ChargeReceipt<S>,
    /// From when on no limit counts it.
    pub(super) expires_at: Timestamp,
    /// Among those of the node that kept the key when it was noted, whichever keeps it now.
    pub(super) _place: RecordSlot,
}

impl<S: Strategy> Outbox<S> {
    pub(super) fn new(most: usize, seed: u64) -> Self {
        let pages = (0..most.div_ceil(SHARED).max(1)).map(|_| SpinLock::new(Vec::new())).collect();
        let (dropped_entries, first_expiry) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        Self { most, seed: Seed::new(seed), pages, dropped_entries, first_expiry }
    }

    pub(super) fn dropped_entries(&self) -> u64 {
        self.dropped_entries.load(Ordering::Relaxed)
    }

    /// Makes room for a note of a node.
    pub(super) fn reserve(&self, node: &Arc<PrimaryNode>, now: Timestamp) -> Option<RecordSlot> {
        let place = node.reserve(self.most).or_else(|| {
            self.drop_expired(now);
            node.reserve(self.most)
        });
        if place.is_none() {
            self.dropped_entries.fetch_add(1, Ordering::Relaxed);
        }
        place
    }

    pub(super) fn record(&self, digest: Digest, note: AdmissionRecord<S>) {
        let expires_at = note.expires_at.as_micros();
        if expires_at < self.first_expiry.load(Ordering::Relaxed) {
            self.first_expiry.fetch_min(expires_at, Ordering::Relaxed);
        }
        let mut page = self.page(digest);
        match find(&mut page, digest) {
            Some(account) => account.add(note),
            None => {
                page.retain(KeyAccount::is_needed);
                let due_until = note.expires_at;
                page.push(KeyAccount { digest, due: vec![note], due_until, sent: Vec::new(), merge: None });
            }
        }
    }

    fn drop_expired(&self, now: Timestamp) {
        if now.as_micros() < self.first_expiry.load(Ordering::Relaxed) {
            return;
        }
        self.first_expiry.store(u64::MAX, Ordering::Relaxed);
        for page in &self.pages {
            let mut page = page.lock();
            page.retain_mut(|account| {
                account.due.retain(|note| note.expires_at > now);
                account.sent.retain(|note| note.expires_at > now);
                account.is_needed()
            });
            let notes = page.iter().flat_map(|account| account.due.iter().chain(&account.sent));
            if let Some(first) = notes.map(|note| note.expires_at.as_micros()).min() {
                self.first_expiry.fetch_min(first, Ordering::Relaxed);
            }
        }
    }

    /// Drops all of a key. What is on its way arrives.
    pub(super) fn forget(&self, digest: Digest) {
        self.change(digest, |account| {
            account.due.clear();
            account.sent.clear();
            account.due_until = Timestamp::EPOCH;
        });
    }

    /// Takes an admission out that is to be refunded: the primary is not to be charged with it, or not once
    /// more.
    pub(super) fn remove(&self, digest: Digest, hit: &Hit<S::Cost>, receipt: &ChargeReceipt<S>) {
        self.change(digest, |account| {
            for notes in [&mut account.due, &mut account.sent] {
                // Most are refunded soon after.
                let at = notes.iter().rposition(|note| note.hit == *hit && note.receipt == *receipt);
                if let Some(at) = at {
                    notes.swap_remove(at);
                    break;
                }
            }
            if account.due.is_empty() {
                account.due_until = Timestamp::EPOCH;
            }
        });
    }

    /// Whether the primary is to be charged with something of a key before it is asked about it, or is being
    /// charged.
    pub(super) fn is_due(&self, digest: Digest, now: Timestamp) -> bool {
        let mut page = self.page(digest);
        find(&mut page, digest).is_some_and(|it| it.due_until > now || it.running_merge().is_some())
    }

    /// What charges the primary with what is due of a key: it is under way, or begins now.
    pub(super) fn merge(
        &self,
        digest: Digest,
        now: Timestamp,
        begin: impl FnOnce() -> Merge,
    ) -> Option<Merge> {
        let mut page = self.page(digest);
        let account = find(&mut page, digest)?;
        if let Some(merge) = account.running_merge() {
            return Some(merge);
        }
        (account.due_until > now).then(|| {
            let merge = begin();
            account.merge = Some(merge.downgrade());
            merge
        })
    }

    /// What charges the primary now, if something does.
    pub(super) fn running_merge(&self, digest: Digest) -> Option<Merge> {
        find(&mut self.page(digest), digest)?.running_merge()
    }

    /// The next hit that the primary is to be charged with: all that is due of one class, as far as it can be
    /// summed; or, `alone`, what was noted last, which takes no time however much is due. What was sent
    /// before is done with.
    pub(super) fn take_next(&self, digest: Digest, now: Timestamp, alone: bool) -> Option<Hit<S::Cost>> {
        self.change(digest, |account| {
            account.sent.clear();
            let sum = if alone { account.take_last(now) } else { account.take_most(now) };
            if sum.is_none() {
                (account.due_until, account.merge) = (Timestamp::EPOCH, None);
            }
            sum
        })
        .flatten()
    }

    /// What was sent is done with, or is due again.
    pub(super) fn settle(&self, digest: Digest, may_be_charged: bool) {
        self.change(digest, |account| {
            if may_be_charged {
                account.sent.clear();
            } else {
                let sent = std::mem::take(&mut account.sent);
                sent.into_iter().for_each(|note| account.add(note));
            }
        });
    }

    fn change<T>(&self, digest: Digest, change: impl FnOnce(&mut KeyAccount<S>) -> T) -> Option<T> {
        let mut page = self.page(digest);
        let at = page.iter().position(|account| account.digest == digest)?;
        let account = page.get_mut(at)?;
        let changed = change(account);
        if !account.is_needed() {
            page.swap_remove(at);
        }
        Some(changed)
    }

    #[expect(clippy::indexing_slicing, reason = "a remainder is below what it is divided by")]
    fn page(&self, digest: Digest) -> SpinGuard<'_, Vec<KeyAccount<S>>> {
        self.pages[(digest.as_u64() % self.pages.len() as u64) as usize].lock()
    }
}

fn find<S: Strategy>(page: &mut [KeyAccount<S>], digest: Digest) -> Option<&mut KeyAccount<S>> {
    page.iter_mut().find(|account| account.digest == digest)
}

impl<S: Strategy> KeyAccount<S> {
    fn add(&mut self, note: AdmissionRecord<S>) {
        self.due_until = self.due_until.max(note.expires_at);
        self.due.push(note);
    }

    fn take_last(&mut self, now: Timestamp) -> Option<Hit<S::Cost>> {
        while let Some(note) = self.due.pop() {
            if note.expires_at > now {
                let hit = note.hit;
                self.sent.push(note);
                return Some(hit);
            }
        }
        None
    }

    fn take_most(&mut self, now: Timestamp) -> Option<Hit<S::Cost>> {
        self.due.retain(|note| note.expires_at > now);
        let mut sum = self.due.first()?.hit.free();
        let sent = self.due.extract_if(.., |AdmissionRecord { hit, .. }| {
            let more = (hit.class == sum.class).then(|| sum.cost.plus(hit.cost)).flatten();
            sum.cost = more.unwrap_or(sum.cost);
            more.is_some()
        });
        self.sent.extend(sent);
        if self.sent.is_empty() {
            // What cannot be summed is charged alone.
            return self.take_last(now);
        }
        self.due_until = self.due.iter().map(|note| note.expires_at).max().unwrap_or_default();
        Some(sum)
    }

    /// What charges the primary. Where nobody waits for it any longer, nobody knows what became of it.
    fn running_merge(&self) -> Option<Merge> {
        self.merge.as_ref()?.upgrade()
    }

    fn is_needed(&self) -> bool {
        !self.due.is_empty() || !self.sent.is_empty() || self.running_merge().is_some()
    }
}
