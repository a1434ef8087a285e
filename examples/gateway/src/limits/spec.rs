//! Parses the text form of a strategy, such as `tiered(free=1,premium=5)/token-bucket:burst=50`.

use std::str::FromStr;

use traffik::{Hours, Label, Ratio};

use crate::limits::parameters::{Parameters, listed};
use crate::limits::plain::{self, PlainStrategy};

/// A strategy and its parameters.
#[derive(Clone)]
pub(crate) struct Spec {
    pub(crate) plain: PlainStrategy,
    /// The wrappers, innermost first.
    pub(crate) wrappers: Vec<Wrapper>,
    /// The text form.
    pub(crate) text: String,
}

/// A wrapper around a strategy, with its parameters.
#[derive(Clone)]
pub(crate) enum Wrapper {
    Tiered { tiers: Vec<(Label, Ratio)> },
    TimeOfDay { spans: Vec<Hours>, offset_minutes: i32 },
    Priority { reserves: Vec<(Label, Ratio)> },
}

/// The first line of the help for a strategy.
pub(crate) const HELP: &str =
    "Strategy that counts requests, such as token-bucket:burst=150; --help lists all";

/// Returns the whole help for a strategy.
pub(crate) fn long_help() -> String {
    format!(
        "{HELP}.\n\n{}; or one of these in up to three wrappers: tiered(free=1,premium=5)/token-bucket, \
         time-of-day(00:00-08:00=2,utc=+05:30)/fixed-window, priority(low=50%,normal=25%)/gcra:burst=10.",
        plain::usage()
    )
}

impl FromStr for Spec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((name, rest)) = text.split_once('(')
            && !name.contains([':', '/'])
        {
            return Ok(Self { text: text.to_owned(), ..wrapper(name, rest)? });
        }
        let (name, parameters) = text.split_once(':').unwrap_or((text, ""));
        let given = Parameters::parse(name, parameters)?;
        if matches!(name, "tiered" | "time-of-day" | "priority") {
            return Err(format!("{name} wraps another strategy; write {name}(..)/fixed-window"));
        }
        let strategy = plain::parse(name, given).unwrap_or_else(|| {
            Err(format!(
                "there is no strategy {name:?}; there are {}; wrapped in tiered(..)/, time-of-day(..)/ or \
                 priority(..)/",
                listed(&plain::names())
            ))
        });
        Ok(Self { plain: strategy?, wrappers: Vec::new(), text: text.to_owned() })
    }
}

/// Parses `name(parameters)/inner` after the opening parenthesis.
fn wrapper(name: &str, rest: &str) -> Result<Spec, String> {
    let Some((parameters, inner)) = rest.split_once(")/") else {
        return Err(format!("{name}(..) wraps another strategy; write {name}(..)/fixed-window"));
    };
    let mut given = Parameters::parse(name, parameters)?;
    let mut spec: Spec = inner.parse()?;
    spec.wrappers.push(match name {
        "tiered" => Wrapper::Tiered { tiers: given.named("tiered(free=1,premium=5)/fixed-window")? },
        "priority" => Wrapper::Priority { reserves: given.named("priority(low=50%,high=10%)/token-bucket")? },
        "time-of-day" => {
            let offset = given.take::<Offset>("utc", "an offset such as +05:30")?;
            let spans = given.rest().into_iter().map(|(span, ratio)| parse_span(span, ratio));
            let spans: Vec<_> = spans.collect::<Result<_, _>>()?;
            if spans.is_empty() {
                return Err(
                    "time-of-day needs a span; write time-of-day(08:00-17:00=2)/fixed-window".to_owned()
                );
            }
            Wrapper::TimeOfDay { spans, offset_minutes: offset.map_or(0, |offset| offset.0) }
        }
        _ => return Err(format!("there is no wrapper {name:?}; there are tiered, time-of-day and priority")),
    });
    Ok(spec)
}

fn parse_span(span: &str, ratio: &str) -> Result<Hours, String> {
    let wrong =
        || format!("{span}={ratio} is not a span of the day; write 08:00-17:00=2, from 00:00 to 24:00");
    let (from, to) = span.split_once('-').ok_or_else(wrong)?;
    let (from, to) = (time(from).ok_or_else(wrong)?, time(to).ok_or_else(wrong)?);
    let ratio = ratio.parse().map_err(|_| wrong())?;
    Ok(Hours::new(from, to, ratio))
}

/// Parses `HH:MM`, from 00:00 to 24:00.
fn time(text: &str) -> Option<(u8, u8)> {
    let (hours, minutes) = text.split_once(':')?;
    let digits = |text: &str| text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    let two_digits = |text: &str| digits(text).then(|| text.parse().ok()).flatten();
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
    (minutes < 60 && (hours, minutes) <= (24, 0)).then_some((hours, minutes))
}

/// An offset from UTC in minutes, written `+HH:MM` or `-HH:MM`.
struct Offset(i32);

impl FromStr for Offset {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (sign, rest) = text.split_at_checked(1).ok_or(())?;
        let (hours, minutes) = time(rest).filter(|time| *time < (24, 0)).ok_or(())?;
        let minutes = i32::from(hours) * 60 + i32::from(minutes);
        match sign {
            "+" => Ok(Self(minutes)),
            "-" => Ok(Self(-minutes)),
            _ => Err(()),
        }
    }
}
