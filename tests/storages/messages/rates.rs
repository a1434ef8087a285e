//! Rates, ratios, and texts of both in the files that serde reads.

use std::time::Duration;

use traffik::{Rate, Ratio};

use super::{Messages, refused};

const MICRO: Duration = Duration::from_micros(1);

pub(super) fn provoke(messages: &mut Messages) {
    messages.section("Rates");
    refused! { messages:
        Rate::parse("");
        Rate::parse("per second");
        Rate::parse("unlimited");
        Rate::parse("0");
        Rate::parse("-1");
        Rate::parse("5/-1s");
        Rate::parse("٣/s");
        Rate::parse("5/µs");
        Rate::parse("1_000/s");
        Rate::parse("1,000/s");
        Rate::parse("1.5/s");
        Rate::parse("5/1.5s");
        Rate::parse("5000000000/s");
        Rate::parse("5");
        Rate::parse("5 s");
        Rate::parse("5/");
        Rate::parse("5//s");
        Rate::parse("5/10");
        Rate::parse("5/1h30");
        Rate::parse("5/month");
        Rate::parse("5/y");
        Rate::parse("5/fortnight");
        Rate::parse("5/s s");
        Rate::parse("5/s, 100/min");
        Rate::parse("5/0s");
        Rate::parse("5/0");
        Rate::parse("5/300000d");
        Rate::new(5, Duration::ZERO);
        Rate::new(5, Duration::MAX);
        Rate::new(5, Duration::from_nanos(1_500));
        Rate::new(0, MICRO / 2);
        "5".parse::<Rate>();
        serde_json::from_str::<Rate>("\"5\"");
        serde_json::from_str::<Rate>("5");
    }
    messages.section("Ratios");
    refused! { messages:
        Ratio::new(1, 0);
        "half".parse::<Ratio>();
        "-50%".parse::<Ratio>();
        "".parse::<Ratio>();
        "1/0".parse::<Ratio>();
        serde_json::from_str::<Ratio>("\"half\"");
        serde_json::from_str::<Ratio>("0.5");
    }
}
