//! Parses the `name=value` pairs of strategies, storages and other options.

use std::str::FromStr;
use std::time::Duration;

use traffik::{Label, Rate, Ratio};

pub(crate) const WHOLE: &str = "a whole number up to 4294967295";
pub(crate) const PART: &str = "a part of the whole, such as 0.8, 4/5 or 80%";
pub(crate) const TIME: &str = "a time above 0 such as 500ms";

/// The `name=value` pairs of a comma-separated list, in the order of the text.
pub(crate) struct Parameters<'a> {
    of: &'a str,
    values: Vec<(&'a str, &'a str)>,
    /// The names passed to `take`, listed in the error about an unknown one.
    known: Vec<&'static str>,
}

impl<'a> Parameters<'a> {
    pub(crate) fn parse(of: &'a str, text: &'a str) -> Result<Self, String> {
        let mut values: Vec<(&str, &str)> = Vec::new();
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let Some((name, value)) = pair.split_once('=') else {
                return Err(format!("{pair:?} is not a parameter of {of}; write name=value"));
            };
            if name.is_empty() {
                return Err(format!("{pair:?} names no parameter of {of}; write name=value"));
            }
            if values.iter().any(|(known, _)| *known == name) {
                return Err(format!("{name} is given twice for {of}"));
            }
            values.push((name, value));
        }
        Ok(Self { of, values, known: Vec::new() })
    }

    /// Removes and parses the value of a parameter. The error message describes a correct value by `right`.
    pub(crate) fn take<T: FromStr>(&mut self, name: &'static str, right: &str) -> Result<Option<T>, String> {
        self.known.push(name);
        let Some(at) = self.values.iter().position(|(known, _)| *known == name) else { return Ok(None) };
        let (_, value) = self.values.remove(at);
        value.parse().map(Some).map_err(|_| format!("{name}={value} is not {right}"))
    }

    /// Removes all pairs and parses them as names with ratios. Fails if there is none.
    pub(crate) fn named(&mut self, example: &str) -> Result<Vec<(Label, Ratio)>, String> {
        if self.values.is_empty() {
            return Err(format!("{} needs names with values; write {example}", self.of));
        }
        let part = |(name, value): (&str, &str)| {
            let ratio = value
                .parse()
                .map_err(|_| format!("{name}={value} is not a ratio; write 5, 3/2, 0.5 or 50%"))?;
            Ok((Label::named(name), ratio))
        };
        self.values.drain(..).map(part).collect()
    }

    pub(crate) fn rest(self) -> Vec<(&'a str, &'a str)> {
        self.values
    }

    /// Fails if a pair is left. The error lists the names passed to `take`.
    pub(crate) fn finish(&self) -> Result<(), String> {
        self.finish_with(&listed(&self.known))
    }

    /// Fails if a pair is left. The error lists `known`.
    pub(crate) fn finish_with(&self, known: &str) -> Result<(), String> {
        match self.values.first() {
            None => Ok(()),
            Some((name, _)) => Err(format!("{} has no parameter {name}; it has {known}", self.of)),
        }
    }
}

/// Joins names for a sentence: `none`, `a`, `a and b`, or `a, b and c`.
pub(crate) fn listed(names: &[&str]) -> String {
    match names {
        [] => "none".to_owned(),
        [name] => (*name).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// A duration above zero, written like the period of a rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PositiveDuration(pub(crate) Duration);

impl FromStr for PositiveDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rate = format!("1/{text}").parse::<Rate>();
        rate.map(|rate| Self(rate.period()))
            .map_err(|_| format!("{text:?} is not a time above 0; write 500ms or 2s"))
    }
}
