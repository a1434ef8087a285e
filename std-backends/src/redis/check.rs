//! Checks that the server decides: the arguments of its scripts, and the meaning of their replies.

use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::sync::OnceLock;
use std::time::Instant;

use redis::{Cmd, Value};
use traffik_core::storage::{BackendError, ErrorKind};
use traffik_core::strategy::{ScriptFormula, ScriptLimit};
use traffik_core::{Hit, Strategy, Timestamp, Verdict};

use super::inner::{RedisInner, time};
use super::script::Script;
use crate::cas::{self, CompareAndSwap};

/// Lets the server decide a hit on a key, and returns the strategy's verdict on the state that the server
/// found.
///
/// Returns `None` if the server charged nothing and its decision cannot be used: no script knows the limit,
/// the numbers are too large for it, or it denies a hit that the strategy admits.
pub(super) async fn one<S: Strategy>(
    inner: &RedisInner,
    until: Instant,
    strategy: &S,
    hit: &Hit<S::Cost>,
    name: &[u8],
) -> Result<Option<S::Verdict>, BackendError> {
    let Some(answer) = ask(inner, until, strategy, hit, &[name]).await? else { return Ok(None) };
    let verdict = strategy.decide(&mut answer.state::<S>(0, inner), hit, answer.now);
    answer.confirms(verdict.is_dirty()).map(|same| same.then_some(verdict))
}

/// Does the same as [`one`] for several keys, of which all are charged or none.
pub(super) async fn together<S: Strategy>(
    inner: &RedisInner,
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
            // A key that alone would admit is not charged, but its state may be that of another strategy and
            // change.
            recorded |= strategy.decide(state, &hit.free(), answer.now).is_dirty();
        }
    }
    answer.confirms(recorded).map(|same| same.then_some(verdicts))
}

/// The reply of a script.
struct ScriptReply {
    now: Timestamp,
    charged: bool,
    /// The value of each key before the call.
    found: Vec<Value>,
}

impl ScriptReply {
    fn state<S: Strategy>(&self, at: usize, inner: &RedisInner) -> S::State {
        match self.found.get(at) {
            Some(Value::BulkString(bytes)) => cas::state_or::<S>(Some(bytes), || inner.found_corrupt()),
            _ => S::State::default(),
        }
    }

    /// Returns whether the strategy decides like the script. If only the strategy stores something, the
    /// caller may still do so in another way.
    ///
    /// # Errors
    ///
    /// Fails with `Corrupt` if the script charged a hit that the strategy does not: no caller gets a verdict
    /// that does not hold. Script and strategy of one version always agree.
    fn confirms(&self, recorded: bool) -> Result<bool, BackendError> {
        if self.charged && !recorded {
            return Err(BackendError::new(
                ErrorKind::Corrupt,
                "the script on the server charged a hit that the limit does not",
            ));
        }
        Ok(self.charged == recorded)
    }
}

/// Lets the server decide. Returns `None` if it cannot.
async fn ask<S: Strategy>(
    inner: &RedisInner,
    until: Instant,
    strategy: &S,
    hit: &Hit<S::Cost>,
    names: &[&[u8]],
) -> Result<Option<ScriptReply>, BackendError> {
    let Some(request) = script_request(strategy, hit, names.len()) else { return Ok(None) };
    let script = script(request.kinds);
    let mut call = script.call(inner.servers.known(), names);
    call.arg(inner.time()).arg(strategy.max_ttl()).arg(inner.least());
    request.arguments.add_to(&mut call);
    // All names are in one slot, so the first one finds the server.
    let key = names.first().copied().unwrap_or_default();
    let answer =
        inner.servers.call(key, until, async |mut session| script.run(&mut session, &call).await).await?;
    let Value::Array(mut answer) = answer else { return Err(unexpected_reply()) };
    let found = answer.split_off(answer.len().min(3));
    match answer[..] {
        // −1 means that the numbers are too large for the script, which has then stored nothing.
        [Value::Int(_), Value::Int(_), Value::Int(..0)] => Ok(None),
        [Value::Int(seconds), Value::Int(micros), Value::Int(charged)] => {
            let now = time(seconds.unsigned_abs(), micros.unsigned_abs());
            Ok(Some(ScriptReply { now, charged: charged > 0, found }))
        }
        _ => Err(unexpected_reply()),
    }
}

fn unexpected_reply() -> BackendError {
    BackendError::new(
        ErrorKind::Other,
        "Redis sent an unexpected reply to a script; the server must be Redis 7.0 or later",
    )
}

/// A kind of limit that scripts know.
struct LimitKind {
    letter: &'static str,
    text: &'static str,
}

/// The kinds in the order of their texts in a script. The last one is part of `tail.lua`, a queue (`f`) is
/// part of `meter.lua`, and a log changes how values are read.
const KINDS: [LimitKind; 7] = [
    LimitKind { letter: "w", text: include_str!("check/fixed_window.lua") },
    LimitKind { letter: "s", text: include_str!("check/sliding_window.lua") },
    LimitKind { letter: "k", text: include_str!("check/strict_window.lua") },
    LimitKind { letter: "q", text: include_str!("check/quota_rollover.lua") },
    LimitKind { letter: "l", text: include_str!("check/meter.lua") },
    LimitKind { letter: "g", text: include_str!("check/sliding_log.lua") },
    LimitKind { letter: "u", text: "" },
];
/// The index of the sliding log in [`KINDS`].
const LOG: usize = 5;

/// A set of kinds, one bit each. A further bit, [`SINGLE`], means one limit on one key, whose state is stored
/// bare.
type KindSet = u8;
const SINGLE: KindSet = 1 << KINDS.len();

/// Returns the script for a set of kinds, which is built when it is first needed.
fn script(kinds: KindSet) -> &'static Script {
    static SCRIPTS: [OnceLock<Script>; 1 + KindSet::MAX as usize] =
        [const { OnceLock::new() }; 1 + KindSet::MAX as usize];
    // Every index of `KindSet` is in bounds; the fallback keeps the code free of panics.
    let made = SCRIPTS.get(usize::from(kinds)).unwrap_or(&SCRIPTS[0]);
    made.get_or_init(|| {
        let of = |kind: KindSet| kinds & kind != 0;
        let mut text = include_str!("check/head.lua").to_owned();
        text += match (of(SINGLE), of(1 << LOG)) {
            (true, _) => "",
            (false, true) => include_str!("check/pieces.lua"),
            (false, false) => include_str!("check/whole.lua"),
        };
        for (_, kind) in KINDS.iter().enumerate().filter(|(at, _)| of(1 << at)) {
            text += kind.text;
        }
        text += if of(SINGLE) { include_str!("check/one.lua") } else { include_str!("check/tail.lua") };
        Script::new(text)
    })
}

/// The kinds and the arguments of a check.
struct ScriptRequest {
    kinds: KindSet,
    arguments: Arguments,
}

/// A list of texts in one buffer.
struct Arguments {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Arguments {
    fn add(&mut self, text: impl fmt::Display) {
        // Writing into a `Vec` cannot fail.
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

/// Returns the request for a check, or `None` if no script knows one of the limits.
fn script_request<S: Strategy>(strategy: &S, hit: &Hit<S::Cost>, keys: usize) -> Option<ScriptRequest> {
    // Room for one strategy; more is allocated for others.
    let arguments = Arguments { bytes: Vec::with_capacity(64), ends: Vec::with_capacity(9) };
    let mut request = ScriptRequest { kinds: 0, arguments };
    let (mut known, mut goes_on) = (true, false);
    let (mut parts, mut plain) = (0, keys == 1);
    let complete = strategy.parts_of(hit, &mut |part| {
        known &= request.add(&part, goes_on);
        goes_on = part.hours.is_some_and(|hours| hours.more > 0);
        parts += 1;
        plain &= parts == 1 && part.hours.is_none() && part.inline.layers == 0;
    });
    // A log is read in pieces, so even a single one needs `tail.lua`.
    if plain && request.kinds != 1 << LOG {
        request.kinds |= SINGLE;
    }
    (complete && known && !goes_on).then_some(request)
}

impl ScriptRequest {
    /// Adds a limit, or another one of the same state. Returns `false` if no script knows it.
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
            // An inline state states its length, so the script can copy one of an unlimited strategy unread.
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
        self.arguments.add(part.cost);
        self.arguments.add(part.charge);
        numbers.iter().for_each(|number| self.arguments.add(number));
        true
    }
}

/// The nesting of a state from the outside: `i` for inline, `h` for hours.
struct Layers<'a>(&'a ScriptLimit);

impl fmt::Display for Layers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (0..self.0.inline.layers).try_for_each(|_| f.write_char('i'))?;
        let Some(hours) = self.0.hours else { return Ok(()) };
        f.write_char('h')?;
        (0..hours.inline.layers).try_for_each(|_| f.write_char('i'))
    }
}
