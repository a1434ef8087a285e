//! Counts the instructions of a check in a table and the reading of its outcome, the clock and the hash
//! included.
#![no_std]
#![no_main]

use core::hint::black_box;

use board::{count, line};
use figures::Uptime;
use figures::limits::RATE;
use traffik_core::{Fixed, Gcra, Limiter, Outcome};

const LIMIT: Gcra = match Gcra::new(RATE).burst(3) {
    Ok(limit) => limit,
    Err(_) => panic!("a burst of 3 can be counted"),
};

type Storage = Fixed<Gcra, Uptime, 32>;
type Limited<'a> = Limiter<Gcra, &'a Storage>;

board::begin_with!(main);
board::tell_panics!();

fn main() -> ! {
    board::start();
    let storage = Storage::new(Uptime, 0x5eed_5eed_5eed_5eed);
    // Not known when compiled, as if it had been configured.
    let limiter = Limiter::new(black_box(LIMIT), black_box(&storage));

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
    let mut well = true;
    for (what, case) in [
        ("a known key, allowed", allowed),
        ("a known key, denied", denied),
        ("a new key", new),
        ("a new key that evicts another", evicting),
    ] {
        well &= case.tell(what);
    }
    board::exit(well)
}

#[inline(never)]
fn check(limiter: &Limited<'_>, key: u32) -> Option<Outcome> {
    limiter.check(&key).ok().map(|decision| decision.outcome())
}

/// Counts of one kind of check.
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

    fn tell(&self, what: &str) -> bool {
        line(format_args!("{what}|{}|{}", self.least, self.most));
        self.times > 0 && self.is_as_expected
    }
}
