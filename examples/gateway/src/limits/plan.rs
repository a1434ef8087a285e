//! The throttles to build, and the text form of each part, on the command line or in the file.

use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use http::{HeaderName, HeaderValue};
use tokio_util::task::TaskTracker;
use traffik::Rate;
use traffik::web::{ClassHeaders, HeaderFormat, Networks};

use crate::limits::denial_reply::DenialReply;
use crate::limits::descriptors::DescriptorSpec;
use crate::limits::keys::KeySpec;
use crate::limits::parameters::{Parameters, PositiveDuration};
use crate::limits::responses::{CountSpec, ResponseCost};
use crate::limits::rules::RulePlan;
use crate::limits::spec::Spec;
use crate::limits::storage::StorageSpec;

/// The settings of one throttle.
#[derive(Clone)]
pub(crate) struct ThrottlePlan {
    pub(crate) uid: String,
    /// The policy names of the rates, in the same order.
    pub(crate) names: Vec<String>,
    pub(crate) rates: Vec<Rate>,
    pub(crate) strategy: Spec,
    pub(crate) storage: StorageSpec,
    pub(crate) keys: Vec<KeySpec>,
    /// Length of the prefix by which IPv6 addresses are counted.
    pub(crate) ipv6_prefix: u8,
    /// The networks that the throttle does not limit.
    pub(crate) exempt: Networks,
    pub(crate) cost: u32,
    pub(crate) cost_header: Option<HeaderName>,
    /// The cost that the response has, instead of the one charged before it.
    pub(crate) cost_after: Option<ResponseCost>,
    /// The responses that are charged; `None` for all.
    pub(crate) count: Option<CountSpec>,
    pub(crate) rules: Vec<RulePlan>,
    /// The descriptors of a rate limit service that the throttle applies to.
    pub(crate) descriptors: Option<Arc<DescriptorSpec>>,
    pub(crate) on_error: OnErrorSpec,
    pub(crate) headers: HeaderFormat,
    pub(crate) reply: DenialReply,
    /// The headers of denials, beside those of the format.
    pub(crate) denied_headers: Vec<(HeaderName, HeaderValue)>,
    /// The share of the clients, in percent, that the throttle denies; `None` for all.
    pub(crate) enforce: Option<u8>,
    pub(crate) shadow: bool,
    /// The file and the line of the throttle, as a prefix of its errors; empty for the command line.
    pub(crate) place: String,
}

impl ThrottlePlan {
    /// Reports whether the charge depends on the response, so that only a door that sees responses can serve
    /// the throttle.
    pub(crate) const fn reads_response(&self) -> bool {
        self.cost_after.is_some() || self.count.is_some()
    }
}

/// Length of the prefix by which IPv6 addresses are counted unless a throttle has another.
pub(crate) const IPV6_PREFIX: u8 = 64;

/// Most rates of a throttle.
pub(crate) const MOST_RATES: usize = 8;

/// The settings that all throttles share.
#[derive(Clone, Debug)]
pub(crate) struct CommonSettings {
    /// The background tasks of throttles, which shutdown waits for.
    pub(crate) tasks: TaskTracker,
    pub(crate) namespace: String,
    /// Set by `--check`: a storage's faults are then reported as the result, and not logged.
    pub(crate) is_check: bool,
    /// Deadline of one call to a shared storage.
    pub(crate) timeout: Duration,
    /// Deadline of one attempt to connect to a shared storage.
    pub(crate) connect_timeout: Duration,
    pub(crate) bypass_preflights: bool,
    pub(crate) exempt: Networks,
    pub(crate) trusted: Networks,
    pub(crate) classes: ClassHeaders,
    /// The same for requests that a trusted proxy asks about, whose headers it sends itself.
    pub(crate) asked_classes: ClassHeaders,
}

/// The action on a request when the storage fails.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum OnErrorSpec {
    Allow,
    Throttle {
        wait: Duration,
    },
    /// Counts in memory, at the limit divided by the number of gateway instances.
    Fallback {
        instances: u32,
    },
}

impl Default for OnErrorSpec {
    fn default() -> Self {
        Self::Throttle { wait: Duration::from_secs(1) }
    }
}

impl FromStr for OnErrorSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, parameters) = text.split_once(':').unwrap_or((text, ""));
        let mut given = Parameters::parse(name, parameters)?;
        let spec = match name {
            "allow" => Self::Allow,
            "throttle" => {
                let wait = given.take::<PositiveDuration>("wait", "a time such as 5s")?;
                wait.map_or(Self::default(), |wait| Self::Throttle { wait: wait.0 })
            }
            "fallback" => {
                let instances = given.take::<NonZeroU32>("instances", "a whole number of at least 1")?;
                Self::Fallback { instances: instances.map_or(1, NonZeroU32::get) }
            }
            _ => return Err(format!("{text:?} is not an action; write allow, throttle or fallback")),
        };
        given.finish()?;
        Ok(spec)
    }
}

/// The format of rate-limit headers, by its name.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Headers {
    Draft10,
    Draft07,
    XRatelimit,
    None,
}

impl From<Headers> for HeaderFormat {
    fn from(headers: Headers) -> Self {
        match headers {
            Headers::Draft10 => Self::Draft10,
            Headers::Draft07 => Self::Draft07,
            Headers::XRatelimit => Self::XRateLimit,
            Headers::None => Self::None,
        }
    }
}

impl FromStr for Headers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        ValueEnum::from_str(text, false).map_err(|_| {
            format!("{text:?} is not a header format; write draft10, draft07, x-ratelimit or none")
        })
    }
}

/// Returns the policy names of a throttle's rates: its uid, numbered if there are several.
pub(crate) fn names(of: &str, rates: usize) -> Vec<String> {
    match rates {
        1 => vec![of.to_owned()],
        _ => (1..=rates).map(|number| format!("{of}-{number}")).collect(),
    }
}

impl ThrottlePlan {
    /// Returns a setting's name for an error: the key of the file, or the option of the command line.
    pub(crate) fn setting(&self, key: &str) -> String {
        let is_option = self.place.is_empty();
        if is_option { format!("--{}", key.replace('_', "-")) } else { key.to_owned() }
    }
}

impl fmt::Display for ThrottlePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: Vec<String>| items.join(" and ");
        let rate = |rate: &Rate| match (rate.is_unlimited(), rate.limit()) {
            (true, _) => format!("{rate} (no limit)"),
            (false, 0) => format!("{rate} (admits nothing)"),
            (false, _) => rate.to_string(),
        };
        write!(f, "{}: ", self.uid)?;
        write!(f, "{}, {}", list(self.rates.iter().map(rate).collect()), self.strategy.text)?;
        write!(f, ", by {}", list(self.keys.iter().map(KeySpec::to_string).collect()))?;
        write!(f, ", {}", self.storage)?;
        match &self.cost_header {
            Some(header) => write!(f, ", cost in {header}")?,
            None if self.cost_after.is_some() => f.write_str(", cost by the response")?,
            None if self.cost != 1 => write!(f, ", cost {}", self.cost)?,
            None => {}
        }
        if let Some(count) = &self.count {
            write!(f, ", counting {}", count.text())?;
        }
        for rule in &self.rules {
            write!(f, ", for {rule}")?;
        }
        if let Some(descriptors) = &self.descriptors {
            write!(f, ", for {descriptors}")?;
        }
        match self.on_error {
            OnErrorSpec::Allow => f.write_str(", all pass if the store fails")?,
            OnErrorSpec::Fallback { instances: 1 } => f.write_str(", in memory if the store fails")?,
            OnErrorSpec::Fallback { instances } => {
                write!(f, ", in memory at 1/{instances} of the limit if the store fails")?;
            }
            OnErrorSpec::Throttle { .. } => {}
        }
        if let Some(percent) = self.enforce {
            write!(f, ", for {percent}% of the clients")?;
        }
        f.write_str(if self.shadow { ", as a shadow" } else { "" })
    }
}
