//! Random sequences of hits that a storage and the pure function have to agree on: with clocks that step
//! back, limits that change, and bytes that were damaged.

use std::cell::Cell;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;
use proptest::test_runner::{Config, TestRunner};
use traffik::storage::AsyncStorage;
use traffik::strategy::{Scale, State, decode, encode};
use traffik::{
    Class, Clock, Decision, Hit, Hours, Label, ManualClock, Op, Rate, Ratio, Strategy, TimeOfDay, Timestamp,
    Verdict,
};

pub const START: u64 = 1_800_000_000_000_000;

/// Sequences in all: each of the built-in strategies has a share.
pub const SEQUENCES: u32 = 5_000;

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

pub fn bytes_of<T: State>(state: &T) -> Vec<u8> {
    let mut bytes = vec![0; T::MAX_LEN];
    let length = encode(state, &mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

/// The clock of a test, shared with its storage.
#[derive(Clone, Default)]
pub struct Shared(pub Arc<ManualClock>);

impl Clock for Shared {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

/// The parts that are compared.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// Verdicts, and the bytes that are stored.
    Bytes,
    /// Verdicts, and the states that are meant by what is stored: it can be written in several ways.
    States,
    /// The figures of verdicts: the store notes a count and its window, and nothing else. Limits keep their
    /// period.
    Figures,
    /// The same, of clocks that do not step back: nor is it noted in which hour the last hit was.
    Forward,
    /// Whether anything is admitted that the pure function denies, of such clocks: the period changes as
    /// well.
    Bound,
}

/// A storage that goes by a clock, and the store behind it: what is in it at a key, and how to change that.
pub struct Tested<'a, M> {
    pub storage: &'a M,
    pub clock: &'a Shared,
    pub stored: &'a dyn Fn(&str) -> Option<Vec<u8>>,
    pub put: &'a dyn Fn(&str, Option<&[u8]>),
}

/// A step of a run: microseconds until it, back if negative, and half periods; its cost; whether it is of the
/// low class; and what happens before it to the bytes that are stored, if something does.
type Step = ((i64, u64), u32, bool, Option<(usize, u8)>);

/// Other bytes: one changed, some cut off, or one more.
fn damaged(mut bytes: Vec<u8>, (at, change): (usize, u8)) -> Vec<u8> {
    match change % 4 {
        0 => bytes.truncate(at % (bytes.len() + 1)),
        1 => bytes.push(change),
        _ if bytes.is_empty() => {}
        _ => {
            let at = at % bytes.len();
            bytes[at] ^= change;
        }
    }
    bytes
}

pub fn class(low: bool) -> Class {
    let mut class = Class::default();
    class.tier = Label(u32::from(low));
    class.priority = Label(u32::from(low));
    class
}

/// Runs each sequence on the storage and through the pure function: all they say and leave behind is the
/// same.
pub fn agrees<S: Strategy<Cost = u32>, M: AsyncStorage<S>>(
    Tested { storage, clock, stored, put }: Tested<'_, M>,
    (sequences, compared): (u32, Compared),
    limits: impl Fn(u32, u64) -> [S; 2],
) {
    let runtime = runtime();
    let gap = prop_oneof![
        4 => Just((0, 0)),
        8 => Generator::prop_map(0..2_000_000i64, |gap| (gap, 0)),
        4 => (-1..2i64, 1..5u64),
        1 => Generator::prop_map(-3_000_000..0i64, |gap| (gap, 0)),
        1 => Generator::prop_map(0..1i64 << 40, |gap| (gap, 0)),
    ];
    let cost = prop_oneof![8 => 1..4u32, 1 => Just(0), 1 => 0..40u32, 1 => Just(u32::MAX)];
    let damage = prop::option::weighted(0.05, (any::<usize>(), any::<u8>()));
    let steps = prop::collection::vec((gap, cost, any::<bool>(), damage), 1..12);
    let run = (1..30u32, 1..20_000_000u64, steps);
    let number = Cell::new(0);
    let mut runner =
        TestRunner::new(Config { cases: sequences, failure_persistence: None, ..Config::default() });
    let ran = runner.run(&run, |(limit, period, steps): (u32, u64, Vec<Step>)| {
        number.set(number.get() + 1);
        let key = format!("k{}", number.get());
        // Half of the runs begin with a window.
        let (mut state, mut now) = (S::State::default(), START - START % period * (period % 2));
        let (mut kept, limits) = (None::<Vec<u8>>, limits(limit, period));
        for (at, ((gap, halves), cost, low, damage)) in steps.into_iter().enumerate() {
            let forward = matches!(compared, Compared::Forward | Compared::Bound);
            let gap = if forward { gap.max(0) } else { gap };
            now = (now + halves * period / 2).saturating_add_signed(gap);
            clock.0.set(Timestamp::from_micros(now));
            match (damage, &kept) {
                (Some(damage), Some(bytes)) if matches!(compared, Compared::Bytes | Compared::States) => {
                    // The entries of a log are trusted: checking all of them would take time in proportion to
                    // their number.
                    let damage = if compared == Compared::Bytes { damage } else { (damage.0, damage.1 % 2) };
                    let bytes = damaged(bytes.clone(), damage);
                    put(&key, Some(&bytes));
                    state = decode(&bytes).unwrap_or_default();
                    kept = Some(bytes);
                }
                // By then a server has given up what it counted.
                _ if gap > 1 << 34 && !matches!(compared, Compared::Bytes | Compared::States) => {
                    put(&key, None)
                }
                _ => {}
            }
            // The limit changes again and again, to another of the same kind.
            let limit = &limits[at / 3 % 2];
            let op = Op::Check(Hit::new(cost).with_class(class(low)));
            let told = runtime.block_on(storage.apply(limit, &key.as_str(), &op)).unwrap();
            let before = state.clone();
            let (expected, writes) = op.apply(limit, &mut state, Timestamp::from_micros(now));
            match compared {
                Compared::Bytes | Compared::States => {
                    prop_assert_eq!(told, expected, "step {} of {}", at, key);
                }
                Compared::Figures | Compared::Forward => {
                    prop_assert_eq!(figures(&told), figures(&expected), "step {} of {}", at, key)
                }
                Compared::Bound => {
                    prop_assert!(!told.is_dirty() || expected.is_dirty(), "step {} of {}", at, key);
                    if !told.is_dirty() {
                        state = before;
                    }
                }
            }
            let left = stored(&key);
            match compared {
                Compared::Figures | Compared::Forward | Compared::Bound => {}
                _ if !writes => prop_assert_eq!(&left, &kept, "step {} of {}", at, key),
                Compared::Bytes => {
                    prop_assert_eq!(&left, &Some(bytes_of(&state)), "step {} of {}", at, key);
                }
                Compared::States => {
                    let left = left.as_deref().map(decode::<S::State>);
                    prop_assert_eq!(left, Some(Ok(state.clone())), "step {} of {}", at, key);
                }
            }
            kept = left;
        }
        Ok(())
    });
    assert!(ran.is_ok(), "{}: {}", std::any::type_name::<S>(), ran.unwrap_err());
}

/// The figures of a client: outcome, limit, remaining cost, and the time of the reset.
fn figures(verdict: &impl Verdict) -> Vec<(traffik::Outcome, u32, u32, Duration)> {
    let mut figures = Vec::new();
    verdict.for_each(&mut |it| figures.push((it.outcome(), it.limit(), it.remaining(), it.reset_after())));
    figures
}

pub fn rate(limit: u32, period: u64) -> Rate {
    Rate::new(limit, Duration::from_micros(period)).unwrap()
}

pub fn other(limit: u32, period: u64) -> Rate {
    rate(limit + 3, period / 2 + 1)
}

/// The hours change at the time the runs begin with, a minute later, and the day after.
pub fn by_hour<S: Scale<Verdict = Decision>>(strategy: S) -> TimeOfDay<S, 3> {
    let hours = |from, to, num, den| Hours::new(from, to, Ratio::new(num, den).unwrap());
    let night = hours((23, 30), (10, 0), 1, 2);
    let minute = hours((10, 0), (10, 1), 3, 1);
    let evening = hours((20, 0), (23, 0), 2, 3);
    // 8 o'clock in UTC.
    TimeOfDay::new(strategy, [night, minute, evening]).unwrap().utc_offset(120).unwrap()
}
