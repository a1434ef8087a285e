//! Checks that the server decides: what its scripts are told, and what their answer means.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::OnceLock;
use std::time::Instant;

use redis::{Cmd, Value};
use traffik_core::storage::{BackendError, ErrorKind};
use traffik_core::strategy::{ScriptFormula, ScriptLimit};
use traffik_core::{Hit, Strategy, Timestamp, Verdict};

use super::inner::{Inner, time};
use super::script::Script;
use crate::cas::{self, CompareAndSwap};

/// Has the server decide on a hit on a key, and decides the same on what it had found. `None` if it did
/// nothing: it does not know the limit, the numbers are too large for it, or it denies what the strategy does
/// not.
pub(super) async fn one<S: Strategy>(
    inner: &Inner,
    until: Instant,
    strategy: &S,
    hit: &Hit<S::Cost>,
    name: &[u8],
) -> Result<Option<S::Verdict>, BackendError> {
    let Some(answer) = ask(inner, until, strategy, hit, &[name]).await? else { return Ok(None) };
    let verdict = strategy.decide(&mut answer.state::<S>(0, inner), hit, answer.now);
    answer.confirms(verdict.is_dirty()).map(|same| same.then_some(verdict))
}

/// The same on several keys, all of which are charged or none.
pub(super) async fn together<S: Strategy>(
    inner: &Inner,
    until: Instant,
    strategy: &S,
    hit: &Hit<S::Cost>,
    names: &[Vec<u8>],
) -> Result<Option<Vec<S::Verdict>>, BackendError> {
    let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
    let Some(answer) = ask(inner, until, strategy, hit, &names).await? else { return Ok(None) };
    let mut states: Vec<S::State> = (0..names.len()).map(|at| answer.state::<S>(at, inner)).collect();
    let mut verdicts: Vec<_> = states.iter().map(|state| strategy.peek(state, hit, answer.now)).collect();
    let all_admit = verdicts.iter().all(|verdict| verdict.outcome().is_allowed());
    let mut recorded = false;
    for (state, verdict) in states.iter_mut().zip(&mut verdicts) {
        if all_admit || !verdict.outcome().is_allowed() {
            *verdict = strategy.decide(state, hit, answer.now);
            recorded |= verdict.is_dirty();
        } else {
            // One that alone would admit is not charged; its state may be that of another strategy.
            recorded |= strategy.decide(state, &hit.free(), answer.now).is_dirty();
        }
    }
    answer.confirms(recorded).map(|same| same.then_some(verdicts))
}

/// What a script says.
struct Answer {
    now: Timestamp,
    charged: bool,
    /// What was stored at each key.
    found: Vec<Value>,
}

impl Answer {
    fn state<S: Strategy>(&self, at: usize, inner: &Inner) -> S::State {
        match self.found.get(at) {
            Some(Value::BulkString(bytes)) => cas::state_or::<S>(Some(bytes), || inner.found_corrupt()),
            _ => S::State::default(),
        }
    }

    /// Whether the strategy decides as the script did; if it only stores what the script did not, it may yet
    /// do so by another way. A script that charged what the strategy does not cannot be as long as both are
    /// of one version; nobody is told what was not so.
    fn confirms(&self, recorded: bool) -> Result<bool, BackendError> {
        if self.charged && !recorded {
            return Err(BackendError::new(ErrorKind::Corrupt, "the script on the server decided otherwise"));
        }
        Ok(self.charged == recorded)
    }
}

/// Has the server decide; `None` if it cannot.
async fn ask<S: Strategy>(
    inner: &Inner,
    until: Instant,
    strategy: &S,
    hit: &Hit<S::Cost>,
    names: &[&[u8]],
) -> Result<Option<Answer>, BackendError> {
    let Some(told) = tell(strategy, hit, names.len()) else { return Ok(None) };
    let script = script(told.kinds);
    let mut call = script.call(inner.servers.known(), names);
    call.arg(inner.time()).arg(strategy.max_ttl()).arg(inner.least());
    told.arguments.add_to(&mut call);
    // All are in one slot.
    let key = names.first().copied().unwrap_or_default();
    let answer =
        inner.servers.call(key, until, async |mut session| script.run(&mut session, &call).await).await?;
    let Value::Array(mut answer) = answer else { return Err(unheard_of()) };
    let found = answer.split_off(answer.len().min(3));
    match answer[..] {
        [Value::Int(_), Value::Int(_), Value::Int(..0)] => Ok(None),
        [Value::Int(seconds), Value::Int(micros), Value::Int(charged)] => {
            let now = time(seconds.unsigned_abs(), micros.unsigned_abs());
            Ok(Some(Answer { now, charged: charged > 0, found }))
        }
        _ => Err(unheard_of()),
    }
}

fn unheard_of() -> BackendError {
    BackendError::new(ErrorKind::Other, "the server answered a script with something else than it answers")
}

/// A kind of limit that scripts know.
struct Kind {
    letter: &'static str,
    text: &'static str,
}

/// In the order in which they are sent; the last is part of `tail.lua`, a queue (`f`) of `meter.lua`, and a
/// log changes how values are read.
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
    arguments: Arguments,
}

/// Texts in a row.
struct Arguments {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Arguments {
    fn add(&mut self, text: impl fmt::Display) {
        // Memory takes whatever it is given.
        let _ = write!(self.bytes, "{text}");
        self.ends.push(self.bytes.len());
    }

    fn add_to(&self, call: &mut Cmd) {
        let mut start = 0;
        for &end in &self.ends {
            call.arg(self.bytes.get(start..end).unwrap_or_default());
            start = end;
        }
    }
}

/// How to ask for a check; `None` if one of the limits is none that a script knows.
fn tell<S: Strategy>(strategy: &S, hit: &Hit<S::Cost>, keys: usize) -> Option<Told> {
    // Room for one strategy, and more is found for others.
    let arguments = Arguments { bytes: Vec::with_capacity(64), ends: Vec::with_capacity(9) };
    let mut told = Told { kinds: 0, arguments };
    let (mut known, mut goes_on) = (true, false);
    let (mut parts, mut plain) = (0, keys == 1);
    let complete = strategy.parts_of(hit, &mut |part| {
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
    fn add(&mut self, part: &ScriptLimit, goes_on: bool) -> bool {
        let (kind, numbers): (usize, &[u64]) = match part.formula {
            ScriptFormula::Window { period, anchor, limit } => (0, &[period, anchor, limit.into()]),
            ScriptFormula::Sliding { period, limit } => (1, &[period, limit.into()]),
            ScriptFormula::Strict { period, buckets, limit, room } => {
                (2, &[period, buckets.into(), limit.into(), room.into()])
            }
            ScriptFormula::Rollover { period, limit, share, most } => {
                (3, &[period, limit.into(), share.num(), share.den(), most.into()])
            }
            ScriptFormula::Level { drain, unit, capacity }
            | ScriptFormula::Queue { drain, unit, capacity } => (4, &[drain, unit, capacity]),
            ScriptFormula::Log { period, limit, room } => (LOG, &[period, limit.into(), room.into()]),
            // Inline, a state is as long as it says, so that one that is of no interest can be left alone.
            ScriptFormula::Unlimited if part.inline.layers > 0 => (6, &[]),
            _ => return false,
        };
        if !goes_on {
            self.kinds |= 1 << kind;
            let letter = match part.formula {
                ScriptFormula::Queue { .. } => "f",
                _ => KINDS.get(kind).map_or("", |kind| kind.letter),
            };
            self.arguments.add(letter);
            self.arguments.add(Layers(part));
            let inside = part.hours.map(|hours| hours.inline).unwrap_or_default();
            if let Some(outermost) = [part.inline, inside].iter().find(|inline| inline.layers > 0) {
                self.arguments.add(outermost.room);
            }
            if let Some(hours) = part.hours {
                self.arguments.add(hours.ahead);
                self.arguments.add(u64::from(hours.more) + 1);
            }
        }
        if let Some(hours) = part.hours {
            let (from, to) = hours.span.unwrap_or_default();
            self.arguments.add(from);
            self.arguments.add(to);
        }
        self.arguments.add(part.asked);
        self.arguments.add(part.booked);
        numbers.iter().for_each(|number| self.arguments.add(number));
        true
    }
}

/// How a state is encoded, from the outside: `i` for inline, `h` for hours.
struct Layers<'a>(&'a ScriptLimit);

impl fmt::Display for Layers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (0..self.0.inline.layers).try_for_each(|_| f.write_char('i'))?;
        let Some(hours) = self.0.hours else { return Ok(()) };
        f.write_char('h')?;
        (0..hours.inline.layers).try_for_each(|_| f.write_char('i'))
    }
}
