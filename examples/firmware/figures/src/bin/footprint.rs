//! A node that sends readings, with the limit on them that the variable `LIMIT` names when this is built, or
//! without one: the difference in size is what that limit adds.
//!
//! No panic can be reached, and the linker proves it: the panic handler calls a function that does not exist.
//! It is linked to be measured, and never run.
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
    // A constant stays in flash; what only a running program can make does so once.
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

/// Sends readings, but for those that have to wait so many milliseconds.
fn run(wait: impl Fn() -> Option<u32>) -> ! {
    loop {
        let (reading, at) = (read(READING), Uptime.now().as_micros());
        match wait() {
            Some(wait) => write(WAIT, wait),
            None => [reading, at as u32, (at >> 32) as u32].into_iter().for_each(|word| write(RADIO, word)),
        }
    }
}

/// Returns how long a reading has to wait, in milliseconds; `None` if it need not.
fn wait<S: Strategy>(limiter: &Limiter<S, impl Storage<S>>, key: &impl Key) -> Option<u32> {
    match limiter.check_n(key, S::Cost::uniform(1)).map(|verdict| verdict.outcome()) {
        Ok(Outcome::Allow { .. }) => None,
        Ok(Outcome::Deny { retry_after }) => {
            Some(retry_after.as_secs() as u32 * 1_000 + retry_after.subsec_millis())
        }
        Ok(Outcome::Never) | Err(_) => Some(u32::MAX),
    }
}

/// Reports whether a name is that of the limit.
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
    // SAFETY: there is no such function, so a program that could get here does not link.
    unsafe { a_panic_can_be_reached() }
}
