//! What is to be limited, whether the command line says so or a file.

use std::fmt;
use std::time::Duration;

use http::{HeaderName, Method};
use traffik::Rate;
use traffik::http::{Dialect, Networks};
use traffik::storage::WhenFull;

use crate::keys::KeySpec;
use crate::runtime::Chosen;
use crate::spec::Spec;

/// One throttle, with all that can be said of it.
#[derive(Clone, Debug)]
pub(crate) struct ThrottlePlan {
    pub(crate) uid: String,
    /// The names of its rates, in their order.
    pub(crate) names: Vec<String>,
    pub(crate) rates: Vec<Rate>,
    pub(crate) strategy: Spec,
    /// The strategy as it was written.
    pub(crate) strategy_text: String,
    pub(crate) storage: StorageSpec,
    pub(crate) keys: Vec<KeySpec>,
    pub(crate) cost: u32,
    pub(crate) cost_header: Option<HeaderName>,
    pub(crate) rules: Vec<RulePlan>,
    pub(crate) on_error: OnErrorSpec,
    pub(crate) headers: Dialect,
    pub(crate) shadow: bool,
}

/// What all throttles have in common.
#[derive(Clone, Debug)]
pub(crate) struct Common {
    pub(crate) runtime: Chosen,
    pub(crate) namespace: String,
    pub(crate) timeout: Duration,
    pub(crate) exempt: Networks,
    pub(crate) trusted: Networks,
    pub(crate) trust_class_headers: bool,
    pub(crate) tier_header: Option<HeaderName>,
    pub(crate) priority_header: Option<HeaderName>,
    pub(crate) region_header: Option<HeaderName>,
}

/// Which requests a throttle applies to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RulePlan {
    pub(crate) path: Option<String>,
    pub(crate) methods: Vec<Method>,
}

/// What happens when the store fails.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum OnErrorSpec {
    Allow,
    #[default]
    Throttle,
}

impl std::str::FromStr for OnErrorSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "allow" => Ok(Self::Allow),
            "throttle" => Ok(Self::Throttle),
            _ => Err(format!("{text:?} is nothing to do; write allow or throttle")),
        }
    }
}

/// Where states are kept.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StorageSpec {
    Memory { capacity: usize, when_full: WhenFull },
    Redis(String),
    Memcached(String),
}

/// The names of the rates of a throttle.
pub(crate) fn names(of: &str, rates: usize) -> Vec<String> {
    match rates {
        1 => vec![of.to_owned()],
        _ => (1..=rates).map(|number| format!("{of}-{number}")).collect(),
    }
}

impl fmt::Display for ThrottlePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |items: Vec<String>| items.join(" and ");
        write!(f, "{}: ", self.uid)?;
        write!(f, "{}, {}", list(self.rates.iter().map(Rate::to_string).collect()), self.strategy_text)?;
        write!(f, ", by {}", list(self.keys.iter().map(KeySpec::to_string).collect()))?;
        match &self.storage {
            StorageSpec::Memory { capacity, .. } => write!(f, ", in memory for {capacity}")?,
            StorageSpec::Redis(_) => f.write_str(", on redis")?,
            StorageSpec::Memcached(_) => f.write_str(", on memcached")?,
        }
        match &self.cost_header {
            Some(header) => write!(f, ", cost in {header}")?,
            None if self.cost != 1 => write!(f, ", cost {}", self.cost)?,
            None => {}
        }
        for rule in &self.rules {
            write!(f, ", for {rule}")?;
        }
        if self.on_error == OnErrorSpec::Allow {
            f.write_str(", all pass if the store fails")?;
        }
        f.write_str(if self.shadow { ", as a shadow" } else { "" })
    }
}

impl fmt::Display for RulePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods: Vec<_> = self.methods.iter().map(Method::as_str).collect();
        match (&self.path, methods.is_empty()) {
            (Some(path), true) => f.write_str(path),
            (Some(path), false) => write!(f, "{} {path}", methods.join("|")),
            (None, _) => write!(f, "{} anywhere", methods.join("|")),
        }
    }
}
