//! Runs of hits, and the law that one breaks.

use crate::{Class, Cost, Hit, Strategy, Timestamp};

/// One hit of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// The time of the hit. It need not be later than that of the step before.
    pub at: Timestamp,
    /// The cost of the hit, for each of composed limits.
    pub cost: u32,
    /// The class of the hit.
    pub class: Class,
}

impl Step {
    /// A hit of the default class.
    #[must_use]
    pub fn new(at: Timestamp, cost: u32) -> Self {
        Self { at, cost, class: Class::default() }
    }

    pub(super) fn hit<C: Cost>(&self) -> Hit<C> {
        Hit::new(C::uniform(self.cost)).with_class(self.class)
    }
}

/// A broken law, with the step at which it shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The number of the law.
    pub law: u8,
    /// The step of the run, from 0, after or at which it shows.
    pub step: usize,
    /// The finding.
    pub what: &'static str,
}

texts! { Broken:
    Self { law, step, what } => "law {law} is broken at step {step}: {what}",
}

pub(super) type Held = Result<(), Broken>;

/// Passes if `holds`.
pub(super) fn expect(holds: bool, law: u8, step: usize, what: &'static str) -> Held {
    if holds { Ok(()) } else { Err(Broken { law, step, what }) }
}

/// Runs a limit over steps, showing each verdict with the states before and after it.
pub(super) fn follow<S: Strategy>(
    strategy: &S,
    run: &[Step],
    mut look: impl FnMut(usize, &Step, &S::State, &S::Verdict, &S::State) -> Held,
) -> Held {
    let mut state = S::State::default();
    for (at, step) in run.iter().enumerate() {
        let before = state.clone();
        let verdict = strategy.decide(&mut state, &step.hit(), step.at);
        look(at, step, &before, &verdict, &state)?;
    }
    Ok(())
}
