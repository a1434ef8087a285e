//! The outbox: admissions of the fallback that the primary is yet to be charged with, once each.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use portable_atomic::AtomicU64;
use traffik_core::{Cost, Digest, Hit, Seed, Strategy, Timestamp, Verdict};

use crate::layer::failover::primary_node::{PrimaryNode, RecordSlot};
use crate::util::shared_future::{SharedFuture, WeakSharedFuture};
use crate::util::spin_lock::{SpinGuard, SpinLock};

/// The charges of the primary with the due admissions of one key.
pub(super) type Merge = SharedFuture<()>;

type ChargeReceipt<S> = <<S as Strategy>::Verdict as Verdict>::Receipt;

/// The average number of records in a full page, which share a lock.
const SHARED: usize = 8;

/// The admissions of the fallback by key, bounded for each node of the primary.
///
/// A record is kept until the primary was charged with it, or no limit counts it any more. Keys are
/// identified by a keyed 64-bit hash.
pub(super) struct Outbox<S: Strategy> {
    /// The most records for each node of the primary.
    most: usize,
    pub(super) seed: Seed,
    pages: Box<[SpinLock<Vec<KeyAccount<S>>>]>,
    dropped_entries: AtomicU64,
    /// The earliest expiry of a record, in microseconds. A bound from below: nothing expires before it.
    first_expiry: AtomicU64,
}

/// The admissions of one key.
///
/// Invariant: each record is in `due` or in `sent`, never in both. Only the running merge moves records
/// from `due` to `sent`.
struct KeyAccount<S: Strategy> {
    digest: Digest,
    /// The records to charge the primary with, and the expiry of the last of them.
    due: Vec<AdmissionRecord<S>>,
    due_until: Timestamp,
    /// The records of the charge that is under way. After its driver was dropped the primary may or may not
    /// have counted them.
    sent: Vec<AdmissionRecord<S>>,
    merge: Option<WeakSharedFuture<()>>,
}

/// An admission of the fallback.
pub(super) struct AdmissionRecord<S: Strategy> {
    pub(super) hit: Hit<S::Cost>,
    pub(super) receipt: ChargeReceipt<S>,
    /// The time from which on no limit counts it.
    pub(super) expires_at: Timestamp,
    /// The record's share of the room of the node that kept the key when it was recorded.
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

    /// Reserves room for a record of a node.
    pub(super) fn reserve(&self, node: &Arc<PrimaryNode>, now: Timestamp) -> Option<RecordSlot> {
        // Scan for expired records only when there is no room.
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
        // Relaxed: `first_expiry` only saves scans. `fetch_min` keeps it a lower bound for concurrent
        // records.
        if expires_at < self.first_expiry.load(Ordering::Relaxed) {
            self.first_expiry.fetch_min(expires_at, Ordering::Relaxed);
        }
        let mut page = self.page(digest);
        match find(&mut page, digest) {
            Some(account) => account.add(note),
            None => {
                // A merge that was dropped leaves an empty account behind.
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
        // Reset before the scan, so that a record that is added meanwhile lowers it again.
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

    /// Drops all records of a key. A charge that is under way still reaches the primary.
    pub(super) fn forget(&self, digest: Digest) {
        self.change(digest, |account| {
            account.due.clear();
            account.sent.clear();
            account.due_until = Timestamp::EPOCH;
        });
    }

    /// Removes an admission that is refunded, so that the primary is not charged with it.
    pub(super) fn remove(&self, digest: Digest, hit: &Hit<S::Cost>, receipt: &ChargeReceipt<S>) {
        self.change(digest, |account| {
            for notes in [&mut account.due, &mut account.sent] {
                // Most refunds follow soon after their admission.
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

    /// Returns whether the primary must be charged before the next check of a key, or is being charged.
    pub(super) fn is_due(&self, digest: Digest, now: Timestamp) -> bool {
        let mut page = self.page(digest);
        find(&mut page, digest).is_some_and(|it| it.due_until > now || it.running_merge().is_some())
    }

    /// Returns the merge of a key: the running one, or a new one if records are due.
    pub(super) fn merge(
        &self,
        digest: Digest,
        now: Timestamp,
        begin: impl FnOnce() -> Merge,
    ) -> Option<Merge> {
        let mut page = self.page(digest);
        // Under the lock of the page, so that at most one merge of a key runs.
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

    /// Returns the running merge of a key, if any.
    pub(super) fn running_merge(&self, digest: Digest) -> Option<Merge> {
        find(&mut self.page(digest), digest)?.running_merge()
    }

    /// Takes the next hit to charge the primary with: all due records of one class, as far as costs can be
    /// summed. With `alone` it takes the latest record only, in constant time. It first drops the records of
    /// the charge before, which has ended.
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

    /// Ends the charge that is under way: its records are dropped, or due again if nothing was charged.
    pub(super) fn settle(&self, digest: Digest, may_be_charged: bool) {
        self.change(digest, |account| {
            if may_be_charged {
                account.sent.clear();
            } else {
                // Certainly not charged: the records are due again, with their old expiry.
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
        // sum.cost = the sum of all costs of its class; `plus` returns None if two costs cannot be summed.
        let mut sum = self.due.first()?.hit.free();
        let sent = self.due.extract_if(.., |AdmissionRecord { hit, .. }| {
            let more = (hit.class == sum.class).then(|| sum.cost.plus(hit.cost)).flatten();
            sum.cost = more.unwrap_or(sum.cost);
            more.is_some()
        });
        self.sent.extend(sent);
        if self.sent.is_empty() {
            // A cost that cannot be summed is charged alone.
            return self.take_last(now);
        }
        self.due_until = self.due.iter().map(|note| note.expires_at).max().unwrap_or_default();
        Some(sum)
    }

    /// Returns the running merge. It is dropped with its last waiter, and its outcome is then unknown.
    fn running_merge(&self) -> Option<Merge> {
        self.merge.as_ref()?.upgrade()
    }

    fn is_needed(&self) -> bool {
        !self.due.is_empty() || !self.sent.is_empty() || self.running_merge().is_some()
    }
}
