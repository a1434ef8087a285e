//! Fixed hits on fixed limits, whose decisions must print the same text on every machine.
//!
//! The program `target` prints them on the target, and `host` on the host.
#![no_std]

use core::fmt::Write;

use heapless::{String, Vec};
use traffik_core::laws::{self, BrokenLaw, Step};
use traffik_core::strategy::Bounds;
use traffik_core::{
    All, Class, Cost, Fixed, FixedWindow, Gcra, Hit, Hours, Label, LeakyBucket, LeakyBucketQueue,
    ManualClock, Op, Outcome, Priority, Rate, Ratio, Regions, SlidingLog, Storage, Strategy, Tiered,
    TimeOfDay, Timestamp, TokenBucket, Verdict, rate,
};

/// Number of hits on each limit.
const HITS: usize = 250;
/// Number of keys, more than the storage has room for.
const KEYS: u32 = 100;
/// Number of runs that are checked by the laws, and of hits in each.
const RUNS: u64 = 6;
const RUN: usize = 12;
/// Number of wraps of a 32-bit clock.
const WRAPS: u64 = 12;
/// Number of keys that are exhausted when the clock jumps.
const EXHAUSTED: u32 = 3;
/// Most hits that any limit here admits at once.
const MOST: u32 = 32;
/// 2026-11-21, 21:30 UTC.
const NOW: u64 = 1_795_296_600_000_000;
const DAY: u64 = 86_400_000_000;

/// Makes all decisions and passes each line to `print`. Returns whether every law held.
pub fn run(print: &mut dyn FnMut(&str)) -> bool {
    let mut vectors = Vectors { print, lawful: true };
    let half = Ratio::new(1, 2).unwrap_or(Ratio::ONE);
    let labels = [(Label(0), half), (Label(1), half)];

    macro_rules! each {
        ($name:ident, $spelling:literal, own, $make:expr) => {
            let make: fn(Rate) -> Option<_> = $make;
            vectors.limit($spelling, make(rate!("7/2900ms")).ok_or(()));
        };
        ($name:ident, $spelling:literal, shared, $make:expr) => {
            let make: fn(Rate) -> Option<_> = $make;
            vectors.shared($spelling, make(rate!("9/s")).ok_or(()));
        };
    }
    traffik_core::every_strategy!(each);
    vectors.limit("small log", SlidingLog::<8>::new(rate!("7/2900ms")));
    vectors.limit("token bucket", TokenBucket::new(rate!("3/s")).burst(10).and_then(|bucket| bucket.debt(2)));
    vectors.limit("leaky bucket", LeakyBucket::new(rate!("3/s")).capacity(5));
    vectors.limit("leaky bucket queue", LeakyBucketQueue::new(rate!("3/s")).queue(6));
    vectors.limit("gcra burst", Gcra::new(rate!("99991/day")).burst(5));
    vectors.limit("tiered", Tiered::new(Gcra::new(rate!("3/s")), labels));
    let night = Hours::new((22, 0), (6, 30), half);
    vectors.limit("time of day", TimeOfDay::new(FixedWindow::new(rate!("9/h")), [night]));
    let reserve = Ratio::new(1, 3).unwrap_or(Ratio::ONE);
    vectors.limit("priority", Priority::new(TokenBucket::new(rate!("9/s")), [(Label(0), reserve)]));
    vectors.shared("regions", Regions::<2>::new(rate!("9/s"), &labels).map(|regions| regions.spill(true)));
    vectors.shared("pair", ok((Gcra::new(rate!("3/s")), FixedWindow::new(rate!("20/min")))));
    vectors.shared("all", ok(All([TokenBucket::new(rate!("5/s")), TokenBucket::new(rate!("50/min"))])));
    vectors.lawful
}

struct Vectors<'a> {
    print: &'a mut dyn FnMut(&str),
    /// Whether every law held so far.
    lawful: bool,
}

/// Wraps a limit whose constructor cannot fail.
fn ok<S>(strategy: S) -> Result<S, core::convert::Infallible> {
    Ok(strategy)
}

impl Vectors<'_> {
    /// Checks a limit that belongs to one key alone, by every law.
    fn limit<S: Bounds, E>(&mut self, name: &str, strategy: Result<S, E>) {
        self.both(name, strategy, |strategy, run| laws::every(strategy, run));
    }

    /// Checks a shared or composed limit, by the laws that need no bound for one client.
    fn shared<S: Strategy, E>(&mut self, name: &str, strategy: Result<S, E>) {
        self.both(name, strategy, |strategy, run| {
            laws::pure(strategy, run)?;
            laws::denial_is_free(strategy, run)?;
            laws::expiry_is_invisible(strategy, run)?;
            laws::codec_round_trips(strategy, run)
        });
    }

    fn both<S: Strategy, E>(
        &mut self,
        name: &str,
        strategy: Result<S, E>,
        lawful: impl Fn(&S, &[Step]) -> Result<(), BrokenLaw>,
    ) {
        let Ok(strategy) = strategy else {
            self.lawful = false;
            return self.line(format_args!("{name}: cannot be made"));
        };
        self.decide(name, &strategy);
        self.jumps(name, &strategy);
        for seed in 1..=RUNS {
            let run: Vec<Step, RUN> =
                Hits::new(seed, strategy.max_ttl()).map(|(step, _)| step).take(RUN).collect();
            let storage = Fixed::<S, _, 4>::new(ManualClock::default(), 7);
            let result = lawful(&strategy, &run).and_then(|()| {
                let forward = forward(run.clone());
                laws::storage_agrees(&strategy, &storage, "key", &forward)
            });
            match result {
                Ok(()) => self.line(format_args!("{name}: run {seed} is lawful")),
                Err(broken) => {
                    self.lawful = false;
                    self.line(format_args!("{name}: run {seed}: {broken}"));
                }
            }
        }
    }

    /// Prints the decisions on hits on more keys than the storage has room for.
    fn decide<S: Strategy>(&mut self, name: &str, strategy: &S) {
        let storage = Fixed::<S, _, 32>::new(ManualClock::default(), 0x5eed);
        let mut receipt = Default::default();
        for (number, (step, random)) in Hits::new(0, strategy.max_ttl()).take(HITS).enumerate() {
            let hit = Hit::new(S::Cost::uniform(step.cost)).with_class(step.class);
            let op = match random >> 32 & 15 {
                0 => Op::Peek(hit),
                1 => Op::Charge(hit),
                2 => Op::Refund(hit, receipt),
                3 => Op::Reset,
                _ => Op::Check(hit),
            };
            // Half of the hits fall on two keys.
            let key = if random >> 36 & 1 == 0 { random as u32 % 2 } else { random as u32 % KEYS };
            let Ok(verdict) = storage.apply(strategy, &("key", key), &op, step.at) else {
                return self.line(format_args!("{name}: the storage failed"));
            };
            receipt = verdict.receipt();
            let mut line: Line = String::new();
            let _ = write!(line, "{name} {number}: key {key} cost {} at {}: ", step.cost, step.at);
            let _ = match verdict.outcome() {
                Outcome::Allow { after } => write!(line, "allow after {}us", after.as_micros()),
                Outcome::Deny { retry_after } => write!(line, "deny for {}us", retry_after.as_micros()),
                Outcome::Never => write!(line, "never"),
            };
            verdict.for_each(&mut |each| {
                let (reset, left, limit) = (each.reset_after(), each.remaining(), each.limit());
                let _ = write!(line, ", {left} of {limit} left, all in {}us", reset.as_micros());
            });
            (self.print)(&line);
        }
        self.line(format_args!("{name}: {:?}", storage.counters()));
    }

    /// Checks exhausted keys under a clock that jumps: no wait exceeds `max_ttl`, and the hit passes after
    /// its wait.
    fn jumps<S: Strategy>(&mut self, name: &str, strategy: &S) {
        let clock = ManualClock::default();
        let storage = Fixed::<S, _, 8>::new(&clock, 7);
        let far = [("a day back", NOW, NOW - DAY), ("a year ahead", NOW + 365 * DAY, NOW)];
        // A 32-bit counter that is not widened, and wraps within its last second.
        let wraps = (1..=WRAPS).map(|wrap| ("it wraps", (1 << 32) - 15_625 * wrap, 62_500 * wrap));
        for (what, before, after) in far.into_iter().chain(wraps) {
            clock.set(Timestamp::from_micros(before));
            for key in 0..EXHAUSTED {
                if !exhausts(strategy, &storage, key) {
                    self.lawful = false;
                    return self.line(format_args!("{name}: {what}: cannot be exhausted"));
                }
            }
            for key in 0..EXHAUSTED {
                let (mut now, mut denied) = (Timestamp::from_micros(after), 0);
                // The first wait is that of a hit while the clock is behind the state. The next is that of
                // the state, which the storage has moved to the clock.
                let waited = (0..3).find_map(|_| {
                    clock.set(now);
                    let outcome = one(strategy, &storage, key)?;
                    let Outcome::Deny { retry_after } = outcome else { return Some(outcome) };
                    denied = denied.max((Timestamp::EPOCH + retry_after).as_micros());
                    now = now + retry_after;
                    None
                });
                let passes = waited.is_some_and(Outcome::is_allowed) && denied <= strategy.max_ttl();
                self.lawful &= passes;
                let verdict = if passes { "lawful" } else { "NOT LAWFUL" };
                self.line(format_args!("{name}: {what}: key {key} denied for {denied}us is {verdict}"));
            }
        }
    }

    fn line(&mut self, text: core::fmt::Arguments<'_>) {
        let mut line: Line = String::new();
        let _ = line.write_fmt(text);
        (self.print)(&line);
    }
}

/// Checks a hit of cost 1.
fn one<S: Strategy>(strategy: &S, storage: &impl Storage<S>, key: u32) -> Option<Outcome> {
    let check = Op::Check(Hit::new(S::Cost::uniform(1)));
    storage.apply_now(strategy, &key, &check).ok().map(|verdict| verdict.outcome())
}

/// Uses up a limit. Returns whether it then denies.
fn exhausts<S: Strategy>(strategy: &S, storage: &impl Storage<S>, key: u32) -> bool {
    (0..MOST).any(|_| matches!(one(strategy, storage, key), Some(Outcome::Deny { .. })))
}

/// Removes steps back in time, because a storage follows a clock that was set back, but a pure function does
/// not.
fn forward(mut run: Vec<Step, RUN>) -> Vec<Step, RUN> {
    let mut latest = Timestamp::EPOCH;
    for step in &mut run {
        latest = latest.max(step.at);
        step.at = latest;
    }
    run
}

/// A line of output, cut off at 256 bytes.
type Line = String<256>;

/// An endless sequence of hits, at times that matter for a limit with this `max_ttl`, each with a random
/// number.
struct Hits {
    random: u64,
    max_ttl: u64,
    now: u64,
}

impl Hits {
    fn new(seed: u64, max_ttl: u64) -> Self {
        // A `max_ttl` above a day counts as a day.
        Self { random: seed, max_ttl: max_ttl.min(DAY), now: NOW }
    }

    /// Returns the next number of the generator SplitMix64.
    fn random(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ self.random >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }
}

impl Iterator for Hits {
    type Item = (Step, u64);

    fn next(&mut self) -> Option<Self::Item> {
        let random = self.random();
        self.now = match random % 8 {
            0..=4 => self.now,
            5..=6 => self.now + self.random() % (self.max_ttl / 32 + 1),
            _ if random >> 60 == 0 => self.now + self.max_ttl * 2,
            _ => self.now - self.random() % 1_000_000,
        };
        let cost = match random >> 8 & 15 {
            0 => 0,
            1..=4 => (random >> 16) as u32 % 6,
            5 => u32::MAX,
            _ => 1,
        };
        let mut step = Step::new(Timestamp::from_micros(self.now), cost);
        let label = |shift: u32| Label((random >> shift) as u32 % 3);
        step.class = Class::default();
        (step.class.tier, step.class.priority) = (label(40), label(44));
        (step.class.region, step.class.instance) = (label(48), label(52));
        Some((step, random))
    }
}
