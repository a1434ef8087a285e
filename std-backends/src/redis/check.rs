//! Checks that the server decides: what its scripts are told, and what their answer means.

use std::sync::OnceLock;

use redis::Value;
use traffik_core::storage::{ErrorKind, Failure};
use traffik_core::strategy::{Formula, Part};
use traffik_core::{Hit, Strategy, Verdict};

use super::script::Script;
use super::{Inner, time, told};
use crate::cas;

/// Has the server decide on a hit on all of these keys, and decides the same on what it had found, for each key. `None` if
/// it did nothing: it does not know the limit, the numbers are too large for it, or it denies what the strategy does not.
pub(super) async fn check<S: Strategy>(
    inner: &Inner,
    limit: &S,
    hit: &Hit<S::Cost>,
    names: &[&[u8]],
) -> Result<Option<Vec<S::Verdict>>, Failure> {
    let Some(Told { kinds, arguments }) = tell(limit, hit, names.len()) else { return Ok(None) };
    let kept = [inner.time(), limit.horizon().to_string().into(), inner.least().to_string().into()];
    let arguments: Vec<&[u8]> = kept.iter().chain(&arguments).map(Vec::as_slice).collect();
    let run = async |session| script(kinds).run(&session, names, &arguments).await;
    let mut answer: Vec<Value> = told(inner.link.call(run).await?)?;
    let found: Vec<Option<Vec<u8>>> = told(Value::Array(answer.split_off(answer.len().min(3))))?;
    let (seconds, micros, charged): (u64, u64, i8) = told(Value::Array(answer))?;
    if charged < 0 {
        return Ok(None);
    }
    let (charged, now) = (charged > 0, time(seconds, micros));
    let mut states: Vec<S::State> = found.iter().map(|bytes| cas::state::<S>(bytes.as_deref())).collect();
    let asked: Vec<_> = states.iter().map(|state| limit.peek(state, hit, now)).collect();
    if !asked.iter().all(|verdict| verdict.outcome().is_allowed()) {
        return if charged { Err(otherwise()) } else { Ok(Some(asked)) };
    }
    let decided: Vec<_> = states.iter_mut().map(|state| limit.decide(state, hit, now)).collect();
    match (charged, decided.iter().any(Verdict::is_recorded)) {
        // It was not charged, so the strategy may decide by another way.
        (false, true) => Ok(None),
        (true, false) => Err(otherwise()),
        _ => Ok(Some(decided)),
    }
}

/// Cannot be as long as script and strategy are of one version; nobody is told what was not so.
fn otherwise() -> Failure {
    Failure::new(ErrorKind::Corrupt, "the script on the server decided otherwise")
}

/// A kind of limit that scripts know.
struct Kind {
    letter: &'static str,
    text: &'static str,
}

/// In the order in which they are sent; the last is part of `tail.lua`, and a log changes how values are read.
const KINDS: [Kind; 7] = [
    Kind { letter: "w", text: include_str!("check/fixed_window.lua") },
    Kind { letter: "s", text: include_str!("check/sliding_window.lua") },
    Kind { letter: "k", text: include_str!("check/strict_window.lua") },
    Kind { letter: "q", text: include_str!("check/quota_rollover.lua") },
    Kind { letter: "l", text: include_str!("check/meter.lua") },
    Kind { letter: "g", text: include_str!("check/sliding_log.lua") },
    Kind { letter: "u", text: "" },
];
const LOG: usize = 5;

/// Kinds of limits, by a bit each; and one more if there is but one limit, whose state is stored as it is.
type Kinds = u8;
const ONE: Kinds = 1 << KINDS.len();

/// The script for these kinds together, made when it is first needed.
fn script(kinds: Kinds) -> &'static Script {
    static SCRIPTS: [OnceLock<Script>; 1 + Kinds::MAX as usize] =
        [const { OnceLock::new() }; 1 + Kinds::MAX as usize];
    let made = SCRIPTS.get(usize::from(kinds)).unwrap_or(&SCRIPTS[0]);
    made.get_or_init(|| {
        let of = |kind: Kinds| kinds & kind != 0;
        let mut text = include_str!("check/head.lua").to_owned();
        text += match (of(ONE), of(1 << LOG)) {
            (true, _) => "",
            (false, true) => include_str!("check/pieces.lua"),
            (false, false) => include_str!("check/whole.lua"),
        };
        for (_, kind) in KINDS.iter().enumerate().filter(|(at, _)| of(1 << at)) {
            text += kind.text;
        }
        text += if of(ONE) { include_str!("check/one.lua") } else { include_str!("check/tail.lua") };
        Script::new(text)
    })
}

/// A check as scripts are told it.
struct Told {
    kinds: Kinds,
    arguments: Vec<Vec<u8>>,
}

/// How to ask for a check; `None` if one of the limits is none that a script knows.
fn tell<S: Strategy>(limit: &S, hit: &Hit<S::Cost>, keys: usize) -> Option<Told> {
    let mut told = Told { kinds: 0, arguments: Vec::with_capacity(3 + 7) };
    let (mut known, mut goes_on) = (true, false);
    let (mut parts, mut plain) = (0, keys == 1);
    let complete = limit.parts_of(hit, &mut |part| {
        known &= told.add(&part, goes_on);
        goes_on = part.hours.is_some_and(|hours| hours.more > 0);
        parts += 1;
        plain &= parts == 1 && part.hours.is_none() && part.inline.layers == 0;
    });
    if plain && told.kinds != 1 << LOG {
        told.kinds |= ONE;
    }
    (complete && known && !goes_on).then_some(told)
}

impl Told {
    /// Adds a limit, or another one of the same state; `false` if no script knows it.
    fn add(&mut self, part: &Part, goes_on: bool) -> bool {
        let (kind, numbers): (usize, &[u64]) = match part.formula {
            Formula::Window { period, anchor, limit } => (0, &[period, anchor, limit.into()]),
            Formula::Sliding { period, limit } => (1, &[period, limit.into()]),
            Formula::Strict { period, buckets, limit, room } => {
                (2, &[period, buckets.into(), limit.into(), room.into()])
            }
            Formula::Rollover { period, limit, share, most } => {
                (3, &[period, limit.into(), share.num(), share.den(), most.into()])
            }
            Formula::Level { drain, unit, capacity } => (4, &[drain, unit, capacity]),
            Formula::Log { period, limit, room } => (LOG, &[period, limit.into(), room.into()]),
            // Inline, a state is as long as it says, so that one that is of no interest can be left alone.
            Formula::Unlimited if part.inline.layers > 0 => (6, &[]),
            _ => return false,
        };
        if !goes_on {
            self.kinds |= 1 << kind;
            let letter = KINDS.get(kind).map_or("", |kind| kind.letter);
            self.arguments.extend([letter.into(), layers(part)]);
            let inside = part.hours.map(|hours| hours.inline).unwrap_or_default();
            if let Some(outermost) = [part.inline, inside].iter().find(|inline| inline.layers > 0) {
                self.number(outermost.room.into());
            }
            if let Some(hours) = part.hours {
                self.number(hours.ahead);
                self.number(u64::from(hours.more) + 1);
            }
        }
        if let Some(hours) = part.hours {
            let (from, to) = hours.span.unwrap_or_default();
            self.number(from);
            self.number(to);
        }
        [part.asked, part.booked].iter().for_each(|cost| self.number((*cost).into()));
        numbers.iter().for_each(|number| self.number(*number));
        true
    }

    fn number(&mut self, number: u64) {
        self.arguments.push(number.to_string().into_bytes());
    }
}

/// How a state is encoded, from the outside: `i` for inline, `h` for hours.
fn layers(part: &Part) -> Vec<u8> {
    let mut layers = vec![b'i'; part.inline.layers.into()];
    if let Some(hours) = part.hours {
        layers.push(b'h');
        layers.extend(std::iter::repeat_n(b'i', hours.inline.layers.into()));
    }
    layers
}
