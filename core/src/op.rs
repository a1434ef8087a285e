//! The operations that a storage applies to the state of one key.

use crate::{Class, Cost, Hit, Strategy, Timestamp, Verdict};

/// An operation that a storage applies to the state of one key, as one atomic step.
///
/// Every operation returns a verdict: a check and a peek the one on their hit, the others that of a peek of
/// cost 0 afterwards, which shows the figures they leave behind.
#[derive(Debug)]
pub enum Op<S: Strategy> {
    /// Decides on a hit and books it if it is admitted.
    Check(Hit<S::Cost>),
    /// Decides on a hit without booking it.
    Peek(Hit<S::Cost>),
    /// Books a hit that has already happened.
    Charge(Hit<S::Cost>),
    /// Takes an admission back.
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
    /// Runs the operation on a state. Returns the verdict, and whether the state was changed.
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

    /// Runs what is no check. Apart from it: a check has more registers by itself.
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

    /// Whether the operation changed the state, given its verdict.
    #[inline]
    pub fn writes(&self, verdict: &S::Verdict) -> bool {
        match self {
            Self::Check(_) => verdict.is_dirty(),
            Self::Peek(_) => false,
            Self::Charge(_) | Self::Refund(..) | Self::Reset => true,
        }
    }

    /// The class of the hit, or the default one.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Check(hit) | Self::Peek(hit) | Self::Charge(hit) | Self::Refund(hit, _) => hit.class,
            Self::Reset => Class::default(),
        }
    }
}
