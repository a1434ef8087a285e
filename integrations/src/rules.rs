//! Rules: the requests that a throttle applies to.

use std::borrow::Cow;
use std::fmt;
use std::future::Future;

use http::Method;
use traffik_core::debug_fields;
use traffik_core::storage::BoxFuture;

use crate::RequestParts;
use crate::error::ThrottleError;
use crate::http::path;

mod pattern;
#[cfg(feature = "regex")]
mod regex;
mod set;
mod spelling;

use pattern::{Pattern, PatternParser};
pub(crate) use set::{Applicability, Rules};
use spelling::check_method;

/// Conditions on a request, all of which must hold.
///
/// Choose it to limit some paths or methods by [`apply_to`](crate::ThrottleBuilder::apply_to), or to exempt
/// some by [`bypass`](crate::ThrottleBuilder::bypass).
///
/// ```
/// use http::Method;
/// use traffik::{Gcra, rate};
/// use traffik::web::{Rule, Throttle};
///
/// let throttle = Throttle::in_memory("writes", Gcra::new(rate!("5/s")))
///     .apply_to(Rule::new().methods([Method::POST, Method::PUT]).prefix("/api"))
///     .apply_to(Rule::new().template("/files/{name}")?)
///     .bypass(Rule::new().glob("/api/*/health"))
///     .build()?;
/// # let _ = throttle;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// A path is the one that the client sent, without its query, also within a nested router. Rules compare
/// paths in a normal form: otherwise clients could evade a limit by another spelling. `/login` also matches
/// `/login/`, `//login`, `/%6Cogin`, `/a/../login`, `/a/..;/login`, `/login;a=b` and `/login%2F`, and `/café`
/// matches `/caf%c3%a9`. Patterns are normalized likewise. Capital letters differ unless
/// [`ignore_case`](Self::ignore_case) is called, and so do paths that only some servers equate: `/login.`,
/// `/login%00`. A `bypass` rule with a path matches only spellings that differ from the normal form in
/// escapes or in a slash at the end.
///
/// The cheapest conditions are checked first: methods, paths, predicates, then asynchronous predicates.
/// Patterns are compiled once. [`check`](Self::check) finds conditions that no request can meet; building a
/// throttle does so for all its rules.
#[derive(Default)]
pub struct Rule {
    methods: Vec<Method>,
    paths: Vec<Pattern>,
    predicates: Vec<(Option<String>, Predicate)>,
    awaited: Vec<AsyncPredicate>,
    ignore_case: bool,
    /// The first mistake in the rule.
    mistake: Option<ThrottleError>,
}

type Predicate = Box<dyn Fn(RequestParts<'_>) -> bool + Send + Sync>;
type AsyncPredicate = Box<dyn Fn(RequestParts<'_>) -> BoxFuture<'static, bool> + Send + Sync>;

debug_fields!([] Rule:
    methods, paths = |it| it.paths.len(), predicates = |it| it.predicates.len() + it.awaited.len());

impl Rule {
    /// Returns a rule without conditions, which every request meets.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Requires one of these methods. `GET` includes `HEAD`, which requests the same resource.
    #[must_use]
    pub fn methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        for method in methods {
            let checked = check_method(&method);
            self.note(checked);
            self.methods.push(method);
        }
        self
    }

    /// Compares paths and patterns without the case of ASCII letters.
    #[must_use]
    pub fn ignore_case(mut self) -> Self {
        self.ignore_case = true;
        let paths = std::mem::take(&mut self.paths);
        paths.iter().fold(self, |rule, path| rule.pattern(path.in_small_letters()))
    }

    /// Requires this path.
    #[must_use]
    pub fn path(self, path: &str) -> Self {
        self.read(Pattern::exact, path)
    }

    /// Requires this path or one below it: `/api` matches `/api` and `/api/users`, and not `/apiary`.
    #[must_use]
    pub fn prefix(self, prefix: &str) -> Self {
        self.read(Pattern::prefix, prefix)
    }

    /// Requires a path that matches a pattern: `?` is one character, `*` is any number of characters within a
    /// segment, and `**` is any number of segments. A number can be 0. Escapes count as written: `%20` is
    /// three characters.
    #[must_use]
    pub fn glob(self, pattern: &str) -> Self {
        self.read(Pattern::glob, pattern)
    }

    /// Requires a path that matches the template of a route, such as `/users/{id}` or `/files/{*path}`.
    ///
    /// # Errors
    ///
    /// Fails with [`ThrottleError::Route`] if the template cannot be compiled, and with
    /// [`ThrottleError::Rule`] if no path can match it.
    pub fn template(self, template: &str) -> Result<Self, ThrottleError> {
        let template = Pattern::template(template, self.ignore_case)?;
        Ok(self.pattern(Ok(template)))
    }

    /// Requires that `predicate` returns true.
    #[must_use]
    pub fn when(mut self, predicate: impl Fn(RequestParts<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.predicates.push((None, Box::new(predicate)));
        self
    }

    /// Requires that `predicate` returns true. The texts of the rule and of explanations name the condition.
    ///
    /// Choose it instead of [`when`](Self::when) if people read explanations.
    ///
    /// ```
    /// use traffik::web::Rule;
    ///
    /// let rule = Rule::new().prefix("/api").when_named("from a phone", |request| {
    ///     request.headers.contains_key("x-phone")
    /// });
    /// assert_eq!(rule.to_string(), "/api and below from a phone");
    /// ```
    #[must_use]
    pub fn when_named(
        mut self,
        name: impl Into<String>,
        predicate: impl Fn(RequestParts<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.predicates.push((Some(name.into()), Box::new(predicate)));
        self
    }

    /// Requires that the request does not meet `exception`.
    ///
    /// An exception with a path matches only spellings that differ from the normal form in escapes or in a
    /// slash at the end, as a `bypass` rule does. Asynchronous predicates are not allowed in an exception:
    /// [`check`](Self::check) refuses them.
    ///
    /// ```
    /// use traffik::web::Rule;
    ///
    /// let rule = Rule::new().prefix("/api").except(Rule::new().path("/api/health"));
    /// assert_eq!(rule.to_string(), "/api and below but not (/api/health)");
    /// ```
    #[must_use]
    pub fn except(mut self, exception: Self) -> Self {
        self.note(exception.check());
        if !exception.awaited.is_empty() {
            self.note(Err(ThrottleError::Rule {
                pattern: exception.to_string(),
                reason: "an exception has an asynchronous predicate; write Rule::when".to_owned(),
            }));
        }
        self.when_named(format!("but not ({exception})"), move |request| {
            let path = path::fold(request.original_uri().path());
            let is_read_alike = path.is_plain || exception.paths.is_empty();
            !(is_read_alike && matches!(exception.matching(request, &path.text), RuleMatch::Yes(_)))
        })
    }

    /// Requires that the future of `predicate` returns true.
    ///
    /// The throttle waits for the future without a bound, and drops it if the client goes away.
    #[must_use]
    pub fn when_async<F: Future<Output = bool> + Send + 'static>(
        mut self,
        predicate: impl Fn(RequestParts<'_>) -> F + Send + Sync + 'static,
    ) -> Self {
        self.awaited.push(Box::new(move |request| Box::pin(predicate(request))));
        self
    }

    /// Checks the rule for conditions that no request can meet, as far as they are easy to find.
    ///
    /// # Errors
    ///
    /// Fails with [`ThrottleError::Rule`] for the first such condition; the reason says what to write.
    pub fn check(&self) -> Result<(), ThrottleError> {
        if let Some(mistake) = &self.mistake {
            return Err(mistake.clone());
        }
        let mut pairs = self
            .paths
            .iter()
            .enumerate()
            .flat_map(|(at, one)| self.paths.iter().skip(at + 1).map(move |another| (one, another)));
        match pairs.find(|(one, another)| !one.can_meet(another)) {
            None => Ok(()),
            Some((one, another)) => Err(ThrottleError::Rule {
                pattern: one.to_string(),
                reason: format!("the rule also requires {:?}; write a rule for each", another.to_string()),
            }),
        }
    }

    fn read(self, make: PatternParser, text: &str) -> Self {
        let pattern = make(text, self.ignore_case);
        self.pattern(pattern)
    }

    fn pattern(mut self, pattern: Result<Pattern, ThrottleError>) -> Self {
        let added = pattern.map(|pattern| self.paths.push(pattern));
        self.note(added);
        self.paths.sort_by_key(|path| path.effort);
        self
    }

    /// Keeps the first mistake.
    fn note(&mut self, checked: Result<(), ThrottleError>) {
        self.mistake = self.mistake.take().or(checked.err());
    }

    /// Returns how specific the rule is.
    fn rank(&self) -> Rank {
        let literal = self.paths.iter().map(|path| path.literal).max().unwrap_or(0);
        let exact = self.paths.iter().any(|path| path.is_exact());
        let conditions = usize::from(!self.methods.is_empty())
            + self.paths.len()
            + self.predicates.len()
            + self.awaited.len();
        Rank { literal, exact, conditions }
    }

    /// Describes the first condition that a request does not meet.
    async fn unmet(&self, request: RequestParts<'_>, path: &str) -> Option<String> {
        if !self.is_for(request.method) {
            return Some(format!("the method is {}", request.method));
        }
        match self.matching(request, path) {
            RuleMatch::Yes(_) => None,
            RuleMatch::Later(_, answer) => (!answer.await).then(|| "a function returned false".to_owned()),
            RuleMatch::No if self.fits(path) => Some(self.failing(request)),
            RuleMatch::No => Some(format!("the path is {path}")),
        }
    }

    /// Describes the first predicate that returns false.
    fn failing(&self, request: RequestParts<'_>) -> String {
        let failing = self.predicates.iter().find(|(_, predicate)| !predicate(request));
        match failing.and_then(|(name, _)| name.as_ref()) {
            Some(name) => format!("it is not so: {name}"),
            None => "a function returned false".to_owned(),
        }
    }

    /// Reports whether the path matches all patterns.
    fn fits(&self, path: &str) -> bool {
        let path = if self.ignore_case { Cow::Owned(path.to_ascii_lowercase()) } else { Cow::Borrowed(path) };
        self.paths.iter().all(|pattern| (pattern.matches)(&path))
    }

    fn is_for(&self, method: &Method) -> bool {
        let head_of_get = method == Method::HEAD && self.methods.contains(&Method::GET);
        self.methods.is_empty() || self.methods.contains(method) || head_of_get
    }

    fn matching(&self, request: RequestParts<'_>, path: &str) -> RuleMatch {
        let met = self.is_for(request.method)
            && self.fits(path)
            && self.predicates.iter().all(|(_, predicate)| predicate(request));
        if !met {
            return RuleMatch::No;
        }
        if self.awaited.is_empty() {
            return RuleMatch::Yes(self.rank());
        }
        let awaited: Vec<_> = self.awaited.iter().map(|predicate| predicate(request)).collect();
        let all = Box::pin(async move {
            for predicate in awaited {
                if !predicate.await {
                    return false;
                }
            }
            true
        });
        RuleMatch::Later(self.rank(), all)
    }
}

/// Writes the conditions.
impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let methods: Vec<_> = self.methods.iter().map(Method::as_str).collect();
        let named = self.predicates.iter().filter_map(|(name, _)| name.clone());
        let functions = self.predicates.len() + self.awaited.len() - named.clone().count();
        let paths = self.paths.iter().map(Pattern::to_string);
        let functions = (functions > 0).then(|| format!("functions: {functions}"));
        let methods = (!methods.is_empty()).then(|| methods.join("|"));
        let words: Vec<_> = methods.into_iter().chain(paths).chain(named).chain(functions).collect();
        f.write_str(if words.is_empty() { "any request" } else { "" })?;
        f.write_str(&words.join(" "))
    }
}

/// The specificity of a rule: the length of the path that it spells out, whether that is the whole path, and
/// the number of conditions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    literal: usize,
    exact: bool,
    conditions: usize,
}

/// The result of matching a rule, with its rank.
enum RuleMatch {
    No,
    Yes(Rank),
    Later(Rank, BoxFuture<'static, bool>),
}

#[cfg(test)]
mod tests;
