//! A node that sends readings, with the limit that the variable `LIMIT` names at build time, or without one.
//! The difference in size is the cost of the limit.
//!
//! The panic handler calls a function that does not exist, so the program links only if no panic is
//! reachable. It is linked to be measured, and never run.
#![no_std]
#![no_main]

use core::hint::black_box;
use core::panic::PanicInfo;

use figures::registers::{RADIO, READING, SENSOR, WAIT, read, write};
use figures::{SharedKey, Uptime};
use traffik_core::strategy::Cost;
use traffik_core::{Clock, Key, Limiter, Outcome, Storage, Strategy, Verdict};

const LIMIT: Option<&str> = option_env!("LIMIT");

board::begin_with!(main);

fn main() -> ! {
    // A constant stays in flash. A limit that only a running program can build is built once.
    macro_rules! each {
        (const $name:literal, $limit:ty, $make:expr) => {
            if const { is_chosen($name) } {
                static LIMITER: Option<Limiter<$limit, SharedKey<$limit, Uptime>>> = match $make {
                    Some(limit) => Some(Limiter::new(limit, SharedKey::shared(Uptime))),
                    None => None,
                };
                if let Some(limiter) = &LIMITER {
                    run(|| wait(limiter, &()));
                }
            }
        };
        (let $name:literal, $limit:ty, $make:expr) => {
            if const { is_chosen($name) } {
                if let Some(limit) = $make {
                    let limiter: Limiter<$limit, SharedKey<$limit, Uptime>> =
                        Limiter::new(limit, SharedKey::shared(Uptime));
                    run(|| wait(black_box(&limiter), &()));
                }
            }
        };
    }
    figures::limits!(each);
    if const { is_chosen("Fixed<Gcra, 32>") } {
        static STORAGE: Fixed<Gcra, Uptime, 32, Shared<0>> = Fixed::shared(Uptime, 0);
        let limiter = Limiter::new(Gcra::new(RATE), &STORAGE);
        run(|| wait(&limiter, &read(SENSOR)));
    }
    run(|| None)
}

/// Sends the readings that `wait` admits, and reports the wait in milliseconds of the others.
fn run(wait: impl Fn() -> Option<u32>) -> ! {
    loop {
        let (reading, at) = (read(READING), Uptime.now().as_micros());
        match wait() {
            Some(wait) => write(WAIT, wait),
            None => [reading, at as u32, (at >> 32) as u32].into_iter().for_each(|word| write(RADIO, word)),
        }
    }
}

/// Returns the wait of a reading in milliseconds, or `None` if it may be sent at once.
fn wait<S: Strategy>(limiter: &Limiter<S, impl Storage<S>>, key: &impl Key) -> Option<u32> {
    match limiter.check_n(key, S::Cost::uniform(1)).map(|verdict| verdict.outcome()) {
        Ok(Outcome::Allow { .. }) => None,
        Ok(Outcome::Deny { retry_after }) => {
            Some(retry_after.as_secs() as u32 * 1_000 + retry_after.subsec_millis())
        }
        Ok(Outcome::Never) | Err(_) => Some(u32::MAX),
    }
}

/// Reports whether `LIMIT` has this name.
const fn is_chosen(name: &str) -> bool {
    let (Some(limit), name) = (LIMIT, name.as_bytes()) else { return false };
    let limit = limit.as_bytes();
    let mut at = 0;
    while at < name.len() && at < limit.len() && name[at] == limit[at] {
        at += 1;
    }
    at == name.len() && at == limit.len()
}

unsafe extern "C" {
    fn a_panic_can_be_reached() -> !;
}

#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    // SAFETY: the function does not exist, so a program that can reach this call does not link.
    unsafe { a_panic_can_be_reached() }
}
