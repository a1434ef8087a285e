//! The conditions on the requests that a throttle applies to.

use std::fmt;

use http::{HeaderName, Method, Uri};
use regex::{Regex, RegexBuilder};
use traffik::web::{RequestParts, Route, Rule};

use crate::limits::request::{folded_host, host, parameters};

/// A condition on the requests that a throttle applies to: all parts hold, of each part one value.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct RulePlan {
    pub(crate) paths: Vec<String>,
    pub(crate) methods: Vec<Method>,
    pub(crate) hosts: Vec<String>,
    pub(crate) headers: Vec<(HeaderName, WantedValue)>,
    pub(crate) query: Vec<(String, WantedValue)>,
    /// Whether paths, header values and query values are compared without the case of ASCII letters.
    pub(crate) ignore_case: bool,
    /// The rules of which the request meets none.
    pub(crate) not: Vec<RulePlan>,
}

/// The values of a header or a parameter that a rule matches.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum WantedValue {
    Any,
    /// Texts, and regular expressions after `re:`.
    OneOf(Vec<String>),
}

impl RulePlan {
    /// Returns the library's rules: one for each path.
    ///
    /// # Errors
    ///
    /// Fails if a pattern cannot be compiled, or no request can meet it.
    pub(crate) fn rules(&self) -> Result<Vec<Rule>, String> {
        if self.paths.is_empty() {
            return Ok(vec![self.rule(None)?]);
        }
        self.paths.iter().map(|path| self.rule(Some(path))).collect()
    }

    fn rule(&self, path: Option<&str>) -> Result<Rule, String> {
        let rule = Rule::new().methods(self.methods.iter().cloned());
        let rule = if self.ignore_case { rule.ignore_case() } else { rule };
        let mut rule = match path {
            Some(path) => pattern(rule, path)?,
            None => rule,
        };
        if !self.hosts.is_empty() {
            let hosts: Vec<_> =
                self.hosts.iter().map(|text| HostPattern::parse(text)).collect::<Result<_, _>>()?;
            rule = rule.when_named(format!("at {}", self.hosts.join("|")), move |request| {
                let named = host(request).ok().flatten();
                named.is_some_and(|host| hosts.iter().any(|pattern| pattern.matches(&host)))
            });
        }
        for (name, wanted) in &self.headers {
            let (name, values) = (name.clone(), ValuePattern::all(wanted, self.ignore_case)?);
            rule = rule.when_named(format!("with header {name}"), move |request| {
                let mut lines = request.headers.get_all(&name).iter();
                lines.any(|line| values.match_one(&String::from_utf8_lossy(line.as_bytes())))
            });
        }
        for (name, wanted) in &self.query {
            let (name, values) = (name.clone(), ValuePattern::all(wanted, self.ignore_case)?);
            rule = rule.when_named(format!("with query {name}"), move |request| {
                parameters(request).any(|(known, value)| known == name && values.match_one(&value))
            });
        }
        for not in &self.not {
            for exception in not.rules()? {
                rule = rule.except(exception);
            }
        }
        Ok(rule)
    }

    /// Returns the reason why no request can meet the rule, as far as that is easy to find.
    pub(crate) fn contradiction(&self) -> Option<String> {
        let excluded = self.not.iter().find(|not| not.covers(self))?;
        Some(format!("no request can meet the rule, since it excludes all that it requires: {excluded}"))
    }

    /// Reports whether each request of `other` certainly meets this rule.
    fn covers(&self, other: &Self) -> bool {
        fn within<T: PartialEq>(these: &[T], those: &[T], covers: impl Fn(&T, &T) -> bool) -> bool {
            let is_in = |one: &T| those.iter().any(|another| one == another || covers(another, one));
            those.is_empty() || (!these.is_empty() && these.iter().all(is_in))
        }
        let below = |prefix: &String, path: &String| {
            !prefix.starts_with("re:")
                && !prefix.contains(['{', '*', '?'])
                && path.strip_prefix(&**prefix).is_some_and(|rest| rest.starts_with('/'))
        };
        within(&other.methods, &self.methods, |one, another| one == Method::GET && another == Method::HEAD)
            && within(&other.paths, &self.paths, below)
            && within(&other.hosts, &self.hosts, |_, _| false)
            && self.headers.iter().all(|header| other.headers.contains(header))
            && self.query.iter().all(|query| other.query.contains(query))
    }
}

/// Adds a path condition to a rule: a regular expression after `re:`, a route if the text has names in
/// braces, a glob if it has stars or question marks, else the path and all paths below it. Fails if no path
/// can match.
pub(crate) fn pattern(rule: Rule, text: &str) -> Result<Rule, String> {
    let rule = match text.strip_prefix("re:") {
        Some(expression) if expression.strip_prefix('^').is_some_and(|it| it.starts_with(is_of_name)) => {
            return Err(format!("{text:?} matches nothing: paths begin with a slash"));
        }
        Some(expression) => rule.regex(expression),
        None if text.contains('{') => rule.template(text),
        None if text.contains(['*', '?']) => Ok(rule.glob(text)),
        None => Ok(rule.prefix(text)),
    };
    rule.and_then(|rule| rule.check().map(|()| rule)).map_err(|error| error.to_string())
}

fn is_of_name(character: char) -> bool {
    character.is_ascii_alphanumeric()
}

/// A pattern of hosts.
pub(crate) enum HostPattern {
    Exact(String),
    /// The hosts with this ending, which begins with a dot.
    Below(String),
    Matching(Regex),
}

impl HostPattern {
    /// Parses a host, `*.` and a host for all hosts below it, or a regular expression after `re:`.
    ///
    /// # Errors
    ///
    /// Fails if no host can match.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some(expression) = text.strip_prefix("re:") {
            return regex(expression, true).map(Self::Matching);
        }
        let folded = folded_host(text);
        let (is_below, host) = match folded.strip_prefix("*.") {
            Some(host) => (true, host),
            None => (false, &*folded),
        };
        let is_address = host.starts_with('[') && host.ends_with(']');
        let is_name = |text: &str| {
            !text.is_empty() && text.bytes().all(|it| it.is_ascii_alphanumeric() || b"-._".contains(&it))
        };
        if text.contains("://") || text.contains('/') {
            Err(format!("{text:?} is not a host; write it without scheme and path, such as api.example.com"))
        } else if folded.len() + usize::from(text.ends_with('.')) != text.len() {
            Err(format!("{text:?} has a port, which rules do not compare; write {folded:?}"))
        } else if !is_address && !is_name(host) {
            Err(format!("{text:?} is not a host; write api.example.com, *.example.com or re:^api[0-9]"))
        } else if is_below {
            Ok(Self::Below(format!(".{host}")))
        } else {
            Ok(Self::Exact(folded))
        }
    }

    fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(exact) => exact == host,
            Self::Below(end) => host.len() > end.len() && host.ends_with(&**end),
            Self::Matching(regex) => regex.is_match(host),
        }
    }
}

/// The values that a header or a parameter may have.
pub(crate) struct ValuePattern {
    texts: Vec<String>,
    expressions: Vec<Regex>,
    is_any: bool,
    ignore_case: bool,
}

impl ValuePattern {
    /// Compiles the values.
    ///
    /// # Errors
    ///
    /// Fails if a regular expression cannot be compiled.
    pub(crate) fn all(wanted: &WantedValue, ignore_case: bool) -> Result<Self, String> {
        let (mut texts, mut expressions) = (Vec::new(), Vec::new());
        if let WantedValue::OneOf(values) = wanted {
            for value in values {
                match value.strip_prefix("re:") {
                    Some(expression) => expressions.push(regex(expression, ignore_case)?),
                    None => texts.push(value.clone()),
                }
            }
        }
        Ok(Self { texts, expressions, is_any: *wanted == WantedValue::Any, ignore_case })
    }

    fn match_one(&self, value: &str) -> bool {
        let is_text = |text: &String| text == value || (self.ignore_case && text.eq_ignore_ascii_case(value));
        self.is_any || self.texts.iter().any(is_text) || self.expressions.iter().any(|it| it.is_match(value))
    }
}

fn regex(text: &str, ignore_case: bool) -> Result<Regex, String> {
    let regex = RegexBuilder::new(text).case_insensitive(ignore_case).build();
    regex.map_err(|error| format!("\"re:{text}\" cannot be used: {error}"))
}

/// The placeholders of the rules' paths.
pub(crate) struct PathValues(Vec<PathValue>);

struct PathValue {
    methods: Vec<Method>,
    route: Route,
    ignore_case: bool,
}

impl PathValues {
    /// Compiles the paths of these rules.
    ///
    /// # Errors
    ///
    /// Fails if a path cannot be compiled.
    pub(crate) fn of(rules: &[RulePlan]) -> Result<Self, String> {
        let each = rules.iter().flat_map(|rule| rule.paths.iter().map(move |path| (rule, path)));
        let compiled = each.map(|(rule, path)| {
            let path = if rule.ignore_case { path.to_ascii_lowercase() } else { path.clone() };
            let route = Route::new([&*path]).map_err(|error| error.to_string())?;
            Ok(PathValue { methods: rule.methods.clone(), route, ignore_case: rule.ignore_case })
        });
        compiled.collect::<Result<_, String>>().map(Self)
    }

    /// Returns the value of a placeholder, by the first path in the file that the request matches.
    pub(crate) fn value(&self, request: RequestParts<'_>, name: &str) -> Option<String> {
        let head = |methods: &[Method]| request.method == Method::HEAD && methods.contains(&Method::GET);
        let mut of_method = self
            .0
            .iter()
            .filter(|it| it.methods.is_empty() || it.methods.contains(request.method) || head(&it.methods));
        of_method.find_map(|it| {
            if !it.ignore_case {
                return it.route.parameter(request, name);
            }
            let folded: Uri = request.uri.path().to_ascii_lowercase().parse().ok()?;
            it.route.parameter(RequestParts { uri: &folded, ..request }, &name.to_ascii_lowercase())
        })
    }
}

/// Writes the conditions. Values of headers and parameters are left out, since they may be secrets.
impl fmt::Display for RulePlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods: Vec<_> = self.methods.iter().map(Method::as_str).collect();
        let mut words: Vec<String> = Vec::new();
        if !methods.is_empty() {
            words.push(methods.join("|"));
        }
        words.push(if self.paths.is_empty() { "anywhere".to_owned() } else { self.paths.join("|") });
        if !self.hosts.is_empty() {
            words.push(format!("at {}", self.hosts.join("|")));
        }
        words.extend(self.headers.iter().map(|(name, _)| format!("with header {name}")));
        words.extend(self.query.iter().map(|(name, _)| format!("with query {name}")));
        words.extend(self.not.iter().map(|not| format!("but not ({not})")));
        f.write_str(&words.join(" "))
    }
}
