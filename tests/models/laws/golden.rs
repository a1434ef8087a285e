//! The answers and the states of every strategy, word for word, on one sequence of operations.
//!
//! Each strategy has three files. In `states` are the bytes of its state, where one as it was after the step
//! before is `=`. In `decisions` are its answers, in `forms` the output of serde; and, of all strategies
//! together, the numbers for scripts. Times count in microseconds from the first step.
//!
//! A line of `decisions` has these parts, with a semicolon between:
//!
//! 1. the number of the step, what is asked, of which tier, priority, region, instance, the cost, the time;
//! 2. the outcome with its wait, `w` if the state was changed, how depleted the limit is; then of each limit
//!    the limit per period, what remains, and in how long all is back;
//! 3. the receipts of an admission: time, level and unit;
//! 4. from when the state is fresh;
//! 5. the strategy's own figures, whose names are in the head.
//!
//! Where there is nothing to refund, a refund is a peek.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};

use self::list::{Case, every};
use self::steps::{Act, Asked, START, Step, steps};
use self::told::{bytes, figures, hex, moment, names, receipts, verdict};
use traffik::strategy::{Stats, decode};
use traffik::{Class, Hit, Op, Receipts, State, Strategy, Timestamp, Verdict};
use traffik_test_support::golden::golden;

mod forms;
mod list;
mod steps;
mod told;
mod values;

const FOLDER: &str = "tests/models/laws/golden";

/// How many steps there are at rates that let all or nothing pass.
const FEW: usize = 14;

/// The steps that are left out if it is to be brief.
const MIDDLE: std::ops::Range<usize> = 32..98;

/// The step from which on another strategy may have taken over.
const LATER: usize = 25;

/// An action on every strategy.
trait Visit {
    /// With one whose values can all be written.
    fn see<S>(&mut self, name: &str, cases: Vec<Case<S>>)
    where
        S: Strategy<Cost: Asked, State: Serialize + DeserializeOwned, Stat: Stats + Serialize>,
        S::Cost: Serialize,
        S::Verdict: Serialize + Verdict<Receipt: Serialize>;

    /// With one whose figures cannot.
    fn see_erased<S>(&mut self, name: &str, cases: Vec<Case<S>>)
    where
        S: Strategy<Cost: Asked, State: Serialize + DeserializeOwned, Stat: Stats>,
        S::Cost: Serialize,
        S::Verdict: Serialize + Verdict<Receipt: Serialize>;
}

/// The outcome of a step.
struct Done<'a, S: Strategy> {
    number: usize,
    step: Step,
    strategy: &'a S,
    /// The hit of the step; a reset has no cost.
    hit: Hit<S::Cost>,
    now: Timestamp,
    op: Op<S>,
    verdict: S::Verdict,
    state: &'a S::State,
}

/// Runs the sequence, and shows what comes of each step.
fn run<S: Strategy<Cost: Asked>>(case: &Case<S>, mut show: impl FnMut(Done<'_, S>)) {
    let count = if case.size.is_edge() { FEW } else { usize::MAX };
    let (mut state, mut now) = (S::State::default(), START);
    let mut admitted: Vec<(Hit<S::Cost>, <S::Verdict as Verdict>::Receipt)> = Vec::new();
    for (number, step) in steps().into_iter().enumerate().take(count) {
        if case.size.is_brief && MIDDLE.contains(&number) {
            continue;
        }
        let limit = case.later.as_ref().filter(|_| number >= LATER.min(count / 2)).unwrap_or(&case.limit);
        now = step.time(now, case.size.period());
        let mut hit = Hit::new(step.cost(&case.size)).with_class(step.class);
        let op = match step.act {
            Act::Check => Op::Check(hit),
            Act::Charge => Op::Charge(hit),
            Act::Refund(place, keeps) if !admitted.is_empty() => {
                let place = (place % admitted.len() as u64) as usize;
                let (taken, receipt) = if keeps { admitted[place] } else { admitted.remove(place) };
                hit = taken;
                Op::Refund(hit, receipt)
            }
            Act::Peek | Act::Refund(..) => Op::Peek(hit),
            Act::Reset => Op::Reset,
        };
        let (verdict, written) = op.apply(limit, &mut state, now);
        assert_eq!(written, op.writes(&verdict));
        if matches!(op, Op::Check(_)) && verdict.is_allowed() {
            admitted.push((hit, verdict.receipt()));
        }
        assert!(decode::<S::State>(&bytes(&state)).is_ok_and(|read| read == state));
        show(Done { number, step, strategy: limit, hit, now, op, verdict, state: &state });
    }
}

/// Compares files one by one, and tells of all that differ.
#[derive(Default)]
struct Files {
    differing: Vec<String>,
}

impl Files {
    fn compare(&mut self, folder: &str, name: &str, text: &str) {
        let compared = catch_unwind(AssertUnwindSafe(|| golden(&format!("{FOLDER}/{folder}"), name, text)));
        if compared.is_err() {
            self.differing.push(format!("{folder}/{name}"));
        }
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.differing.is_empty(), "these differ: {:?}", self.differing);
        }
    }
}

#[derive(Default)]
struct States(Files);

impl States {
    fn write<S: Strategy<Cost: Asked>>(&mut self, name: &str, cases: &[Case<S>]) {
        let mut text = format!("at most {} bytes\n", S::State::MAX_LEN);
        for case in cases {
            let mut before = bytes(&S::State::default());
            writeln!(text, "\n{} {}\n    {}", case.size.name, case.size.rate, hex(&before)).unwrap();
            run(case, |done| {
                let after = bytes(done.state);
                let told = if after == before { "=".to_owned() } else { hex(&after) };
                writeln!(text, "{:3} {told}", done.number).unwrap();
                before = after;
            });
        }
        self.0.compare("states", name, &text);
    }
}

impl Visit for States {
    fn see<S>(&mut self, name: &str, cases: Vec<Case<S>>)
    where
        S: Strategy<Cost: Asked>,
    {
        self.write(name, &cases);
    }

    fn see_erased<S>(&mut self, name: &str, cases: Vec<Case<S>>)
    where
        S: Strategy<Cost: Asked>,
    {
        self.write(name, &cases);
    }
}

#[derive(Default)]
struct Decisions(Files);

impl Decisions {
    fn write<S: Strategy<Cost: Asked, Stat: Stats>>(&mut self, name: &str, cases: &[Case<S>]) {
        let limits = <<S::Verdict as Verdict>::Receipt as Receipts>::COUNT;
        let mut text = format!("receipts of {limits}\n");
        for case in cases {
            let limit = &case.limit;
            let stat = names(&limit.stat(&S::State::default(), Class::default(), START));
            write!(text, "\n{} {}; horizon {}", case.size.name, case.size.rate, limit.max_ttl()).unwrap();
            let fits = limit.fits_script().map_or_else(|error| error.to_string(), |()| "fits".to_owned());
            writeln!(text, "; demand {}; script {fits}; {stat}", limit.records_demand()).unwrap();
            run(case, |done| {
                let stat = done.strategy.stat(done.state, done.step.class, done.now);
                let cost = match done.op {
                    Op::Reset => String::new(),
                    _ => format!(" {:?}", done.hit.cost),
                };
                let told = verdict(&done.verdict);
                let receipts = match done.op {
                    Op::Check(_) | Op::Peek(_) if done.verdict.is_allowed() => receipts(&done.verdict),
                    _ => "-".to_owned(),
                };
                let expires_at = moment(done.strategy.expires_at(done.state, done.step.class));
                let (number, step, now, stat) = (done.number, done.step, moment(done.now), figures(&stat));
                writeln!(text, "{number} {step}{cost} {now}; {told}; {receipts}; {expires_at}; {stat}")
                    .unwrap();
            });
        }
        self.0.compare("decisions", name, &text);
    }
}

impl Visit for Decisions {
    fn see<S>(&mut self, name: &str, cases: Vec<Case<S>>)
    where
        S: Strategy<Cost: Asked, Stat: Stats>,
    {
        self.write(name, &cases);
    }

    fn see_erased<S>(&mut self, name: &str, cases: Vec<Case<S>>)
    where
        S: Strategy<Cost: Asked, Stat: Stats>,
    {
        self.write(name, &cases);
    }
}

#[test]
fn states_are_encoded_as_ever() {
    every(&mut States::default());
}

#[test]
fn decisions_are_what_they_were() {
    every(&mut Decisions::default());
}
