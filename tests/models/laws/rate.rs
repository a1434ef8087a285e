//! Rates as people write them: what is printed is read again, and whatever is written is read or refused.

use std::collections::HashSet;
use std::time::Duration;

use proptest::prelude::*;
use traffik::{Rate, RateErrorKind, rate};

/// The longest period, in microseconds.
const LONGEST: u64 = (1 << 53) - 1;

/// Every rate there is, those of round periods and of the ends among them.
fn rates() -> impl Strategy<Value = Rate> {
    let round =
        proptest::sample::select(vec![1u64, 1_000, 1_000_000, 60_000_000, 3_600_000_000, 86_400_000_000]);
    let period = prop_oneof![
        1u64..=LONGEST,
        (round, 1u64..2_000).prop_map(|(unit, count)| unit * count),
        Just(LONGEST)
    ];
    let limited = (prop_oneof![any::<u32>(), Just(0), Just(u32::MAX)], period)
        .prop_map(|(limit, micros)| Rate::new(limit, Duration::from_micros(micros)).unwrap());
    prop_oneof![20 => limited, 1 => Just(Rate::UNLIMITED)]
}

/// Texts that are nearly rates, and any others.
fn texts() -> impl Strategy<Value = String> {
    let piece = proptest::sample::select(vec![
        "0",
        "1",
        "5",
        "10",
        "4294967295",
        "4294967296",
        "9007199254740991",
        "99999999999999999999999999999999999999999",
        "/",
        "per",
        " ",
        "\t",
        "\n",
        "s",
        "sec",
        "ms",
        "us",
        "µs",
        "m",
        "min",
        "month",
        "y",
        "h",
        "d",
        "w",
        "weeks",
        "S",
        "-",
        "+",
        ".",
        "_",
        ",",
        "'",
        "٣",
        "𝟙",
        "é",
        "\0",
        "e",
    ]);
    prop_oneof![3 => proptest::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat()), 1 => any::<String>()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_printed_is_read_as_the_same(rate in rates()) {
        let printed = rate.to_string();
        prop_assert_eq!(printed.parse::<Rate>(), Ok(rate), "{}", printed);
        prop_assert_eq!(printed.parse::<Rate>().unwrap().to_string(), printed);
    }

    /// A refusal names the very character, and tells what would be right.
    #[test]
    fn any_text_is_read_or_refused_at_a_character(text in texts()) {
        match text.parse::<Rate>() {
            Ok(rate) => prop_assert_eq!(rate.to_string().parse::<Rate>(), Ok(rate)),
            Err(error) => {
                prop_assert_eq!(text.chars().nth(error.offset()), error.found(), "{:?}", error);
                prop_assert_eq!(text.get(error.offset()..).and_then(|rest| rest.chars().next()), error.found());
                let told = error.to_string();
                prop_assert!(told.contains(error.advice()), "{}", told);
                prop_assert!(error.offset() == 0 || told.contains("character"), "{}", told);
            }
        }
    }

    /// In a text as in a duration, and whatever the units are called.
    #[test]
    fn mixed_units_add_up(
        limit in any::<u32>(),
        parts in proptest::collection::vec((0u64..1_000, 0usize..7, any::<bool>()), 1..6),
        spaced in any::<bool>(),
    ) {
        const UNITS: [(&str, &str, u64); 7] = [
            ("us", "MICROSECONDS", 1),
            ("ms", "msecs", 1_000),
            ("s", "Seconds", 1_000_000),
            ("m", "mins", 60_000_000),
            ("h", "hrs", 3_600_000_000),
            ("d", "days", 86_400_000_000),
            ("w", "weeks", 604_800_000_000),
        ];
        let (mut text, mut sum) = (format!("{limit}/"), Duration::ZERO);
        for (count, unit, long) in parts {
            let (short, name, micros) = UNITS[unit];
            let blank = if spaced { " " } else { "" };
            text += &format!("{blank}{count}{blank}{}", if long { name } else { short });
            sum += Duration::from_micros(count * micros);
        }
        let read = text.parse::<Rate>();
        prop_assert_eq!(read.map_err(|error| error.kind()), Rate::new(limit, sum).map_err(|error| error.kind()), "{}", text);
    }
}

#[test]
fn a_rate_can_be_a_constant_and_a_key() {
    const ALL: [Rate; 6] = [
        rate!("100/min"),
        rate!("100 per minute"),
        Rate::per_minute(100),
        rate!("3/1h30m"),
        rate!("0/0"),
        Rate::UNLIMITED,
    ];
    assert_eq!(HashSet::from(ALL).len(), 3);
    assert_eq!([ALL[0], ALL[1]], [ALL[2]; 2]);
    assert_eq!(ALL[3], Rate::new(3, Duration::from_secs(3_600) + Duration::from_secs(30 * 60)).unwrap());
    assert!(ALL[4].is_unlimited() && ALL[4] == Rate::UNLIMITED);
    let constants =
        [Rate::per_second(7), Rate::per_minute(7), Rate::per_hour(7), Rate::per_day(7), Rate::per_week(7)];
    assert_eq!(constants, ["7/s", "7/m", "7/h", "7/d", "7/w"].map(|text| text.parse().unwrap()));
}

/// The messages for texts that are no rates.
#[test]
fn refusals_say_what_would_be_right() {
    for (text, told) in [
        (
            "5/1.5s",
            "at character 4 ('.'): only whole numbers are read; write 1500ms for 1.5s, and 3/2s for 1.5/s",
        ),
        ("5/month", "at character 3 ('m'): months and years vary in length; say how many days, such as 30d"),
        ("٣/s", "at character 1 ('٣'): only ASCII is read; write digits as 0 to 9, and microseconds as us"),
        ("1_000/s", "at character 2 ('_'): digits are not grouped; write 1000/s"),
        ("-5/s", "at character 1 ('-'): numbers have no sign; write 5/s, or 0/0 for no limit at all"),
        ("5/-1s", "at character 3 ('-'): numbers have no sign; write 5/s, or 0/0 for no limit at all"),
        (
            "5//s",
            "at character 3 ('/'): a period is missing; write a unit or a number with a unit, such as s or 10s",
        ),
        ("", "the rate is empty; write a limit and a period, such as 100/min"),
        (
            "5/s s",
            "at character 5 ('s'): nothing is read after the period; a further unit needs a number, such as 1h30m",
        ),
        (
            "5",
            "at the end, after character 1: write '/' or 'per' between limit and period, such as 100/min or 100 per min",
        ),
    ] {
        assert_eq!(text.parse::<Rate>().unwrap_err().to_string(), told);
    }
    let too_precise = Rate::new(1, Duration::from_nanos(1_500)).unwrap_err();
    assert_eq!((too_precise.kind(), too_precise.found()), (RateErrorKind::FractionOfMicrosecond, None));
    assert_eq!(too_precise.to_string(), "a period is a whole number of microseconds; round it up");
}
