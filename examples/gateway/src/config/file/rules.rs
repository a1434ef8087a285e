//! The tables of rules in the file.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use http::{HeaderName, HeaderValue, Method};
use serde::Deserialize;
use serde::de::{self, Deserializer, IntoDeserializer, SeqAccess, Visitor};
use traffik::web::Rule;

use super::values::{OneOrMore, TextValue};
use crate::limits::rules::{HostPattern, RulePlan, ValuePattern, WantedValue, pattern};

/// A rule that some request can meet.
pub(super) struct RuleEntry(pub(super) RulePlan);

/// Checks the rule here, so that an error names the line of the table.
impl<'de> Deserialize<'de> for RuleEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        RuleTable::deserialize(deserializer)?.plan().map(Self).map_err(de::Error::custom)
    }
}

/// A table of `rules`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleTable {
    path: Option<OneOrMore<TextValue<PathPattern>>>,
    methods: Option<OneOrMore<TextValue<RuleMethod>>>,
    hosts: Option<OneOrMore<TextValue<RuleHost>>>,
    #[serde(default)]
    headers: BTreeMap<RuleHeader, WantedTable>,
    #[serde(default)]
    query: BTreeMap<RuleParameter, WantedTable>,
    #[serde(default, rename = "ignore-case", alias = "ignore_case")]
    ignore_case: bool,
    /// The requests that do not meet the rule; the tables have conditions alone.
    not: Option<OneOrMore<RuleTable>>,
}

impl RuleTable {
    /// Returns the rule. Fails if no request can meet it.
    fn plan(mut self) -> Result<RulePlan, String> {
        let (ignore_case, exceptions) = (self.ignore_case, self.not.take());
        let mut plan = self.conditions();
        for mut not in exceptions.map_or(Vec::new(), |exceptions| exceptions.0) {
            if not.not.is_some() || not.ignore_case {
                return Err(
                    "not has conditions alone; write ignore-case beside not, and no not within".to_owned()
                );
            }
            not.ignore_case = ignore_case;
            let exception = not.conditions();
            if exception == (RulePlan { ignore_case, ..RulePlan::default() }) {
                return Err("not is empty; write a condition, such as a path".to_owned());
            }
            plan.not.push(exception);
        }
        plan.contradiction().map_or(Ok(plan), Err)
    }

    /// Returns the conditions of the table itself.
    fn conditions(self) -> RulePlan {
        fn texts<T, U>(list: Option<OneOrMore<TextValue<T>>>, get: fn(T) -> U) -> Vec<U> {
            list.map_or(Vec::new(), |list| list.0.into_iter().map(|value| get(value.0)).collect())
        }
        RulePlan {
            paths: texts(self.path, |path| path.0),
            methods: texts(self.methods, |method| method.0),
            hosts: texts(self.hosts, |host| host.0),
            headers: self
                .headers
                .into_iter()
                .filter_map(|(name, wanted)| Some((name.0.parse().ok()?, wanted.0)))
                .collect(),
            query: self.query.into_iter().map(|(name, wanted)| (name.0, wanted.0)).collect(),
            ignore_case: self.ignore_case,
            not: Vec::new(),
        }
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

/// A pattern of hosts that compiles.
struct RuleHost(String);

impl FromStr for RuleHost {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        HostPattern::parse(text).map(|_| Self(text.to_owned()))
    }
}

/// The name of a header that a request can have, in small letters.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct RuleHeader(String);

impl<'de> Deserialize<'de> for RuleHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        match text.parse::<HeaderName>() {
            Ok(http::header::HOST) => {
                Err(de::Error::custom("hosts have a key of their own; write hosts = [..]"))
            }
            Ok(name) => Ok(Self(name.as_str().to_owned())),
            Err(_) => Err(de::Error::custom(format!("{text:?} is not a header name; write x-plan"))),
        }
    }
}

/// The name of a parameter in the query.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct RuleParameter(String);

impl<'de> Deserialize<'de> for RuleParameter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        if name.is_empty() {
            return Err(de::Error::custom("the parameter has no name; write a name such as page"));
        }
        Ok(Self(name))
    }
}

/// The values that a header or a parameter may have: `true` for any, a text, or a list of texts.
struct WantedTable(WantedValue);

impl<'de> Deserialize<'de> for WantedTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(WantedVisitor)
    }
}

struct WantedVisitor;

impl<'de> Visitor<'de> for WantedVisitor {
    type Value = WantedTable;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("true for any value, a text or a list of texts")
    }

    fn visit_bool<E: de::Error>(self, is_present: bool) -> Result<WantedTable, E> {
        match is_present {
            true => Ok(WantedTable(WantedValue::Any)),
            false => Err(E::custom("false is not a value; write the name within not = { .. }")),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<WantedTable, E> {
        let value = TextValue::<RuleValue>::deserialize(text.into_deserializer())?;
        Ok(WantedTable(WantedValue::OneOf(vec![value.0.0])))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<WantedTable, A::Error> {
        let list =
            OneOrMore::<TextValue<RuleValue>>::deserialize(de::value::SeqAccessDeserializer::new(list))?;
        Ok(WantedTable(WantedValue::OneOf(list.0.into_iter().map(|value| value.0.0).collect())))
    }
}

/// A value that a header or a parameter can have.
struct RuleValue(String);

impl FromStr for RuleValue {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim() != text || HeaderValue::from_str(text).is_err() && text.is_ascii() {
            return Err(format!(
                "{text:?} is a value that no request has; write it without spaces around it"
            ));
        }
        ValuePattern::all(&WantedValue::OneOf(vec![text.to_owned()]), false).map(|_| Self(text.to_owned()))
    }
}
