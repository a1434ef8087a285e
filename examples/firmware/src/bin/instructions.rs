//! Counts the instructions of a check and the reading of its outcome, the clock and the hash included.
//!
//! In the emulator, with `-icount shift=6`, every instruction takes 64 ns; the timer runs at 12.5 MHz, so four of
//! its ticks are five instructions. The rate shares no factor with its period, which makes it the dearest to count.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::panic::PanicInfo;

use cortex_m::peripheral::SYST;
use cortex_m_rt::entry;
use cortex_m_semihosting::{debug, hprintln};
use static_cell::StaticCell;
use traffik_core::{EmbassyClock, Fixed, Gcra, Limiter, Outcome, rate};

const LIMIT: Gcra = match Gcra::new(rate!("99991/day")).burst(3) {
    Ok(limit) => limit,
    Err(_) => panic!("a burst of 3 can be counted"),
};

type Storage = Fixed<Gcra, EmbassyClock, 32>;
type Limited = Limiter<Gcra, &'static Storage>;

/// What is promised of a check.
const PROMISED: u32 = 500;
/// What is promised of one of a new key: it is looked for in all 32 slots, and then a free one, which may be
/// the last.
const NEW: u32 = 900;
/// What is promised of one that has to give up another key first.
const EVICTING: u32 = 1_200;

#[entry]
fn main() -> ! {
    if let Some(mut core) = cortex_m::Peripherals::take() {
        firmware::driver::start(&mut core.SYST);
    }
    static STORAGE: StaticCell<Storage> = StaticCell::new();
    let storage = &*STORAGE.init_with(|| Fixed::new(EmbassyClock::new(), 0x5eed_5eed_5eed_5eed));
    // Not known when compiled, as if it had been configured.
    let limiter = Limiter::new(black_box(LIMIT), storage);

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
    let mut kept = true;
    for (what, case, promised) in [
        ("a known key, allowed", allowed, PROMISED),
        ("a known key, denied", denied, PROMISED),
        ("a new key", new, NEW),
        ("a new key that evicts another", evicting, EVICTING),
    ] {
        kept &= case.tell(what, promised);
    }
    debug::exit(if kept { debug::EXIT_SUCCESS } else { debug::EXIT_FAILURE });
    loop {
        cortex_m::asm::wfi();
    }
}

#[inline(never)]
fn check(limiter: &Limited, key: u32) -> Option<Outcome> {
    limiter.check(&key).ok().map(|decision| decision.outcome())
}

/// The answer, and the instructions between two readings of the timer less those that a reading takes.
fn count<T>(run: impl FnOnce() -> T) -> (T, u32) {
    critical_section::with(|_| {
        let began = SYST::get_current();
        let between = SYST::get_current();
        let answer = run();
        let ended = SYST::get_current();
        let period = SYST::get_reload() + 1;
        let ticks = |from: u32, to: u32| (from + period - to) % period;
        (answer, (ticks(between, ended) - ticks(began, between)) * 5 / 4)
    })
}

/// What was counted of one kind of check.
struct Case {
    least: u32,
    most: u32,
    times: u32,
    as_expected: bool,
}

impl Case {
    const NONE: Self = Self { least: u32::MAX, most: 0, times: 0, as_expected: true };

    fn add(&mut self, instructions: u32, as_expected: bool) {
        self.least = self.least.min(instructions);
        self.most = self.most.max(instructions);
        self.times += 1;
        self.as_expected &= as_expected;
    }

    fn tell(&self, what: &str, promised: u32) -> bool {
        let Self { least, most, .. } = self;
        let kept = self.times > 0 && self.as_expected && *most <= promised;
        let verdict = if kept { "pass" } else { "FAIL" };
        hprintln!("{what:<32} {least:>4} to {most:>4} instructions   bound {promised}: {verdict}");
        kept
    }
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    hprintln!("{info}");
    debug::exit(debug::EXIT_FAILURE);
    loop {
        cortex_m::asm::wfi();
    }
}
