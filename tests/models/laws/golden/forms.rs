//! The output of serde for the values of each strategy, and the numbers for scripts.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Write;

use super::list::{Case, Sample, every};
use super::steps::{Asked, START};
use super::told::json;
use super::{Files, Visit, run};
use traffik::strategy::{ActiveHours, ScriptFormula, ScriptLimit, StateNesting, Stats};
use traffik::{Class, Hit, Label, Op, Outcome, Strategy, Verdict};

/// How a strategy's figures are written, if they can be.
type Stat<S> = fn(&<S as Strategy>::Stat) -> String;

#[derive(Default)]
struct Forms(Files);

impl Forms {
    fn write<S>(&mut self, name: &str, cases: &[Case<S>], stat: Stat<S>)
    where
        S: Strategy<Cost: Asked + Serialize, State: Serialize + DeserializeOwned>,
        S::Verdict: Serialize + Verdict<Receipt: Serialize>,
    {
        let mut text = String::new();
        for case in cases {
            writeln!(text, "{} {}", case.size.name, case.size.rate).unwrap();
            first_of_each(case, stat, &mut text);
            text.push('\n');
        }
        self.0.compare("forms", name, &text);
    }
}

/// The forms of the first admission, the first denial and the first hit that can never pass.
fn first_of_each<S>(case: &Case<S>, stat: Stat<S>, text: &mut String)
where
    S: Strategy<Cost: Asked + Serialize, State: Serialize + DeserializeOwned>,
    S::Verdict: Serialize + Verdict<Receipt: Serialize>,
{
    writeln!(text, "state never used {}", json(&S::State::default())).unwrap();
    let mut told = Vec::new();
    run(case, |done| {
        let kind = match done.verdict.outcome() {
            Outcome::Allow { .. } => "allow",
            Outcome::Deny { .. } => "deny",
            Outcome::Never => "never",
        };
        if told.contains(&kind) || !matches!(done.op, Op::Check(_)) {
            return;
        }
        told.push(kind);
        let written = json(done.state);
        assert!(serde_json::from_str::<S::State>(&written).is_ok_and(|read| read == *done.state));
        writeln!(text, "{} hit {}", done.number, json(&done.hit)).unwrap();
        writeln!(text, "{} verdict {}", done.number, json(&done.verdict)).unwrap();
        if kind == "allow" {
            writeln!(text, "{} receipt {}", done.number, json(&done.verdict.receipt())).unwrap();
        }
        writeln!(text, "{} state {written}", done.number).unwrap();
        let figures = stat(&done.strategy.stat(done.state, done.step.class, START));
        writeln!(text, "{} stat {figures}", done.number).unwrap();
    });
}

impl Visit for Forms {
    fn see<S>(&mut self, name: &str, cases: Vec<Case<S>>)
    where
        S: Strategy<Cost: Asked, State: Serialize + DeserializeOwned, Stat: Stats + Serialize>,
        S::Cost: Serialize,
        S::Verdict: Serialize + Verdict<Receipt: Serialize>,
    {
        self.write(name, &cases, json);
    }

    fn see_erased<S>(&mut self, name: &str, cases: Vec<Case<S>>)
    where
        S: Strategy<Cost: Asked, State: Serialize + DeserializeOwned, Stat: Stats>,
        S::Cost: Serialize,
        S::Verdict: Serialize + Verdict<Receipt: Serialize>,
    {
        self.write(name, &cases, |_| "not written".to_owned());
    }
}

#[derive(Default)]
struct Parts(String, Files);

impl Parts {
    fn write<S: Strategy<Cost: Asked>>(&mut self, name: &str, cases: &[Case<S>]) {
        for case in cases {
            writeln!(self.0, "{name} {} {}", case.size.name, case.size.rate).unwrap();
            for (at, limit) in [&case.limit].into_iter().chain(&case.later).enumerate() {
                let mut before = String::new();
                for label in [0, 1, 2].map(Label) {
                    let told = asked(limit, &case.size, label);
                    if told != before {
                        self.0 += &told.replace("\n ", &format!("\n  class {} ", label.0 + 10 * at as u32));
                        self.0.push('\n');
                    }
                    before = told;
                }
            }
            self.0.push('\n');
        }
    }
}

/// The numbers for scripts of hits of some costs and one class.
fn asked<S: Strategy<Cost: Asked>>(strategy: &S, size: &Sample, label: Label) -> String {
    let mut class = Class::default();
    (class.tier, class.priority, class.region, class.instance) = (label, label, label, label);
    let mut text = String::new();
    for (first, second) in [(0, 1), (size.unit, 0), (3 * size.unit, 7), (u32::MAX, u32::MAX)] {
        let hit = Hit::new(S::Cost::asked(first, second)).with_class(class);
        let mut parts = Vec::new();
        let complete = strategy.parts_of(&hit, &mut |told| parts.push(part(&told)));
        write!(text, "\n {:?}: {complete}; {}", hit.cost, parts.join("; ")).unwrap();
    }
    text
}

/// The formula with its numbers, what is asked and booked, and how the state is encoded.
fn part(part: &ScriptLimit) -> String {
    let formula = match part.formula {
        ScriptFormula::Unlimited => "unlimited".to_owned(),
        ScriptFormula::Window { period, anchor, limit } => format!("window {period} {anchor} {limit}"),
        ScriptFormula::Sliding { period, limit } => format!("sliding {period} {limit}"),
        ScriptFormula::Rollover { period, limit, share, most } => {
            format!("rollover {period} {limit} {share} {most}")
        }
        ScriptFormula::Strict { period, buckets, limit, room } => {
            format!("strict {period} {buckets} {limit} {room}")
        }
        ScriptFormula::Log { period, limit, room } => format!("log {period} {limit} {room}"),
        ScriptFormula::Level { drain, unit, capacity } => format!("level {drain} {unit} {capacity}"),
        ScriptFormula::Queue { drain, unit, capacity } => format!("queue {drain} {unit} {capacity}"),
        other => panic!("{other:?} is to be told by its numbers"),
    };
    let hours = part.hours.map_or_else(String::new, |hours| held(&hours));
    format!("{formula} asked {} booked {}{}{hours}", part.cost, part.charge, inlined(part.inline))
}

fn inlined(StateNesting { layers, room }: StateNesting) -> String {
    if layers == 0 && room == 0 { String::new() } else { format!(" inline {layers} of {room}") }
}

fn held(ActiveHours { span, ahead, more, inline }: &ActiveHours) -> String {
    let span = span.map_or_else(|| "else".to_owned(), |(from, to)| format!("{from} to {to}"));
    format!(" hours {span} ahead {ahead} more {more}{}", inlined(*inline))
}

impl Visit for Parts {
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

#[test]
fn values_are_written_as_ever() {
    every(&mut Forms::default());
}

#[test]
fn scripts_are_told_the_same() {
    let mut parts = Parts::default();
    every(&mut parts);
    let text = std::mem::take(&mut parts.0);
    parts.1.compare("forms", "script_parts", &text);
}
