//! Verdicts, receipts and figures as short texts that name no types.

use std::fmt::Write;

use super::steps::START;
use serde::Serialize;
use serde_json::Value;
use traffik::strategy::{StatValue, Stats, encode};
use traffik::{Decision, Outcome, Receipts, State, Timestamp, Verdict};

/// A time, counted from the first one if it is near it.
pub(super) fn moment(at: Timestamp) -> String {
    const NEAR: u64 = 1 << 50;
    match at.as_micros() {
        u64::MAX => "max".to_owned(),
        late if late > u64::MAX - NEAR => format!("max-{}", u64::MAX - late),
        micros if micros.abs_diff(START.as_micros()) < NEAR => {
            format!("{:+}", micros.cast_signed() - START.as_micros().cast_signed())
        }
        micros => format!("@{micros}"),
    }
}

/// A span of time that may be for ever.
fn span(micros: u128) -> String {
    if micros == u128::from(u64::MAX) { "ever".to_owned() } else { micros.to_string() }
}

pub(super) fn outcome(outcome: Outcome) -> String {
    match outcome {
        Outcome::Allow { after } if after.is_zero() => "allow".to_owned(),
        Outcome::Allow { after } => format!("after {}", span(after.as_micros())),
        Outcome::Deny { retry_after } => format!("deny {}", span(retry_after.as_micros())),
        Outcome::Never => "never".to_owned(),
    }
}

/// A verdict: what it comes to, whether it is recorded (`w`), how depleted the limit is; then each decision.
pub(super) fn verdict(verdict: &impl Verdict) -> String {
    let mut text = outcome(verdict.outcome());
    assert_eq!(verdict.is_allowed(), verdict.outcome().is_allowed());
    if verdict.is_dirty() {
        text += " w";
    }
    write!(text, " p{}", verdict.pressure()).unwrap();
    let mut decisions = Vec::new();
    verdict.for_each(&mut |decision| decisions.push(*decision));
    for each in &decisions {
        text += " | ";
        if decisions.len() > 1 {
            text += &outcome(each.outcome());
            text += if Verdict::is_dirty(each) { " w " } else { " " };
        }
        text += &decision(each);
    }
    text
}

/// The limit, what remains of it, and until when that is not all; with the period before.
fn decision(decision: &Decision) -> String {
    if decision.is_unlimited() {
        return "unlimited".to_owned();
    }
    let (limit, remaining) = (decision.limit(), decision.remaining());
    let (window, reset) = (decision.window().as_micros(), span(decision.reset_after().as_micros()));
    format!("{limit}/{} {remaining} {reset}", span(window))
}

/// The receipts of an admission, each as its time, level and unit, and which of two storages it is of.
pub(super) fn receipts(verdict: &impl Verdict) -> String {
    let mut texts = Vec::new();
    verdict.receipt().for_each(&mut |receipt| {
        let Value::Object(fields) = serde_json::to_value(receipt).unwrap() else {
            panic!("a receipt is told by its fields")
        };
        let field = |name: &str| fields.get(name).and_then(Value::as_u64).unwrap();
        assert_eq!((field("at"), field("sides")), (receipt.at().as_micros(), 0));
        let (level, unit) = (field("level"), field("unit"));
        let booked = if (level, unit) == (0, 0) { String::new() } else { format!("/{level}/{unit}") };
        texts.push(moment(receipt.at()) + &booked);
    });
    texts.join(" ")
}

/// The names of figures, in their order.
pub(super) fn names(report: &impl Stats) -> String {
    let mut names = Vec::new();
    report.for_each(&mut |name, _| names.push(name));
    names.join(" ")
}

pub(super) fn figures(report: &impl Stats) -> String {
    let mut texts = Vec::new();
    report.for_each(&mut |_, figure| {
        texts.push(match figure {
            StatValue::Time(at) => moment(at),
            StatValue::Flag(flag) => (if flag { "yes" } else { "no" }).to_owned(),
            StatValue::Label(label) => format!("#{}", label.0),
            StatValue::Absent => "-".to_owned(),
            other => other.to_string(),
        });
    });
    texts.join(" ")
}

/// The encoded form of a state.
pub(super) fn bytes<T: State>(state: &T) -> Vec<u8> {
    let mut buffer = vec![0; T::MAX_LEN.min(1 << 16)];
    let length = encode(state, &mut buffer).unwrap();
    buffer.truncate(length);
    buffer
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap()
}
