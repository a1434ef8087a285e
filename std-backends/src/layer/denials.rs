//! A bounded table of denials, each for as long as it holds.

use std::sync::{Mutex, MutexGuard, PoisonError};

use traffik_core::{Cost, Digest, ErasedKey, Hit, Outcome, Seed, Strategy, Timestamp, Verdict};

/// Denials of a set share a lock. Eight are looked at faster than another set is found.
const WAYS: usize = 8;

/// Denials by key, limit and class. Keys are told apart by a keyed 64-bit hash.
pub(super) struct Denials<S: Strategy> {
    seed: Seed,
    sets: Box<[Mutex<Set<S>>]>,
}

struct Set<S: Strategy> {
    entries: Vec<Denial<S>>,
    /// How often what is kept of keys was changed, each counting for an eighth of the keys of the set: a denial that was asked
    /// for before a change is not to be noted after it.
    changes: [u64; WAYS],
}

struct Denial<S: Strategy> {
    digest: Digest,
    limit: S,
    hit: Hit<S::Cost>,
    /// When it was asked for, so no later than the store has decided.
    asked: Timestamp,
    until: Timestamp,
    verdict: S::Verdict,
}

/// When a key was asked about.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    digest: Digest,
    at: Timestamp,
    changes: u64,
}

impl Asked {
    pub(super) const fn digest(&self) -> Digest {
        self.digest
    }
}

impl<S: Strategy + PartialEq> Denials<S> {
    pub(super) fn new(keys: usize, seed: u64) -> Self {
        let sets = keys.div_ceil(WAYS).max(1);
        let sets = (0..sets).map(|_| Mutex::new(Set { entries: Vec::new(), changes: [0; WAYS] })).collect();
        Self { seed: Seed::new(seed), sets }
    }

    pub(super) fn digest(&self, key: &dyn ErasedKey) -> Digest {
        self.seed.digest(key)
    }

    /// What is known to be told about a hit; else what is needed to note what the store tells.
    pub(super) fn ask(
        &self,
        limit: &S,
        digest: Digest,
        hit: &Hit<S::Cost>,
        now: Timestamp,
    ) -> Result<S::Verdict, Asked> {
        let set = self.set(digest);
        let told = set.entries.iter().find_map(|it| it.tells(limit, digest, hit, now));
        told.ok_or_else(|| {
            let changes = set.changes.get(part(digest)).copied().unwrap_or_default();
            Asked { digest, at: now, changes }
        })
    }

    /// Notes a denial, unless what is kept of the key was changed since it was asked for. If there is no room, whichever is
    /// over first gives way.
    pub(super) fn note(&self, limit: &S, asked: &Asked, hit: &Hit<S::Cost>, verdict: &S::Verdict) {
        let Outcome::Deny { retry_after } = verdict.outcome() else { return };
        let until = asked.at + retry_after;
        // Its waits in whole microseconds, so that nothing is divided where it is told.
        let Some(verdict) = verdict.later(std::time::Duration::ZERO) else { return };
        let mut set = self.set(asked.digest);
        if set.changes.get(part(asked.digest)) != Some(&asked.changes) {
            return;
        }
        set.entries.retain(|it| !it.is_about(limit, asked.digest, hit));
        if set.entries.len() >= WAYS {
            let first = set.entries.iter().enumerate().min_by_key(|(_, it)| it.until);
            let Some(at) = first.filter(|(_, it)| it.until <= until).map(|(at, _)| at) else { return };
            set.entries.swap_remove(at);
        }
        let (digest, limit) = (asked.digest, limit.clone());
        set.entries.push(Denial { digest, limit, hit: *hit, asked: asked.at, until, verdict });
    }
}

impl<S: Strategy> Denials<S> {
    /// What is kept of a key has been changed, or may be: no denial holds that was asked for until now.
    pub(super) fn forget(&self, digest: Digest) {
        let mut set = self.set(digest);
        if let Some(changes) = set.changes.get_mut(part(digest)) {
            *changes = changes.wrapping_add(1);
        }
        set.entries.retain(|it| it.digest != digest);
    }

    pub(super) fn len(&self) -> usize {
        self.sets.iter().map(|set| lock(set).entries.len()).sum()
    }

    #[expect(clippy::indexing_slicing, reason = "a remainder is below what it is divided by")]
    fn set(&self, digest: Digest) -> MutexGuard<'_, Set<S>> {
        lock(&self.sets[(digest.as_u64() % self.sets.len() as u64) as usize])
    }
}

/// Which of a set's counts is a key's: by the upper bits, for the set is chosen by all of them.
const fn part(digest: Digest) -> usize {
    (digest.as_u64() >> 61) as usize
}

/// Nobody panics with it but a limit that is compared, and that leaves it whole.
fn lock<S: Strategy>(set: &Mutex<Set<S>>) -> MutexGuard<'_, Set<S>> {
    set.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S: Strategy + PartialEq> Denial<S> {
    fn is_about(&self, limit: &S, digest: Digest, hit: &Hit<S::Cost>) -> bool {
        self.digest == digest && self.hit.class == hit.class && self.limit == *limit
    }

    fn tells(&self, limit: &S, digest: Digest, hit: &Hit<S::Cost>, now: Timestamp) -> Option<S::Verdict> {
        // A clock that stepped back tells nothing of how much time has passed.
        let holds = (self.asked..self.until).contains(&now) && self.is_about(limit, digest, hit);
        if !holds || !hit.cost.is_at_least(self.hit.cost) {
            return None;
        }
        // No wait is promised to what could not pass even afresh.
        let is_hopeless = || limit.peek(&S::State::default(), hit, now).outcome() == Outcome::Never;
        if hit.cost != self.hit.cost && is_hopeless() {
            return None;
        }
        self.verdict.later(now.since(self.asked))
    }
}
