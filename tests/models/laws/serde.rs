//! Every strategy's states are written and read by serde.

use serde::Serialize;
use serde::de::DeserializeOwned;
use traffik::{Hit, Rate, Strategy, Timestamp};

fn is_written_and_read<S: Strategy<Cost = u32, State: Serialize + DeserializeOwned>>(strategy: &S) {
    let mut state = S::State::default();
    for second in 1..4 {
        let now = Timestamp::from_micros(second * 1_000_000);
        let _ = strategy.decide(&mut state, &Hit::new(2), now);
        let written = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<S::State>(&written).unwrap(), state);
    }
}

#[test]
fn states_of_every_strategy_are_written_and_read() {
    macro_rules! each {
        ($name:ident, $spelling:literal, $kind:ident, $make:expr) => {
            let make: fn(Rate) -> Option<_> = $make;
            is_written_and_read(&make(Rate::per_minute(9)).unwrap());
        };
    }
    traffik::every_strategy!(each);
}
