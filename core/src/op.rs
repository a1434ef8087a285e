//! The operations that a storage applies to the state of one key.

use crate::{Class, Cost, Hit, Strategy, Timestamp, Verdict};

/// An operation that a storage applies to the state of one key, as one atomic step.
///
/// Callers use the verbs of a [`Limiter`](crate::Limiter); a storage of your own runs them. Every operation
/// returns a verdict. That of a check or a peek is about its hit; that of any other is the verdict of a peek
/// of cost 0 afterwards, which shows the figures that it leaves behind.
///
/// ```
/// use traffik::{Gcra, Hit, Op, Timestamp, rate};
///
/// let (strategy, mut state) = (Gcra::new(rate!("1/s")), Default::default());
/// let check = Op::Check(Hit::new(1));
/// let (verdict, is_changed) = check.apply(&strategy, &mut state, Timestamp::EPOCH);
/// assert!(verdict.is_allowed() && is_changed); // the storage writes the state back
///
/// let (verdict, is_changed) = check.apply(&strategy, &mut state, Timestamp::EPOCH);
/// assert!(!verdict.is_allowed() && !is_changed);
/// ```
#[derive(Debug)]
pub enum Op<S: Strategy> {
    /// Decides on a hit, and charges it if it is admitted.
    Check(Hit<S::Cost>),
    /// Decides on a hit without charging it.
    Peek(Hit<S::Cost>),
    /// Charges a hit that has already happened.
    Charge(Hit<S::Cost>),
    /// Gives back an admission, by its receipt.
    Refund(Hit<S::Cost>, <S::Verdict as Verdict>::Receipt),
    /// Forgets the key.
    Reset,
}

impl<S: Strategy> Clone for Op<S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S: Strategy> Copy for Op<S> {}

impl<S: Strategy> Op<S> {
    /// Runs the operation on a state. Returns the verdict, and whether the state has to be written back.
    pub fn apply(&self, strategy: &S, state: &mut S::State, now: Timestamp) -> (S::Verdict, bool) {
        let verdict = self.run(strategy, state, now);
        let written = self.writes(&verdict);
        (verdict, written)
    }

    /// Runs the operation on a state and returns the verdict.
    #[inline]
    pub fn run(&self, strategy: &S, state: &mut S::State, now: Timestamp) -> S::Verdict {
        match self {
            Self::Check(hit) => strategy.decide(state, hit, now),
            _ => self.run_rarely(strategy, state, now),
        }
    }

    /// Runs any operation but a check, in a function of its own: a check then has more registers.
    #[inline(never)]
    fn run_rarely(&self, strategy: &S, state: &mut S::State, now: Timestamp) -> S::Verdict {
        match self {
            Self::Check(_) | Self::Peek(_) => {}
            Self::Charge(hit) => strategy.charge(state, hit, now),
            Self::Refund(hit, receipt) => strategy.refund(state, hit, *receipt, now),
            Self::Reset => *state = S::State::default(),
        }
        let hit = match self {
            Self::Peek(hit) => *hit,
            _ => Hit::new(S::Cost::uniform(0)).with_class(self.class()),
        };
        strategy.peek(state, &hit, now)
    }

    /// Reports whether the state has to be written back after this operation, given its verdict.
    #[inline]
    pub fn writes(&self, verdict: &S::Verdict) -> bool {
        match self {
            Self::Check(_) => verdict.is_dirty(),
            Self::Peek(_) => false,
            Self::Charge(_) | Self::Refund(..) | Self::Reset => true,
        }
    }

    /// Returns the class of the hit; the default one for a reset.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Check(hit) | Self::Peek(hit) | Self::Charge(hit) | Self::Refund(hit, _) => hit.class,
            Self::Reset => Class::default(),
        }
    }
}
