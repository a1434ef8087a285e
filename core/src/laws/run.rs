//! Runs of hits, and the error of a broken law.

use crate::{Class, Cost, Hit, Strategy, Timestamp};

/// One hit of a run that a law is checked with.
///
/// ```
/// use traffik::laws::{self, Step};
/// use traffik::{Timestamp, TokenBucket, rate};
///
/// let run = [Step::new(Timestamp::EPOCH, 1), Step::new(Timestamp::from_micros(9), 2)];
/// assert_eq!(laws::pure(&TokenBucket::new(rate!("5/s")), &run), Ok(()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The time of the hit. It may be earlier than that of the previous step.
    pub at: Timestamp,
    /// The cost of the hit, for each of several composed limits.
    pub cost: u32,
    /// The class of the hit.
    pub class: Class,
}

impl Step {
    /// Returns a hit of the default class.
    #[must_use]
    pub fn new(at: Timestamp, cost: u32) -> Self {
        Self { at, cost, class: Class::default() }
    }

    pub(super) fn hit<C: Cost>(&self) -> Hit<C> {
        Hit::new(C::uniform(self.cost)).with_class(self.class)
    }
}

/// The error of a broken law, with the step at which it shows.
///
/// ```
/// use traffik::laws::BrokenLaw;
///
/// let error = BrokenLaw { law: 2, step: 7, what: "more was admitted than the bound" };
/// assert_eq!(error.to_string(), "law 2 is broken at step 7: more was admitted than the bound");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokenLaw {
    /// The number of the law.
    pub law: u8,
    /// The step of the run, from 0, at or after which it shows.
    pub step: usize,
    /// The finding.
    pub what: &'static str,
}

texts! { BrokenLaw:
    Self { law, step, what } => "law {law} is broken at step {step}: {what}",
}

/// The result of one law.
pub(super) type LawResult = Result<(), BrokenLaw>;

/// Fails with this finding unless `holds`.
pub(super) fn expect(holds: bool, law: u8, step: usize, what: &'static str) -> LawResult {
    if holds { Ok(()) } else { Err(BrokenLaw { law, step, what }) }
}

/// Runs a strategy over steps, and shows each verdict with the states before and after it.
pub(super) fn follow<S: Strategy>(
    strategy: &S,
    run: &[Step],
    mut look: impl FnMut(usize, &Step, &S::State, &S::Verdict, &S::State) -> LawResult,
) -> LawResult {
    let mut state = S::State::default();
    for (at, step) in run.iter().enumerate() {
        let before = state.clone();
        let verdict = strategy.decide(&mut state, &step.hit(), step.at);
        look(at, step, &before, &verdict, &state)?;
    }
    Ok(())
}
