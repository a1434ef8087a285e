//! Reads throttles from a TOML file. Each error names its line.
//!
//! ```toml
//! [[throttle]]
//! uid = "logins"
//! rate = "5/min"                      # or rates = ["5/min", "20/h"]: one limit
//! strategy = "token-bucket:burst=10"  # strategy and storage default as on the command line
//! storage = "memory:"
//! key = ["peer", "header:x-user"]
//! cost = 1                            # or cost-header = "x-cost"
//! rules = { path = "/login", methods = ["POST"] }   # or a list of rules; *, ** and {name} are patterns
//! on_error = "allow"
//! headers = "draft10"
//! shadow = false
//! ```
//!
//! A reload keeps the clients' counts, also if a rate changes; in memory also if the strategy or the capacity
//! changes. After two changes of the strategy, counts of clients that sent no request in between are lost. A
//! throttle starts over with empty counts if one of these changes:
//!
//! * its storage, or its sort of keys (addresses or headers);
//! * its number of rates, unless that is 3 to 8 before and after;
//! * whether wrappers surround its strategy, or the size class of the strategy's states. `sliding-log` has
//!   the largest states, then come `sliding-window:strict`, `fair-share` and `regions`, then all others;
//! * its strategy on a shared storage, unless `token-bucket`, `leaky-bucket` or `gcra` replaces another of
//!   these three.
//!
//! The log names each throttle that loses counts.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use http::{HeaderName, Method};
use serde::Deserialize;
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{self, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use toml::Spanned;
use traffik::web::Rule;
use traffik::{Rate, web::HeaderFormat};

use crate::limits::keys::KeySpec;
use crate::limits::plan::{Headers, MOST_RATES, OnErrorSpec, RulePlan, ThrottlePlan, names};
use crate::limits::spec::Spec;
use crate::limits::storage::StorageSpec;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigFile {
    #[serde(default)]
    throttle: Vec<ThrottleTable>,
}

/// A `[[throttle]]` table.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ThrottleTable {
    uid: Spanned<String>,
    rate: Option<TextValue<Rate>>,
    rates: Option<Spanned<Vec<TextValue<Rate>>>>,
    strategy: Option<Spanned<TextValue<Spec>>>,
    storage: Option<TextValue<StorageSpec>>,
    key: Option<OneOrMore<TextValue<KeySpec>>>,
    cost: Option<u32>,
    #[serde(rename = "cost-header", alias = "cost_header")]
    cost_header: Option<TextValue<HeaderName>>,
    rules: Option<OneOrMore<RuleTable>>,
    #[serde(alias = "on-error")]
    on_error: Option<Spanned<TextValue<OnErrorSpec>>>,
    headers: Option<TextValue<Headers>>,
    #[serde(default)]
    shadow: bool,
}

/// A table of `rules`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleTable {
    path: Option<TextValue<PathPattern>>,
    methods: Option<Vec<TextValue<RuleMethod>>>,
    #[serde(default, rename = "ignore-case", alias = "ignore_case")]
    ignore_case: bool,
}

/// A value parsed from a TOML string, so that a parse error names the line of the string.
struct TextValue<T>(T);

impl<'de, T: FromStr<Err: fmt::Display>> Deserialize<'de> for TextValue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map(Self).map_err(de::Error::custom)
    }
}

/// A single value or a list of values. The error about a value is the same in both forms.
struct OneOrMore<T>(Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMore<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Self(Vec::new()))
    }
}

/// The visitor starts with an empty list and returns the list that it read.
impl<'de, T: Deserialize<'de>> Visitor<'de> for OneOrMore<T> {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a single value or a list")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self, E> {
        Ok(Self(vec![T::deserialize(text.into_deserializer())?]))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self, A::Error> {
        Ok(Self(vec![T::deserialize(MapAccessDeserializer::new(map))?]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Self)
    }
}

/// A path pattern that compiles.
struct PathPattern(String);

impl FromStr for PathPattern {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        pattern(Rule::new(), text).map(|_| Self(text.to_owned()))
    }
}

/// Adds a path condition to a rule: a regular expression after `re:`, a route if the text has names in
/// braces, a glob if it has stars or question marks, else the path and all paths below it. Fails if no path
/// can match.
pub(crate) fn pattern(rule: Rule, text: &str) -> Result<Rule, String> {
    let rule = match text.strip_prefix("re:") {
        Some(expression) => rule.regex(expression),
        None if text.contains('{') => rule.template(text),
        None if text.contains(['*', '?']) => Ok(rule.glob(text)),
        None => Ok(rule.prefix(text)),
    };
    rule.and_then(|rule| rule.check().map(|()| rule)).map_err(|error| error.to_string())
}

/// An HTTP method that a rule can match.
struct RuleMethod(Method);

impl FromStr for RuleMethod {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let method: Method = text.parse().map_err(|_| format!("{text:?} is not a method; write POST"))?;
        let checked = Rule::new().methods([method.clone()]).check();
        checked.map(|()| Self(method)).map_err(|error| error.to_string())
    }
}

/// Reads a file. An error names the file and the line.
pub(crate) fn read(path: &Path) -> Result<Vec<ThrottlePlan>, String> {
    let file = format!("--config {}", path.display());
    let at_file = |error: &dyn fmt::Display| format!("{file}: {error}");
    let text = std::fs::read_to_string(path).map_err(|error| at_file(&error))?;
    let mut plans = parse(&text).map_err(|error| at_file(&error))?;
    plans.iter_mut().for_each(|plan| plan.place = at_file(&plan.place));
    Ok(plans)
}

fn parse(text: &str) -> Result<Vec<ThrottlePlan>, String> {
    let file: ConfigFile = toml::from_str(text).map_err(|error| error.to_string().trim_end().to_owned())?;
    if file.throttle.is_empty() {
        return Err("line 1: the file has no [[throttle]]; write one with a uid and a rate".to_owned());
    }
    let mut plans: Vec<ThrottlePlan> = Vec::new();
    for table in file.throttle {
        let line = line_of(text, table.uid.span().start);
        let mut plan =
            plan(text, table).map_err(|(at, error)| format!("line {}: {error}", at.unwrap_or(line)))?;
        plan.place = format!("line {line}: ");
        if plans.iter().any(|known| known.uid == plan.uid) {
            return Err(format!(
                "line {line}: a throttle above already has the uid {:?}; give each its own",
                plan.uid
            ));
        }
        plans.push(plan);
    }
    Ok(plans)
}

/// Returns the line, counted from 1, of a byte offset in the text.
fn line_of(text: &str, at: usize) -> usize {
    1 + text.get(..at).unwrap_or(text).matches('\n').count()
}

/// Checks a table and fills in the defaults. An error has its line, or `None` for the first line of the
/// table.
fn plan(text: &str, table: ThrottleTable) -> Result<ThrottlePlan, (Option<usize>, String)> {
    let plain = |error: &str| (None, error.to_owned());
    let uid = table.uid.into_inner();
    let rate_key = if table.rate.is_some() { "rate" } else { "rates" };
    let rates: Vec<Rate> = match (table.rate, table.rates) {
        (Some(rate), None) => vec![rate.0],
        (None, Some(rates)) if rates.get_ref().len() > MOST_RATES => {
            let number = rates.get_ref().len();
            let error = format!("there are {number} rates; a throttle takes at most {MOST_RATES}");
            return Err((Some(line_of(text, rates.span().start)), error));
        }
        (None, Some(rates)) if !rates.get_ref().is_empty() => {
            rates.into_inner().into_iter().map(|rate| rate.0).collect()
        }
        (None, _) => return Err(plain("the throttle has no rate; write rate = \"100/min\"")),
        (Some(_), Some(_)) => return Err(plain("the throttle has both rate and rates; write one of them")),
    };
    if table.cost.is_some() && table.cost_header.is_some() {
        return Err(plain("the throttle has both cost and cost-header; write one of them"));
    }
    let strategy_line = table.strategy.as_ref().map(|it| line_of(text, it.span().start));
    let strategy = match table.strategy {
        Some(strategy) => strategy.into_inner().0,
        None => "fixed-window".parse().map_err(|error| (None, error))?,
    };
    // Build the strategies here, so that a bad combination is refused before anything is replaced.
    let limits = strategy.limits(rate_key, "strategy", &rates).map_err(|error| (strategy_line, error))?;
    let on_error = table.on_error.as_ref().map_or(OnErrorSpec::default(), |it| it.get_ref().0);
    if let (OnErrorSpec::Fallback { instances }, Some(given)) = (on_error, &table.on_error) {
        limits
            .check_shares(instances, &rates)
            .map_err(|error| (Some(line_of(text, given.span().start)), format!("on_error {error}")))?;
    }
    let rule = |rule: RuleTable| RulePlan {
        path: rule.path.map(|path| path.0.0),
        methods: rule.methods.unwrap_or_default().into_iter().map(|method| method.0.0).collect(),
        ignore_case: rule.ignore_case,
    };
    Ok(ThrottlePlan {
        names: names(&uid, rates.len()),
        uid,
        rates,
        strategy,
        storage: table.storage.map_or_else(StorageSpec::default, |storage| storage.0),
        keys: table.key.map_or(vec![KeySpec::Peer], |keys| keys.0.into_iter().map(|key| key.0).collect()),
        cost: table.cost.unwrap_or(1),
        cost_header: table.cost_header.map(|header| header.0),
        rules: table.rules.map_or(Vec::new(), |rules| rules.0.into_iter().map(rule).collect()),
        on_error,
        headers: table.headers.map_or(HeaderFormat::Draft10, |headers| headers.0.into()),
        shadow: table.shadow,
        place: String::new(),
    })
}
