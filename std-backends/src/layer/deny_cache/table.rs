//! A bounded table of denials, each for as long as it holds.

use std::time::Duration;

use crate::util::spin_lock::{SpinGuard, SpinLock};
use traffik_core::{Cost, Digest, Hit, Origin, Outcome, Seed, Strategy, Timestamp, Verdict};

/// DenialTable of a set share a lock. Eight are looked at faster than another set is found.
const WAYS: usize = 8;

/// DenialTable by key, limit and class. Keys are told apart by a keyed 64-bit hash.
pub(super) struct DenialTable<S: Strategy> {
    pub(super) seed: Seed,
    sets: Box<[SpinLock<Set<S>>]>,
}

struct Set<S: Strategy> {
    entries: Vec<CachedDenial<S>>,
    /// How often what is kept of keys was changed, each counting for an eighth of the keys of the set: a
    /// denial that was asked for before a change is not to be noted after it.
    changes: [u64; WAYS],
}

struct CachedDenial<S: Strategy> {
    digest: Digest,
    strategy: S,
    hit: Hit<S::Cost>,
    /// When it was asked for, so no later than the store has decided.
    asked: Timestamp,
    until: Timestamp,
    verdict: S::Verdict,
    /// If not, this is what a key said that would have admitted what another one denied, asked together with
    /// it.
    denies: bool,
}

/// When a key was asked about.
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

    /// What is known to be told about a hit; else what is needed to note what the store tells.
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

    /// The same of one hit on several keys, at least one of which denies it.
    pub(super) fn lookup_together(
        &self,
        strategy: &S,
        digests: &[Digest],
        hit: &Hit<S::Cost>,
        now: Timestamp,
    ) -> Result<Vec<S::Verdict>, Vec<DenialQuery>> {
        let asked = digests.iter().map(|digest| self.set(*digest).query(*digest, now)).collect();
        let mut is_denied = false;
        let told = digests.iter().map(|digest| {
            let set = self.set(*digest);
            let known = set.entries.iter().find(|it| it.digest == *digest && it.holds(strategy, hit, now))?;
            is_denied |= known.denies;
            known.aged_verdict(now)
        });
        told.collect::<Option<Vec<_>>>().filter(|_| is_denied).ok_or(asked)
    }

    /// Notes what one step made of a hit that was denied: what each key said, unless what is kept of it was
    /// changed since it was asked for. If there is no room, whichever is over first gives way.
    pub(super) fn note(
        &self,
        strategy: &S,
        asked: &[DenialQuery],
        hit: &Hit<S::Cost>,
        verdicts: &[S::Verdict],
    ) {
        let denied = verdicts.iter().map(Verdict::outcome).fold(ADMITTED, Outcome::and);
        let Outcome::Deny { retry_after: longest } = denied else { return };
        for (asked, verdict) in asked.iter().zip(verdicts) {
            let wait = match verdict.outcome() {
                Outcome::Deny { retry_after } => Some(retry_after),
                _ => None,
            };
            // As it will be told, its waits in whole microseconds: nothing is then to be divided.
            let Some(verdict) = verdict.aged_by(0) else { continue };
            self.set(asked.digest).note(
                asked,
                CachedDenial {
                    digest: asked.digest,
                    strategy: strategy.clone(),
                    hit: *hit,
                    asked: asked.at,
                    until: asked.at + wait.unwrap_or(longest),
                    verdict: verdict.with_origin(Origin::DenyCache),
                    denies: wait.is_some(),
                },
            );
        }
    }
}

const ADMITTED: Outcome = Outcome::Allow { after: Duration::ZERO };

impl<S: Strategy> DenialTable<S> {
    /// What is needed to note later what a key is told from now on.
    pub(super) fn query(&self, digest: Digest, now: Timestamp) -> DenialQuery {
        self.set(digest).query(digest, now)
    }

    /// What is kept of a key has been changed, or may be: no denial holds that was asked for until now.
    pub(super) fn forget(&self, digest: Digest) {
        let mut set = self.set(digest);
        if let Some(changes) = set.changes.get_mut(change_slot(digest)) {
            *changes = changes.wrapping_add(1);
        }
        set.entries.retain(|it| it.digest != digest);
    }

    /// The same of all keys.
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

/// Which of a set's counts is a key's: by the upper bits, for the set is chosen by all of them.
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
    fn note(&mut self, asked: &DenialQuery, new: CachedDenial<S>) {
        if self.query(asked.digest, asked.at).changes != asked.changes {
            return;
        }
        self.entries
            .retain(|it| it.denies != new.denies || !it.is_about(&new.strategy, new.digest, &new.hit));
        if self.entries.len() >= WAYS {
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

    /// Whether it is known of a hit on its key.
    #[inline]
    fn holds(&self, strategy: &S, hit: &Hit<S::Cost>, now: Timestamp) -> bool {
        // A clock that stepped back tells nothing of how much time has passed.
        (self.asked..self.until).contains(&now)
            && self.hit.class == hit.class
            && self.strategy == *strategy
            && (hit.cost == self.hit.cost || self.denies_more(strategy, hit, now))
    }

    #[inline]
    fn aged_verdict(&self, now: Timestamp) -> Option<S::Verdict> {
        // What would admit says the same as long as nothing happens, or better.
        self.verdict.aged_by(if self.denies { now.micros_since(self.asked) } else { 0 })
    }

    /// Whether a hit of another cost is denied along with the one that was.
    fn denies_more(&self, strategy: &S, hit: &Hit<S::Cost>, now: Timestamp) -> bool {
        // No wait is promised to what could not pass even afresh.
        let is_hopeless = || strategy.peek(&S::State::default(), hit, now).outcome() == Outcome::Never;
        self.denies && hit.cost.is_at_least(self.hit.cost) && !is_hopeless()
    }
}
