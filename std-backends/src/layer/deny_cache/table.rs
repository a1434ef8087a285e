//! A bounded table of denials, each kept as long as it holds.

use std::time::Duration;

use crate::util::spin_lock::{SpinGuard, SpinLock};
use traffik_core::{Cost, Digest, Hit, Origin, Outcome, Seed, Strategy, Timestamp, Verdict};

/// The most denials in a set, which share a lock. Scanning eight is faster than finding another set.
const WAYS: usize = 8;

/// The denials by key, strategy and class. Keys are identified by a keyed 64-bit hash.
pub(super) struct DenialTable<S: Strategy> {
    pub(super) seed: Seed,
    sets: Box<[SpinLock<Set<S>>]>,
}

/// The denials of the keys with one remainder of their digests.
struct Set<S: Strategy> {
    entries: Vec<CachedDenial<S>>,
    /// The number of changes to keys, one counter for each eighth of the set's keys. A denial whose query
    /// is older than the last change is not recorded.
    changes: [u64; WAYS],
}

/// A remembered denial, or an admitting answer that was given together with one.
struct CachedDenial<S: Strategy> {
    digest: Digest,
    strategy: S,
    hit: Hit<S::Cost>,
    /// The time of the query, which is no later than the store's decision.
    asked_at: Timestamp,
    until: Timestamp,
    verdict: S::Verdict,
    /// True for a denial. False for a key that would have admitted a hit that another key denied, in the
    /// same check.
    denies: bool,
}

/// A key with the time, and the state of its change counter, at which the storage was asked about it.
#[derive(Clone, Copy)]
pub(super) struct DenialQuery {
    pub(super) digest: Digest,
    at: Timestamp,
    changes: u64,
}

impl<S: Strategy + PartialEq> DenialTable<S> {
    pub(super) fn new(keys: usize, seed: u64) -> Self {
        let sets = keys.div_ceil(WAYS).max(1);
        let sets =
            (0..sets).map(|_| SpinLock::new(Set { entries: Vec::new(), changes: [0; WAYS] })).collect();
        Self { seed: Seed::new(seed), sets }
    }

    /// Returns the remembered verdict on a hit, or else the query by which the store's verdict can be
    /// recorded.
    pub(super) fn lookup(
        &self,
        strategy: &S,
        digest: Digest,
        hit: &Hit<S::Cost>,
        now: Timestamp,
    ) -> Result<S::Verdict, DenialQuery> {
        let set = self.set(digest);
        let known =
            set.entries.iter().find(|it| it.digest == digest && it.denies && it.holds(strategy, hit, now));
        known.and_then(|it| it.aged_verdict(now)).ok_or_else(|| set.query(digest, now))
    }

    /// Returns the remembered verdicts on one hit on several keys, at least one of which denies it, or else
    /// the queries.
    pub(super) fn lookup_together(
        &self,
        strategy: &S,
        digests: &[Digest],
        hit: &Hit<S::Cost>,
        now: Timestamp,
    ) -> Result<Vec<S::Verdict>, Vec<DenialQuery>> {
        // Taken before the lookup: a change in between makes them out of date.
        let queries = digests.iter().map(|digest| self.set(*digest).query(*digest, now)).collect();
        let mut is_denied = false;
        let verdicts = digests.iter().map(|digest| {
            let set = self.set(*digest);
            let known = set.entries.iter().find(|it| it.digest == *digest && it.holds(strategy, hit, now))?;
            is_denied |= known.denies;
            known.aged_verdict(now)
        });
        verdicts.collect::<Option<Vec<_>>>().filter(|_| is_denied).ok_or(queries)
    }

    /// Records the verdicts of a denied hit that one step decided, except on keys that changed since the
    /// query. In a full set the entry that ends first gives way.
    pub(super) fn note(
        &self,
        strategy: &S,
        queries: &[DenialQuery],
        hit: &Hit<S::Cost>,
        verdicts: &[S::Verdict],
    ) {
        let denied = verdicts.iter().map(Verdict::outcome).fold(ADMITTED, Outcome::and);
        let Outcome::Deny { retry_after: longest } = denied else { return };
        for (query, verdict) in queries.iter().zip(verdicts) {
            let wait = match verdict.outcome() {
                Outcome::Deny { retry_after } => Some(retry_after),
                _ => None,
            };
            // Rounds the waits to whole microseconds now, so that answering needs no division.
            let Some(verdict) = verdict.aged_by(0) else { continue };
            self.set(query.digest).note(
                query,
                CachedDenial {
                    digest: query.digest,
                    strategy: strategy.clone(),
                    hit: *hit,
                    asked_at: query.at,
                    until: query.at + wait.unwrap_or(longest),
                    verdict: verdict.with_origin(Origin::DenyCache),
                    denies: wait.is_some(),
                },
            );
        }
    }
}

const ADMITTED: Outcome = Outcome::Allow { after: Duration::ZERO };

impl<S: Strategy> DenialTable<S> {
    /// Returns the query by which a verdict of a key can be recorded from now on.
    pub(super) fn query(&self, digest: Digest, now: Timestamp) -> DenialQuery {
        self.set(digest).query(digest, now)
    }

    /// Forgets the denials of a key whose state changed, or may have. Verdicts for queries from before are
    /// not recorded.
    pub(super) fn forget(&self, digest: Digest) {
        let mut set = self.set(digest);
        // Under the lock of the set, so that a `note` sees the change or the entry is removed here.
        if let Some(changes) = set.changes.get_mut(change_slot(digest)) {
            *changes = changes.wrapping_add(1);
        }
        set.entries.retain(|it| it.digest != digest);
    }

    /// Forgets the denials of all keys.
    pub(super) fn clear(&self) {
        for set in &self.sets {
            let mut set = set.lock();
            set.changes.iter_mut().for_each(|changes| *changes = changes.wrapping_add(1));
            set.entries.clear();
        }
    }

    pub(super) fn len(&self) -> usize {
        self.sets.iter().map(|set| set.lock().entries.len()).sum()
    }

    #[expect(clippy::indexing_slicing, reason = "a remainder is below what it is divided by")]
    fn set(&self, digest: Digest) -> SpinGuard<'_, Set<S>> {
        self.sets[(digest.as_u64() % self.sets.len() as u64) as usize].lock()
    }
}

/// Returns the index of a key's change counter, by the upper three bits of its digest. The remainder that
/// chooses the set depends on all bits, so these three still differ within a set.
const fn change_slot(digest: Digest) -> usize {
    (digest.as_u64() >> 61) as usize
}

impl<S: Strategy> Set<S> {
    fn query(&self, digest: Digest, now: Timestamp) -> DenialQuery {
        DenialQuery {
            digest,
            at: now,
            changes: self.changes.get(change_slot(digest)).copied().unwrap_or_default(),
        }
    }
}

impl<S: Strategy + PartialEq> Set<S> {
    fn note(&mut self, query: &DenialQuery, new: CachedDenial<S>) {
        if self.query(query.digest, query.at).changes != query.changes {
            return;
        }
        self.entries
            .retain(|it| it.denies != new.denies || !it.is_about(&new.strategy, new.digest, &new.hit));
        if self.entries.len() >= WAYS {
            // Keep whichever denials last longest: they save the most calls.
            let first = self.entries.iter().enumerate().min_by_key(|(_, it)| it.until);
            let Some(at) = first.filter(|(_, it)| it.until <= new.until).map(|(at, _)| at) else { return };
            self.entries.swap_remove(at);
        }
        self.entries.push(new);
    }
}

impl<S: Strategy + PartialEq> CachedDenial<S> {
    fn is_about(&self, strategy: &S, digest: Digest, hit: &Hit<S::Cost>) -> bool {
        self.digest == digest && self.hit.class == hit.class && self.strategy == *strategy
    }

    /// Returns whether this entry also decides a hit on its key at this time.
    #[inline]
    fn holds(&self, strategy: &S, hit: &Hit<S::Cost>, now: Timestamp) -> bool {
        // After a step back of the clock the passed time is unknown.
        (self.asked_at..self.until).contains(&now)
            && self.hit.class == hit.class
            && self.strategy == *strategy
            && (hit.cost == self.hit.cost || self.denies_more(strategy, hit, now))
    }

    #[inline]
    fn aged_verdict(&self, now: Timestamp) -> Option<S::Verdict> {
        // An admitting verdict stays true as long as nothing happens.
        self.verdict.aged_by(if self.denies { now.micros_since(self.asked_at) } else { 0 })
    }

    /// Returns whether it also denies a hit of at least its own cost.
    fn denies_more(&self, strategy: &S, hit: &Hit<S::Cost>, now: Timestamp) -> bool {
        // A hit that could never pass gets no wait.
        let is_hopeless = || strategy.peek(&S::State::default(), hit, now).outcome() == Outcome::Never;
        self.denies && hit.cost.is_at_least(self.hit.cost) && !is_hopeless()
    }
}
