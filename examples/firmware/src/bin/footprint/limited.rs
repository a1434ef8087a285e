//! The limit that `footprint` has or has not: five readings a second from each of 32 sensors.

use static_cell::StaticCell;
use traffik_core::{EmbassyClock, Fixed, Gcra, Limiter, Outcome, rate};

/// A constant stays in flash; only what is remembered takes RAM.
const LIMIT: Gcra = Gcra::new(rate!("5/s"));

type Storage = Fixed<Gcra, EmbassyClock, 32>;
type Limited = Limiter<Gcra, &'static Storage>;

pub fn limiter() -> Option<Limited> {
    static STORAGE: StaticCell<Storage> = StaticCell::new();
    let seed = u64::from(super::read(super::RANDOM)) << 32 | u64::from(super::read(super::RANDOM));
    let storage = STORAGE.try_init_with(|| Fixed::new(EmbassyClock::new(), seed))?;
    Some(Limiter::new(LIMIT, storage))
}

/// How long a reading of this sensor has to wait, in milliseconds; `None` if it need not.
pub fn wait(limiter: &Limited, sensor: u32) -> Option<u32> {
    #[cfg(feature = "every")]
    every(limiter, sensor);
    match limiter.check(&sensor).map(|decision| decision.outcome()) {
        Ok(Outcome::Allow { .. }) => None,
        Ok(Outcome::Deny { retry_after }) => {
            Some(retry_after.as_secs() as u32 * 1_000 + retry_after.subsec_millis())
        }
        Ok(Outcome::Never) | Err(_) => Some(u32::MAX),
    }
}

/// Whatever else can be done with a limiter, to prove that none of it can panic.
#[cfg(feature = "every")]
fn every(limiter: &Limited, sensor: u32) {
    use traffik_core::{Class, Decision, Hit, Label, Op};

    let show = |decision: Decision| {
        let (limit, left, window, reset) =
            (decision.limit(), decision.remaining(), decision.window(), decision.reset_after());
        for word in [limit, left, window.subsec_micros(), reset.as_secs() as u32, reset.subsec_nanos()] {
            super::write(super::RADIO, word);
        }
        decision.receipt()
    };
    let (cost, now) = (super::read(super::READING), limiter.now());
    let mut class = Class::default();
    class.priority = Label(cost);
    let check = limiter.apply(&("sensor", sensor), &Op::Check(Hit::new(cost).with_class(class)), now);
    if let Ok(receipt) = check.map(show) {
        let _ = limiter.refund(&sensor, cost, receipt).map(show);
    }
    for answer in [limiter.peek("sensor", cost), limiter.charge(&[1, 2, 3], cost), limiter.reset(&sensor)] {
        let _ = answer.map(show);
    }
    if let Ok(stat) = limiter.stat(&sensor) {
        super::write(super::RADIO, stat.tat.as_micros() as u32);
    }
    let (len, counters) = (limiter.storage().len(), limiter.storage().counters());
    super::write(super::RADIO, len as u32 + counters.evictions as u32 + counters.refusals as u32);
}
