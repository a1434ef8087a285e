//! What a fallback admitted, so that the primary can be told, once.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use portable_atomic::AtomicU64;
use traffik_core::{Cost, Digest, Hit, Seed, Strategy, Timestamp, Verdict};

use crate::layer::failover::primary_node::{Place, PrimaryNode};
use crate::util::shared::{Shared, WeakShared};
use crate::util::spin_lock::{Locked, SpinLock};

/// The charges to the primary of what is due of one key.
pub(super) type Merge = Shared<()>;

type Receipt<S> = <<S as Strategy>::Verdict as Verdict>::Receipt;

/// Notes that share a lock, on average where there is no room for more.
const SHARED: usize = 8;

/// A list of admissions by key, bounded for each node that failed, each noted until the primary was charged
/// with it or no limit would count it any more. Keys are told apart by a keyed 64-bit hash.
pub(super) struct Outbox<S: Strategy> {
    most: usize,
    pub(super) seed: Seed,
    pages: Box<[SpinLock<Vec<Account<S>>>]>,
    dropped_entries: AtomicU64,
    /// Microseconds; before that nothing is over.
    first_over: AtomicU64,
}

/// The admissions of one key.
struct Account<S: Strategy> {
    digest: Digest,
    /// To be charged to the primary, and until when some of them are.
    due: Vec<Note<S>>,
    due_until: Timestamp,
    /// The primary is being charged with them, as long as there is somebody who does; else it may have been.
    sent: Vec<Note<S>>,
    merge: Option<WeakShared<()>>,
}

/// An admission.
pub(super) struct Note<S: Strategy> {
    pub(super) hit: Hit<S::Cost>,
    pub(super) receipt: Receipt<S>,
    /// From when on no limit counts it.
    pub(super) over: Timestamp,
    /// Among those of the node that kept the key when it was noted, whichever keeps it now.
    pub(super) _place: Place,
}

impl<S: Strategy> Outbox<S> {
    pub(super) fn new(most: usize, seed: u64) -> Self {
        let pages = (0..most.div_ceil(SHARED).max(1)).map(|_| SpinLock::new(Vec::new())).collect();
        let (dropped_entries, first_over) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        Self { most, seed: Seed::new(seed), pages, dropped_entries, first_over }
    }

    pub(super) fn dropped_entries(&self) -> u64 {
        self.dropped_entries.load(Ordering::Relaxed)
    }

    /// Makes room for a note of a node.
    pub(super) fn place(&self, node: &Arc<PrimaryNode>, now: Timestamp) -> Option<Place> {
        let place = node.place(self.most).or_else(|| {
            self.forget_over(now);
            node.place(self.most)
        });
        if place.is_none() {
            self.dropped_entries.fetch_add(1, Ordering::Relaxed);
        }
        place
    }

    pub(super) fn note(&self, digest: Digest, note: Note<S>) {
        let over = note.over.as_micros();
        if over < self.first_over.load(Ordering::Relaxed) {
            self.first_over.fetch_min(over, Ordering::Relaxed);
        }
        let mut page = self.page(digest);
        match find(&mut page, digest) {
            Some(account) => account.add(note),
            None => {
                page.retain(Account::is_of_use);
                let due_until = note.over;
                page.push(Account { digest, due: vec![note], due_until, sent: Vec::new(), merge: None });
            }
        }
    }

    fn forget_over(&self, now: Timestamp) {
        if now.as_micros() < self.first_over.load(Ordering::Relaxed) {
            return;
        }
        self.first_over.store(u64::MAX, Ordering::Relaxed);
        for page in &self.pages {
            let mut page = page.lock();
            page.retain_mut(|account| {
                account.due.retain(|note| note.over > now);
                account.sent.retain(|note| note.over > now);
                account.is_of_use()
            });
            let notes = page.iter().flat_map(|account| account.due.iter().chain(&account.sent));
            if let Some(first) = notes.map(|note| note.over.as_micros()).min() {
                self.first_over.fetch_min(first, Ordering::Relaxed);
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
    pub(super) fn take(&self, digest: Digest, hit: &Hit<S::Cost>, receipt: &Receipt<S>) {
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
        find(&mut page, digest).is_some_and(|it| it.due_until > now || it.under_way().is_some())
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
        if let Some(merge) = account.under_way() {
            return Some(merge);
        }
        (account.due_until > now).then(|| {
            let merge = begin();
            account.merge = Some(merge.downgrade());
            merge
        })
    }

    /// What charges the primary now, if something does.
    pub(super) fn under_way(&self, digest: Digest) -> Option<Merge> {
        find(&mut self.page(digest), digest)?.under_way()
    }

    /// The next hit that the primary is to be charged with: all that is due of one class, as far as it can be
    /// summed; or, `alone`, what was noted last, which takes no time however much is due. What was sent
    /// before is done with.
    pub(super) fn send(&self, digest: Digest, now: Timestamp, alone: bool) -> Option<Hit<S::Cost>> {
        self.change(digest, |account| {
            account.sent.clear();
            let sum = if alone { account.send_last(now) } else { account.send_most(now) };
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

    fn change<T>(&self, digest: Digest, change: impl FnOnce(&mut Account<S>) -> T) -> Option<T> {
        let mut page = self.page(digest);
        let at = page.iter().position(|account| account.digest == digest)?;
        let account = page.get_mut(at)?;
        let changed = change(account);
        if !account.is_of_use() {
            page.swap_remove(at);
        }
        Some(changed)
    }

    #[expect(clippy::indexing_slicing, reason = "a remainder is below what it is divided by")]
    fn page(&self, digest: Digest) -> Locked<'_, Vec<Account<S>>> {
        self.pages[(digest.as_u64() % self.pages.len() as u64) as usize].lock()
    }
}

fn find<S: Strategy>(page: &mut [Account<S>], digest: Digest) -> Option<&mut Account<S>> {
    page.iter_mut().find(|account| account.digest == digest)
}

impl<S: Strategy> Account<S> {
    fn add(&mut self, note: Note<S>) {
        self.due_until = self.due_until.max(note.over);
        self.due.push(note);
    }

    fn send_last(&mut self, now: Timestamp) -> Option<Hit<S::Cost>> {
        while let Some(note) = self.due.pop() {
            if note.over > now {
                let hit = note.hit;
                self.sent.push(note);
                return Some(hit);
            }
        }
        None
    }

    fn send_most(&mut self, now: Timestamp) -> Option<Hit<S::Cost>> {
        self.due.retain(|note| note.over > now);
        let mut sum = self.due.first()?.hit.free();
        let sent = self.due.extract_if(.., |Note { hit, .. }| {
            let more = (hit.class == sum.class).then(|| sum.cost.plus(hit.cost)).flatten();
            sum.cost = more.unwrap_or(sum.cost);
            more.is_some()
        });
        self.sent.extend(sent);
        if self.sent.is_empty() {
            // What cannot be summed is charged alone.
            return self.send_last(now);
        }
        self.due_until = self.due.iter().map(|note| note.over).max().unwrap_or_default();
        Some(sum)
    }

    /// What charges the primary. Where nobody waits for it any longer, nobody knows what became of it.
    fn under_way(&self) -> Option<Merge> {
        self.merge.as_ref()?.upgrade()
    }

    fn is_of_use(&self) -> bool {
        !self.due.is_empty() || !self.sent.is_empty() || self.under_way().is_some()
    }
}
