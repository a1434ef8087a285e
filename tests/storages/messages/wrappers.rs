//! Tiers, priorities and hours.

use traffik::{Hours, Label, Priority, Rate, Ratio, Tiered, TimeOfDay, TokenBucket, rate};

use super::{Messages, refused};

const FREE: Label = Label(1);
const PAID: Label = Label(2);

fn ratio(text: &str) -> Ratio {
    text.parse().unwrap()
}

fn bucket(text: &str) -> TokenBucket {
    TokenBucket::new(text.parse().unwrap())
}

fn hours(from: u8, to: u8, share: &str) -> Hours {
    Hours::new((from, 0), (to, 0), ratio(share))
}

pub(super) fn provoke(messages: &mut Messages) {
    tiers(messages);
    priorities(messages);
    times(messages);
}

fn tiers(messages: &mut Messages) {
    messages.section("Tiers");
    let vast = TokenBucket::new(rate!("1000000/31d")).burst(200_000_000).unwrap();
    refused! { messages:
        Tiered::new(bucket("10/s"), []);
        Tiered::new(bucket("10/s"), [(FREE, Ratio::ONE), (FREE, ratio("2"))]);
        Tiered::new(bucket("10/s"), [(FREE, Ratio::ONE), (PAID, Ratio::ZERO)]);
        Tiered::new(vast, [(FREE, Ratio::ONE), (PAID, ratio("999999/1000000"))]);
    }
}

fn priorities(messages: &mut Messages) {
    messages.section("Priorities");
    refused! { messages:
        Priority::new(bucket("10/s"), [(FREE, ratio("10%")), (FREE, ratio("20%"))]);
        Priority::new(bucket("10/s"), [(FREE, ratio("1"))]);
        Priority::new(bucket("10/s"), [(FREE, ratio("5%"))]);
    }
}

fn times(messages: &mut Messages) {
    messages.section("Hours");
    let day = TimeOfDay::new(bucket("10/s"), [hours(9, 17, "2")]).unwrap();
    let yearly = TokenBucket::new(Rate::parse("9/365d").unwrap());
    let vast = TokenBucket::new(rate!("1000000/31d")).burst(100_000_000).unwrap();
    refused! { messages:
        TimeOfDay::new(bucket("10/s"), []);
        TimeOfDay::<_, 1>::from_slice(bucket("10/s"), &[hours(0, 1, "2"), hours(1, 2, "3")]);
        TimeOfDay::new(bucket("10/s"), [hours(9, 25, "2")]);
        TimeOfDay::new(bucket("10/s"), [hours(24, 1, "2")]);
        TimeOfDay::new(bucket("10/s"), [hours(9, 9, "2")]);
        TimeOfDay::new(bucket("10/s"), [hours(9, 17, "2"), hours(16, 20, "3")]);
        TimeOfDay::new(bucket("10/s"), [hours(9, 17, "0")]);
        day.utc_offset(1440);
        TimeOfDay::new(yearly, [hours(9, 17, "1/20")]);
        TimeOfDay::new(vast, [hours(9, 17, "999999/1000000")]);
    }
}
