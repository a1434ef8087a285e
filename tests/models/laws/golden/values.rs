//! Values that belong to no strategy: what they are called, and what serde writes of them.

use core::fmt::Debug;
use core::time::Duration;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Write;

use super::FOLDER;
use super::told::json;
use traffik::storage::{Counters, WhenFull};
use traffik::strategy::StatValue;
use traffik::{
    Class, Decision, ErrorKind, Hit, Label, Outcome, Rate, Ratio, Receipt, StorageError, Timestamp,
    WaitError, rate,
};
use traffik_test_support::golden::golden;

/// A line of text for each value.
#[derive(Default)]
struct Lines(String);

impl Lines {
    fn write(&mut self, name: &str, value: &impl Serialize) {
        writeln!(self.0, "{name} {}", json(value)).unwrap();
    }

    /// Of a value that is read again.
    fn both_ways<T: Serialize + DeserializeOwned + PartialEq + Debug>(&mut self, name: &str, value: &T) {
        self.write(name, value);
        assert_eq!(serde_json::from_str::<T>(&json(value)).unwrap(), *value);
    }
}

fn class() -> Class {
    let mut class = Class::default();
    (class.tier, class.priority, class.region, class.instance) = (Label(1), Label(2), Label(3), Label(4));
    class
}

const KINDS: [ErrorKind; 9] = [
    ErrorKind::Contended,
    ErrorKind::Full,
    ErrorKind::Unavailable,
    ErrorKind::Timeout,
    ErrorKind::Invalid,
    ErrorKind::Closed,
    ErrorKind::Corrupt,
    ErrorKind::Denied,
    ErrorKind::Other,
];

#[test]
fn plain_values_are_written_as_ever() {
    let mut lines = Lines::default();
    for rate in [rate!("100/min"), rate!("3/1h30m"), rate!("1/us"), rate!("0/s"), Rate::UNLIMITED] {
        lines.both_ways("rate", &rate);
    }
    for (num, den) in [(6, 4), (0, 5), (7, 1), (u64::MAX, 2)] {
        lines.both_ways("ratio", &Ratio::new(num, den).unwrap());
    }
    for at in [Timestamp::EPOCH, Timestamp::from_micros(1_700_000_000_123_457), Timestamp::MAX] {
        lines.both_ways("time", &at);
    }
    let (short, long) = (Duration::from_micros(1), Duration::from_micros(u64::MAX));
    for wait in [Duration::ZERO, short, long] {
        lines.both_ways("outcome", &Outcome::Allow { after: wait });
        lines.both_ways("outcome", &Outcome::Deny { retry_after: wait });
    }
    lines.both_ways("outcome", &Outcome::Never);
    let decisions = [
        Decision::allow(5, 4, short).with_window(Duration::from_secs(3)),
        Decision::allow(5, 4, short).delayed(short),
        Decision::deny(5, 0, short, long),
        Decision::never(5, 4, short),
        Decision::unlimited(),
    ];
    decisions.iter().for_each(|decision| lines.write("decision", decision));
    let mut receipt = Receipt::new(Timestamp::from_micros(77));
    lines.both_ways("receipt", &receipt);
    receipt.push_route(true);
    lines.both_ways("receipt", &receipt);
    lines.both_ways("label", &Label::named("gold"));
    lines.both_ways("class", &class());
    lines.both_ways("hit", &Hit::new(5u32).with_class(class()));
    lines.both_ways("hit", &Hit::new((5u32, (6u32, 7u32))));
    kinds(&mut lines);
    golden(&format!("{FOLDER}/forms"), "values", &lines.0);
}

fn kinds(lines: &mut Lines) {
    let figures = [
        StatValue::Count(u64::MAX),
        StatValue::Balance(-3),
        StatValue::Time(Timestamp::MAX),
        StatValue::Ratio(Ratio::new(3, 2).unwrap()),
        StatValue::Flag(true),
        StatValue::Label(Label(7)),
        StatValue::Absent,
    ];
    figures.iter().for_each(|figure| lines.write(&format!("figure {figure} as"), figure));
    KINDS.iter().for_each(|kind| lines.both_ways("error kind", kind));
    let error = StorageError::new(ErrorKind::Full, "there is no room");
    lines.write(&format!("error {error:?} as"), &error);
    lines.write("waiting", &WaitError::Storage(error));
    lines.write("waiting", &WaitError::<StorageError>::Never);
    [WhenFull::Evict, WhenFull::Refuse].iter().for_each(|when| lines.both_ways("when full", when));
    lines.both_ways("counters", &Counters { evictions: 1, refusals: 2 });
}
