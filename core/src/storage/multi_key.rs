//! Several keys in one decision: all of them are charged, or none is.

use core::array;

use super::error::StorageError;
use super::slot_tag::SlotTag;
use super::table::{Slot, Table};
use crate::{Digest, Hit, Op, Outcome, Strategy, Timestamp, Verdict};

/// The verdicts of several keys on one hit: all of them were charged, or none.
///
/// [`Limiter::check_together`](crate::Limiter::check_together) returns it. A storage that overrides
/// [`Storage::check_together`](super::Storage::check_together) makes it by [`new`](Self::new).
///
/// ```
/// use traffik::{Limiter, Memory, TokenBucket, rate};
///
/// let limiter = Limiter::new(TokenBucket::new(rate!("2/min")), Memory::new(1_000));
/// let together = limiter.check_together(["address 1", "user 1"], 1)?;
/// assert!(together.is_allowed() && together.is_atomic());
/// assert_eq!(together.verdicts.map(|verdict| verdict.remaining()), [1, 1]);
/// # Ok::<(), traffik::StorageError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct MultiKeyVerdict<V, const N: usize> {
    /// The verdict of each key, in the order of the keys. If one denies, the others hold the verdict that
    /// they would have returned.
    pub verdicts: [V; N],
    outcome: Outcome,
    atomic: bool,
}

impl<V: Verdict, const N: usize> MultiKeyVerdict<V, N> {
    /// Creates the answer of a storage that decided on all keys in one atomic step.
    ///
    /// The storage MUST have charged all of the keys if all admit, and none otherwise.
    ///
    /// ```
    /// use traffik::storage::MultiKeyVerdict;
    /// use traffik::{Hit, Strategy, Timestamp, TokenBucket, rate};
    ///
    /// // The storage has locked the states of two different keys.
    /// let mut states = [Default::default(), Default::default()];
    /// let (limit, hit, now) = (TokenBucket::new(rate!("2/min")), Hit::new(1), Timestamp::from_micros(1));
    ///
    /// let mut charged = states;
    /// let verdict = MultiKeyVerdict::new(charged.each_mut().map(|state| limit.decide(state, &hit, now)));
    /// if verdict.is_allowed() {
    ///     states = charged; // stores all of them, or none
    /// }
    /// assert!(verdict.is_atomic() && states[0] != Default::default());
    /// ```
    pub fn new(verdicts: [V; N]) -> Self {
        let outcome = Outcome::all(verdicts.iter().map(V::outcome));
        Self { verdicts, outcome, atomic: true }
    }

    /// Creates the answer of checks one after another, with refunds if a later one denied.
    pub(crate) fn in_turn(verdicts: [V; N]) -> Self {
        Self { atomic: false, ..Self::new(verdicts) }
    }

    /// Reports whether the storage decided on all keys in one step.
    ///
    /// If not, others may have been denied meanwhile because of a charge that was then refunded.
    #[must_use]
    pub const fn is_atomic(&self) -> bool {
        self.atomic
    }

    /// Returns whether all keys admit the hit, and when: after the longest of their waits.
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Reports whether all keys admitted the hit, and were charged.
    #[must_use]
    pub const fn is_allowed(&self) -> bool {
        self.outcome.is_allowed()
    }
}

/// Tables that nobody else can access while they are borrowed.
///
/// A [`Table`] is one; `Memory` makes one of its locked shards for [`check_together`]:
///
/// ```
/// use traffik::storage::{Slot, Table, WhenFull, check_together};
/// use traffik::{Gcra, Hit, Seed, Strategy, Timestamp, rate};
///
/// let slots: [Slot<<Gcra as Strategy>::State>; 64] = std::array::from_fn(|_| Slot::default());
/// let (mut table, seed) = (Table::new(slots, WhenFull::Evict), Seed::new(1));
/// let (digests, now) = (["a", "b"].map(|key| seed.digest(key)), Timestamp::EPOCH);
/// let strategy = Gcra::new(rate!("1/s"));
/// assert!(check_together(&mut table, &strategy, digests, &Hit::new(1), now)?.is_allowed());
/// # Ok::<(), traffik::StorageError>(())
/// ```
pub trait Tables<T, A, H> {
    /// Returns the table that keeps keys of this digest.
    ///
    /// # Errors
    ///
    /// Fails if that table is not among these.
    fn table_for(&mut self, digest: Digest) -> Result<&mut Table<T, A, H>, StorageError>;
}

impl<T, A, H> Tables<T, A, H> for Table<T, A, H> {
    fn table_for(&mut self, _: Digest) -> Result<&mut Self, StorageError> {
        Ok(self)
    }
}

/// Checks one hit on several keys in tables that nobody else can access. A key that is named twice is charged
/// twice.
///
/// # Errors
///
/// Fails with [`Full`](super::ErrorKind::Full) if there is no room for one of the keys; then none is charged.
pub fn check_together<S, A, H, const N: usize>(
    tables: &mut impl Tables<S::State, A, H>,
    strategy: &S,
    digests: [Digest; N],
    hit: &Hit<S::Cost>,
    now: Timestamp,
) -> Result<MultiKeyVerdict<S::Verdict, N>, StorageError>
where
    S: Strategy,
    H: SlotTag,
    A: AsRef<[Slot<S::State, H>]> + AsMut<[Slot<S::State, H>]>,
{
    let mut verdicts: [Option<S::Verdict>; N] = array::from_fn(|_| None);
    for (verdict, digest) in verdicts.iter_mut().zip(digests) {
        *verdict = Some(tables.table_for(digest)?.apply(strategy, digest, &Op::Peek(*hit), now)?);
    }
    if !verdicts.iter().flatten().all(|verdict| verdict.outcome().is_allowed()) {
        // None is charged, but a denial may change its state: as demand, or since the strategy has changed.
        for (verdict, digest) in verdicts.iter_mut().zip(digests) {
            let is_denied = verdict.as_ref().is_some_and(|verdict| !verdict.outcome().is_allowed());
            let op = Op::Check(if is_denied { *hit } else { hit.free() });
            // Without room for that change it is denied all the same.
            let answer = tables.table_for(digest)?.apply(strategy, digest, &op, now);
            if let (true, Ok(denied)) = (is_denied, answer) {
                *verdict = Some(denied);
            }
        }
        return Ok(all_verdicts(verdicts, strategy, hit, now));
    }
    let mut before: [S::State; N] = array::from_fn(|_| S::State::default());
    for (at, digest) in digests.into_iter().enumerate() {
        let table = tables.table_for(digest)?;
        if let Some(before) = before.get_mut(at) {
            *before = table.load(digest, now);
        }
        let charged = table.apply(strategy, digest, &Op::Check(*hit), now);
        let admitted = charged.as_ref().is_ok_and(|verdict| verdict.outcome().is_allowed());
        if !admitted {
            // A key that is named twice and admits once only, or no room: those charged are put back as they
            // were, in reverse, so that a key named twice ends with its first state.
            for at in (0..at).rev() {
                let (Some(&digest), Some(before)) = (digests.get(at), before.get(at)) else { continue };
                tables.table_for(digest)?.put_back(strategy, digest, before.clone(), hit.class, now);
            }
        }
        if let Some(verdict) = verdicts.get_mut(at) {
            *verdict = Some(charged?);
        }
        if !admitted {
            break;
        }
    }
    Ok(all_verdicts(verdicts, strategy, hit, now))
}

/// Returns the verdicts of all keys; a key that has none yet gets that of a fresh state.
pub(super) fn all_verdicts<S: Strategy, const N: usize>(
    verdicts: [Option<S::Verdict>; N],
    strategy: &S,
    hit: &Hit<S::Cost>,
    now: Timestamp,
) -> MultiKeyVerdict<S::Verdict, N> {
    MultiKeyVerdict::new(
        verdicts.map(|it| it.unwrap_or_else(|| strategy.peek(&S::State::default(), hit, now))),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::WhenFull;
    use crate::{ErrorKind, Fixed, Gcra, Key, Limiter, ManualClock, Rate, Storage, TokenBucket};

    /// A storage that does no more than it must.
    struct Plain<M>(M);

    impl<S: Strategy, M: Storage<S>> Storage<S> for Plain<M> {
        fn now(&self) -> Timestamp {
            self.0.now()
        }

        fn apply<K: Key + ?Sized>(
            &self,
            strategy: &S,
            key: &K,
            op: &Op<S>,
            now: Timestamp,
        ) -> Result<S::Verdict, StorageError> {
            self.0.apply(strategy, key, op, now)
        }

        fn load<K: Key + ?Sized>(&self, key: &K) -> Result<S::State, StorageError> {
            self.0.load(key)
        }
    }

    type Table<const N: usize> = Fixed<TokenBucket, ManualClock, N>;

    fn table<const N: usize>() -> Table<N> {
        Table::new(ManualClock::default(), 7).when_full(WhenFull::Refuse)
    }

    fn all_or_none(storage: impl Storage<TokenBucket>) {
        let limiter = Limiter::new(TokenBucket::new(Rate::per_minute(5)), storage);
        let left = |key| limiter.peek(key, 0).unwrap().remaining();
        let all = limiter.check_together(["a", "b", "c"], 2).unwrap();
        assert!(all.is_allowed() && all.verdicts.iter().all(|it| it.remaining() == 3));
        assert!(limiter.check_n("b", 2).unwrap().is_allowed());
        let none = limiter.check_together(["a", "b", "c"], 2).unwrap();
        assert_eq!(none.verdicts.map(|it| it.is_allowed()), [true, false, true]);
        assert_eq!(none.outcome(), none.verdicts[1].outcome());
        assert_eq!(["a", "b", "c"].map(left), [3, 1, 3]);
        // A key named twice is charged twice, or not at all.
        assert!(!limiter.check_together(["a", "d", "a"], 2).unwrap().is_allowed());
        assert_eq!(["a", "d"].map(left), [3, 5]);
        assert!(limiter.check_together(["d", "d"], 2).unwrap().is_allowed());
        assert_eq!(left("d"), 1);
        assert!(limiter.check_together::<str, 0>([], 1).unwrap().is_allowed());
    }

    #[test]
    fn all_are_charged_or_none() {
        all_or_none(table::<8>());
        all_or_none(Plain(table::<8>()));
        let (plain, fixed) = (Plain(table::<8>()), table::<8>());
        all_or_none(&plain);
        all_or_none(&fixed);
    }

    fn room_for_one(storage: impl Storage<TokenBucket>) {
        let limiter = Limiter::new(TokenBucket::new(Rate::per_minute(5)), storage);
        let error = limiter.check_together(["a", "b"], 1).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Full);
        assert_eq!(limiter.peek("a", 0).unwrap().remaining(), 5);
        assert!(limiter.check("b").unwrap().is_allowed(), "the slot of the first key is free again");
    }

    #[test]
    fn without_room_for_all_none_is_charged() {
        room_for_one(table::<1>());
        room_for_one(Plain(table::<1>()));
    }

    #[test]
    fn what_was_used_before_stays_used() {
        let limiter = Limiter::new(
            Gcra::new(Rate::per_minute(1)).burst(2).unwrap(),
            Fixed::<Gcra, _, 4>::new(ManualClock::default(), 7),
        );
        assert!(limiter.check("a").unwrap().is_allowed());
        assert!(!limiter.check_together(["a", "a"], 1).unwrap().is_allowed());
        assert_eq!(limiter.peek("a", 0).unwrap().remaining(), 1);
        assert!(limiter.check("a").unwrap().is_allowed());
    }
}
