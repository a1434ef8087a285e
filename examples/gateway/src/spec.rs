//! The text of a strategy, such as `tiered(free=1,premium=5)/token-bucket:burst=50`, as a tree.

use std::str::FromStr;
use std::time::Duration;

use traffik::{Label, Rate, Ratio};

/// A strategy and its parameters; what is `None` has the strategy's own default.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Spec {
    FixedWindow,
    SlidingWindow {
        strict: Option<u32>,
    },
    SlidingLog,
    TokenBucket {
        burst: Option<u32>,
        debt: u32,
    },
    LeakyBucket {
        capacity: Option<u32>,
    },
    LeakyBucketQueue {
        queue: Option<u32>,
    },
    Gcra {
        burst: Option<u32>,
        tolerance: Option<Duration>,
    },
    Adaptive {
        threshold: Option<Ratio>,
        reduction: Option<Ratio>,
        recovery: Option<Ratio>,
        floor: Option<Ratio>,
    },
    QuotaRollover {
        percent: Option<Ratio>,
        max: Option<u32>,
    },
    CostBased {
        burst: Option<u32>,
        window: Option<u32>,
        floor: Option<Ratio>,
    },
    FairShare {
        instance: Label,
        weight: u32,
    },
    Regions {
        shares: Vec<(Label, Ratio)>,
        default: Option<Ratio>,
        spill: bool,
    },
    Tiered {
        tiers: Vec<(Label, Ratio)>,
        inner: Box<Spec>,
    },
    TimeOfDay {
        spans: Vec<Span>,
        offset_minutes: i32,
        inner: Box<Spec>,
    },
    Priority {
        reserves: Vec<(Label, Ratio)>,
        inner: Box<Spec>,
    },
}

/// A part of the day, in minutes from midnight, and what the rate is multiplied by in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Span {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) ratio: Ratio,
}

const NAMES: &str = "fixed-window, sliding-window, sliding-log, token-bucket, leaky-bucket, leaky-bucket-queue, gcra, \
    adaptive, quota-rollover, cost-based, fair-share and regions; wrapped in tiered(..)/, time-of-day(..)/ or \
    priority(..)/";

impl FromStr for Spec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('(') {
            Some((name, rest)) if !name.contains([':', '/']) => wrapper(name, rest),
            _ => {
                let (name, parameters) = text.split_once(':').unwrap_or((text, ""));
                plain(name, Parameters::parse(name, parameters)?)
            }
        }
    }
}

fn plain(name: &str, mut given: Parameters<'_>) -> Result<Spec, String> {
    let spec = match name {
        "fixed-window" => Spec::FixedWindow,
        "sliding-window" => Spec::SlidingWindow { strict: given.take("strict", WHOLE)? },
        "sliding-log" => Spec::SlidingLog,
        "token-bucket" => Spec::TokenBucket {
            burst: given.take("burst", WHOLE)?,
            debt: given.take("debt", WHOLE)?.unwrap_or(0),
        },
        "leaky-bucket" => Spec::LeakyBucket { capacity: given.take("capacity", WHOLE)? },
        "leaky-bucket-queue" => Spec::LeakyBucketQueue { queue: given.take("queue", WHOLE)? },
        "gcra" => {
            let (burst, tolerance) = (given.take("burst", WHOLE)?, given.take::<Time>("tolerance", TIME)?);
            if burst.is_some() && tolerance.is_some() {
                return Err("burst and tolerance say the same thing; give gcra one of them".to_owned());
            }
            Spec::Gcra { burst, tolerance: tolerance.map(|time| time.0) }
        }
        "adaptive" => Spec::Adaptive {
            threshold: given.take("threshold", PART)?,
            reduction: given.take("reduction", PART)?,
            recovery: given.take("recovery", PART)?,
            floor: given.take("floor", PART)?,
        },
        "quota-rollover" => {
            let percent = given.take::<u32>("percent", WHOLE)?.map(|percent| ratio(percent.into(), 100));
            Spec::QuotaRollover { percent, max: given.take("max", WHOLE)? }
        }
        "cost-based" => Spec::CostBased {
            burst: given.take("burst", WHOLE)?,
            window: given.take("window", WHOLE)?,
            floor: given.take("floor", PART)?,
        },
        "fair-share" => {
            let instance = given.take::<String>("instance", "a name")?;
            let instance =
                instance.ok_or("fair-share needs its instance's name; write fair-share:instance=a")?;
            Spec::FairShare {
                instance: Label::named(&instance),
                weight: given.take("weight", WHOLE)?.unwrap_or(1),
            }
        }
        "regions" => {
            let spill = given.take("spill", "true or false")?.unwrap_or(false);
            let default = given.take("default", PART)?;
            let shares = given.named("regions:us=2/5,eu=3/10,default=3/10,spill=true")?;
            return Ok(Spec::Regions { shares, default, spill });
        }
        "tiered" | "time-of-day" | "priority" => {
            return Err(format!("{name} wraps another strategy; write {name}(..)/fixed-window"));
        }
        _ => return Err(format!("there is no strategy {name:?}; there are {NAMES}")),
    };
    given.finish(spec.parameters())?;
    Ok(spec)
}

fn wrapper(name: &str, rest: &str) -> Result<Spec, String> {
    let Some((parameters, inner)) = rest.split_once(")/") else {
        return Err(format!("{name}(..) wraps another strategy; write {name}(..)/fixed-window"));
    };
    let mut given = Parameters::parse(name, parameters)?;
    let inner: Box<Spec> = Box::new(inner.parse()?);
    match name {
        "tiered" => Ok(Spec::Tiered { tiers: given.named("tiered(free=1,premium=5)/fixed-window")?, inner }),
        "priority" => {
            Ok(Spec::Priority { reserves: given.named("priority(low=50%,high=10%)/token-bucket")?, inner })
        }
        "time-of-day" => {
            let offset = given.take::<Offset>("utc", "an offset such as +05:30")?;
            let spans = given.rest().into_iter().map(|(span, ratio)| parse_span(span, ratio));
            let spans: Vec<_> = spans.collect::<Result<_, _>>()?;
            if spans.is_empty() {
                return Err(
                    "time-of-day needs a span; write time-of-day(08:00-17:00=2)/fixed-window".to_owned()
                );
            }
            Ok(Spec::TimeOfDay { spans, offset_minutes: offset.map_or(0, |offset| offset.0), inner })
        }
        _ => Err(format!("there is no wrapper {name:?}; there are tiered, time-of-day and priority")),
    }
}

impl Spec {
    /// The names of what a strategy can be given.
    fn parameters(&self) -> &'static str {
        match self {
            Self::SlidingWindow { .. } => "strict",
            Self::TokenBucket { .. } => "burst and debt",
            Self::LeakyBucket { .. } => "capacity",
            Self::LeakyBucketQueue { .. } => "queue",
            Self::Gcra { .. } => "burst or tolerance",
            Self::Adaptive { .. } => "threshold, reduction, recovery and floor",
            Self::QuotaRollover { .. } => "percent and max",
            Self::CostBased { .. } => "burst, window and floor",
            Self::FairShare { .. } => "instance and weight",
            _ => "none",
        }
    }
}

pub(crate) const WHOLE: &str = "a whole number up to 4294967295";
const PART: &str = "a part of the whole, such as 0.8, 4/5 or 80%";
const TIME: &str = "a time such as 500ms";

fn ratio(num: u64, den: u64) -> Ratio {
    Ratio::new(num, den).unwrap_or(Ratio::ONE)
}

/// `name=value` pairs separated by commas, in their order.
pub(crate) struct Parameters<'a> {
    of: &'a str,
    values: Vec<(&'a str, &'a str)>,
}

impl<'a> Parameters<'a> {
    pub(crate) fn parse(of: &'a str, text: &'a str) -> Result<Self, String> {
        let mut values: Vec<(&str, &str)> = Vec::new();
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let Some((name, value)) = pair.split_once('=') else {
                return Err(format!("{pair:?} is no parameter of {of}; write name=value"));
            };
            if values.iter().any(|(known, _)| *known == name) {
                return Err(format!("{name} is given twice for {of}"));
            }
            values.push((name, value));
        }
        Ok(Self { of, values })
    }

    /// The value of a parameter; `right` says what it should look like.
    pub(crate) fn take<T: FromStr>(&mut self, name: &str, right: &str) -> Result<Option<T>, String> {
        let Some(at) = self.values.iter().position(|(known, _)| *known == name) else { return Ok(None) };
        let (_, value) = self.values.remove(at);
        value.parse().map(Some).map_err(|_| format!("{name}={value} is not {right}"))
    }

    /// All that is left, as names with ratios; at least one.
    fn named(self, example: &str) -> Result<Vec<(Label, Ratio)>, String> {
        if self.values.is_empty() {
            return Err(format!("{} needs names with values; write {example}", self.of));
        }
        let part = |(name, value): (&str, &str)| {
            let ratio = value.parse().map_err(|_| format!("{name}={value} is not {PART}"))?;
            Ok((Label::named(name), ratio))
        };
        self.values.into_iter().map(part).collect()
    }

    fn rest(self) -> Vec<(&'a str, &'a str)> {
        self.values
    }

    pub(crate) fn finish(self, known: &str) -> Result<(), String> {
        match self.values.first() {
            None => Ok(()),
            Some((name, _)) => Err(format!("{} has no parameter {name}; it has {known}", self.of)),
        }
    }
}

/// A time that is more than none, written as the period of a rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Time(pub(crate) Duration);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rate = format!("1/{text}").parse::<Rate>();
        rate.map(|rate| Self(rate.period())).map_err(|_| format!("{text:?} is no time; write 500ms or 2s"))
    }
}

fn parse_span(span: &str, ratio: &str) -> Result<Span, String> {
    let wrong = || format!("{span}={ratio} is no span of the day; write 08:00-17:00=2, from 00:00 to 24:00");
    let (from, to) = span.split_once('-').ok_or_else(wrong)?;
    let (from, to) = (minutes(from).ok_or_else(wrong)?, minutes(to).ok_or_else(wrong)?);
    let ratio = ratio.parse().map_err(|_| wrong())?;
    if from > 24 * 60 || to > 24 * 60 { Err(wrong()) } else { Ok(Span { from, to, ratio }) }
}

/// `HH:MM` in minutes.
fn minutes(text: &str) -> Option<u32> {
    let (hours, minutes) = text.split_once(':')?;
    let two_digits = |text: &str| (text.len() == 2).then(|| text.parse::<u32>().ok()).flatten();
    let (hours, minutes) = (two_digits(hours)?, two_digits(minutes)?);
    (minutes < 60).then_some(hours * 60 + minutes)
}

/// `+HH:MM` or `-HH:MM` in minutes.
struct Offset(i32);

impl FromStr for Offset {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (sign, rest) = text.split_at_checked(1).ok_or(())?;
        let minutes = i32::try_from(minutes(rest).ok_or(())?).map_err(|_| ())?;
        match sign {
            "+" if minutes < 24 * 60 => Ok(Self(minutes)),
            "-" if minutes < 24 * 60 => Ok(Self(-minutes)),
            _ => Err(()),
        }
    }
}
