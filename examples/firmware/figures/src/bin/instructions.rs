//! Counts the instructions of a check in a table, including the clock, the hash and the reading of the
//! outcome. The variable `LIMIT` names the limit at build time, so that the program contains no other.
#![no_std]
#![no_main]

use core::hint::black_box;

use board::{count, line};
use figures::Uptime;
use figures::limits::RATE;
use traffik_core::{All, Fixed, Gcra, Limiter, Outcome, Strategy, TokenBucket, Verdict};

type Storage<S> = Fixed<S, Uptime, 32>;
type Limited<'a, S> = Limiter<S, &'a Storage<S>>;

board::begin_with!(main);
board::print_panics!();

fn main() -> ! {
    board::start();
    let bucket = |burst| TokenBucket::new(RATE).burst(burst);
    board::exit(if const { is_chosen("Gcra") } {
        Gcra::new(RATE).burst(3).is_ok_and(table)
    } else if const { is_chosen("TokenBucket") } {
        bucket(3).is_ok_and(table)
    } else if const { is_chosen("All<TokenBucket, 2>") } {
        // Only the first bucket denies: the second is never exhausted.
        matches!((bucket(3), bucket(300)), (Ok(one), Ok(other)) if table(All([one, other])))
    } else {
        false
    })
}

const fn is_chosen(name: &str) -> bool {
    let chosen = match option_env!("LIMIT") {
        Some(chosen) => chosen.as_bytes(),
        None => b"",
    };
    let (mut at, name) = (0, name.as_bytes());
    while at < name.len() && at < chosen.len() && name[at] == chosen[at] {
        at += 1;
    }
    at == name.len() && at == chosen.len()
}

/// Prints the instructions of checks in a table. Returns whether each kind of check occurred.
#[inline(never)]
fn table<S: Strategy>(strategy: S) -> bool {
    let storage = Storage::new(Uptime, 0x5eed_5eed_5eed_5eed);
    // `black_box` hides the values from the compiler, as if they were configured at run time.
    let limiter = Limiter::new(black_box(strategy), black_box(&storage));

    let mut cases = [Case::NONE; 4];
    let [new, evicting, allowed, denied] = &mut cases;
    for key in 0..200 {
        let before = storage.counters().evictions;
        let (outcome, instructions) = count(|| check(&limiter, key));
        let case = if storage.counters().evictions > before { &mut *evicting } else { &mut *new };
        case.add(instructions, outcome.is_some_and(Outcome::is_allowed));
        for _ in 0..4 {
            let (outcome, instructions) = count(|| check(&limiter, key));
            match outcome {
                Some(Outcome::Deny { .. }) => denied.add(instructions, true),
                outcome => allowed.add(instructions, outcome.is_some_and(Outcome::is_allowed)),
            }
        }
    }
    let mut correct = true;
    for (what, case) in [
        ("a known key, allowed", allowed),
        ("a known key, denied", denied),
        ("a new key", new),
        ("a new key that evicts another", evicting),
    ] {
        correct &= case.print(what);
    }
    correct
}

#[inline(never)]
fn check<S: Strategy>(limiter: &Limited<'_, S>, key: u32) -> Option<Outcome> {
    limiter.check(&key).ok().map(|verdict| verdict.outcome())
}

/// The counts of one kind of check.
struct Case {
    least: u32,
    most: u32,
    times: u32,
    is_as_expected: bool,
}

impl Case {
    const NONE: Self = Self { least: u32::MAX, most: 0, times: 0, is_as_expected: true };

    fn add(&mut self, instructions: u32, is_as_expected: bool) {
        self.least = self.least.min(instructions);
        self.most = self.most.max(instructions);
        self.times += 1;
        self.is_as_expected &= is_as_expected;
    }

    fn print(&self, what: &str) -> bool {
        line(format_args!("{what}|{}|{}", self.least, self.most));
        self.times > 0 && self.is_as_expected
    }
}
