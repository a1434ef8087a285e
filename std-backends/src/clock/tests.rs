//! Tests of all clocks.

use traffik_core::{EpochClock, Timestamp};

use super::{CoarseClock, MonotonicClock, SystemClock};

/// 2020-01-01.
const PAST: Timestamp = Timestamp::from_micros(1_577_836_800_000_000);

#[test]
fn every_clock_knows_the_epoch_and_moves_forward() {
    let clocks: [&dyn EpochClock; 3] = [&SystemClock, &MonotonicClock::default(), &CoarseClock::default()];
    for clock in clocks {
        let first = clock.now();
        assert!(first > PAST);
        while clock.now() <= first {
            std::hint::spin_loop();
        }
    }
}
