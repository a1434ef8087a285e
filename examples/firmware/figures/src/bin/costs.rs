//! Prints the costs of each limit: RAM of a key in a table, stack of a check, and instructions of an allowed
//! and of a denied check, each the maximum of several. The clock costs two loads.
#![no_std]
#![no_main]

use core::cell::Cell;
use core::hint::black_box;

use board::line;
use figures::SharedKey;
use traffik_core::strategy::Cost;
use traffik_core::{Clock, Fixed, Limiter, Outcome, Strategy, Timestamp, Verdict};

board::begin_with!(main);
board::print_panics!();

fn main() -> ! {
    board::start();
    let mut all = true;
    macro_rules! each {
        ($how:tt $name:literal, $limit:ty, $make:expr) => {
            all &= $make.is_some_and(|limit: $limit| costs($name, limit));
        };
    }
    figures::limits!(each);
    board::exit(all)
}

/// A clock that moves only when it is set.
struct Steps<'a>(&'a Cell<Timestamp>);

impl Clock for Steps<'_> {
    fn now(&self) -> Timestamp {
        self.0.get()
    }
}

type Limited<'a, S> = Limiter<S, SharedKey<S, Steps<'a>>>;

/// Number of checks before a limit is exhausted, and of checks after.
const CHECKS: u32 = 6;
/// Largest power of two that any limit here admits at once.
const LARGEST: u32 = 1 << 17;

/// Prints the costs of a limit. Returns whether it admitted and denied correctly.
#[inline(never)]
fn costs<S: Strategy>(name: &str, strategy: S) -> bool {
    // 2026-11-21, 21:30 UTC.
    let now = Cell::new(Timestamp::from_micros(1_795_296_600_000_000));
    // `black_box` hides the values from the compiler, as if they were configured at run time.
    let limiter = black_box(Limiter::new(strategy, SharedKey::shared(Steps(&now))));
    let (mut allowed, mut denied, mut correct) = (Most::default(), Most::default(), true);
    for _ in 0..CHECKS {
        correct &= allowed.check(&limiter).is_some_and(Outcome::is_allowed);
        now.set(now.get().plus_micros(1_001));
    }
    // Use up the limit by costs of falling powers of two. Only `check` is called, so it is inlined and
    // reduced as in a program that only checks.
    let costs = (0..=LARGEST.ilog2()).rev().map(|bit| 1 << bit);
    costs.for_each(|cost| {
        check(&limiter, cost);
    });
    for _ in 0..CHECKS {
        correct &= matches!(denied.check(&limiter), Some(Outcome::Deny { .. }));
        now.set(now.get().plus_micros(11));
    }
    let ram = size_of::<Fixed<S, Steps<'_>, 3>>() - size_of::<Fixed<S, Steps<'_>, 2>>();
    let stack = allowed.stack.max(denied.stack);
    let (allowed, denied) = (allowed.instructions, denied.instructions);
    line(format_args!("{name}|{ram}|{stack}|{allowed}|{denied}{}", if correct { "" } else { "|WRONG" }));
    correct
}

#[derive(Default)]
struct Most {
    stack: u32,
    instructions: u32,
}

impl Most {
    fn check<S: Strategy>(&mut self, limiter: &Limited<'_, S>) -> Option<Outcome> {
        let ((outcome, instructions), stack) = board::stack(|| board::count(|| check(limiter, 1)));
        self.stack = self.stack.max(stack);
        self.instructions = self.instructions.max(instructions);
        outcome
    }
}

#[inline(never)]
fn check<S: Strategy>(limiter: &Limited<'_, S>, cost: u32) -> Option<Outcome> {
    limiter.check_n(&(), S::Cost::uniform(cost)).ok().map(|verdict| verdict.outcome())
}
