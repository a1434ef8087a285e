//! Which requests a throttle applies to.

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

use pattern::Pattern;

/// Conditions that a request is to meet, all of them.
///
/// Paths are matched as the service behind will take them, whatever way they were spelled, and patterns likewise: `//login`,
/// `/%6Cogin` and `/a/../login` are `/login`, and `/café` and `/caf%c3%a9` are `/caf%C3%A9`; queries are ignored. The cheapest condition is looked at first: methods, then paths, then
/// predicates, then those that answer asynchronously. Patterns are compiled once.
///
/// ```
/// use http::Method;
/// use traffik_core::{Gcra, rate};
/// use traffik_integrations::{Rule, Throttle};
///
/// let throttle = Throttle::in_memory("writes", Gcra::new(rate!("5/s")))
///     .apply_to(Rule::new().methods([Method::POST, Method::PUT]).prefix("/api"))
///     .apply_to(Rule::new().template("/files/{name}")?)
///     .bypass(Rule::new().glob("/api/*/health"))
///     .build()?;
/// # let _ = throttle;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Default)]
pub struct Rule {
    methods: Vec<Method>,
    paths: Vec<Pattern>,
    predicates: Vec<Predicate>,
    awaited: Vec<Awaited>,
}

type Predicate = Box<dyn Fn(RequestParts<'_>) -> bool + Send + Sync>;
type Awaited = Box<dyn Fn(RequestParts<'_>) -> BoxFuture<'static, bool> + Send + Sync>;

debug_fields!([] Rule:
    methods, paths = |it| it.paths.len(), predicates = |it| it.predicates.len() + it.awaited.len());

impl Rule {
    /// No condition yet: every request meets it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The method is one of these.
    #[must_use]
    pub fn methods(mut self, methods: impl IntoIterator<Item = Method>) -> Self {
        self.methods.extend(methods);
        self
    }

    /// The path is this one.
    #[must_use]
    pub fn path(self, path: &str) -> Self {
        self.pattern(Pattern::exact(path))
    }

    /// The path is this one or below it: `/api` holds `/api` and `/api/users`, and not `/apiary`.
    #[must_use]
    pub fn prefix(self, prefix: &str) -> Self {
        self.pattern(Pattern::prefix(prefix))
    }

    /// The path matches a pattern: `?` is one character and `*` any number of them within a segment, `**` any number of
    /// segments, also none. What is escaped counts as it is written: `%20` is three characters.
    #[must_use]
    pub fn glob(self, pattern: &str) -> Self {
        self.pattern(Pattern::glob(pattern))
    }

    /// The path matches a route's template, such as `/users/{id}` or `/files/{*path}`.
    pub fn template(self, template: &str) -> Result<Self, ThrottleError> {
        Ok(self.pattern(Pattern::template(template)?))
    }

    /// This is so of the request.
    #[must_use]
    pub fn when(mut self, predicate: impl Fn(RequestParts<'_>) -> bool + Send + Sync + 'static) -> Self {
        self.predicates.push(Box::new(predicate));
        self
    }

    /// This turns out to be so of the request.
    #[must_use]
    pub fn when_async<F: Future<Output = bool> + Send + 'static>(
        mut self,
        predicate: impl Fn(RequestParts<'_>) -> F + Send + Sync + 'static,
    ) -> Self {
        self.awaited.push(Box::new(move |request| Box::pin(predicate(request))));
        self
    }

    fn pattern(mut self, pattern: Pattern) -> Self {
        self.paths.push(pattern);
        self.paths.sort_by_key(|path| path.effort);
        self
    }

    fn rank(&self) -> Rank {
        let literal = self.paths.iter().map(|path| path.literal).max().unwrap_or(0);
        let exact = self.paths.iter().any(|path| path.exact);
        let conditions = usize::from(!self.methods.is_empty())
            + self.paths.len()
            + self.predicates.len()
            + self.awaited.len();
        Rank { literal, exact, conditions }
    }

    fn matching(&self, request: RequestParts<'_>, path: &str) -> Met {
        let met = (self.methods.is_empty() || self.methods.contains(request.method))
            && self.paths.iter().all(|pattern| (pattern.matches)(path))
            && self.predicates.iter().all(|predicate| predicate(request));
        if !met {
            return Met::No;
        }
        if self.awaited.is_empty() {
            return Met::Yes(self.rank());
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
        Met::Later(self.rank(), all)
    }
}

/// How specific a rule is: how much of a path it spells out, whether that is all of it, and how many conditions it has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Rank {
    literal: usize,
    exact: bool,
    conditions: usize,
}

/// Whether a rule is met, and how specific it is.
enum Met {
    No,
    Yes(Rank),
    Later(Rank, BoxFuture<'static, bool>),
}

/// Whether a throttle applies to a request, and by how specific a rule.
pub(crate) enum Matching {
    No,
    Yes(Rank),
    Later(Open),
}

/// What is to be awaited to know whether a throttle applies.
#[derive(Default)]
pub(crate) struct Open {
    /// By this rule, whatever those below say.
    sure: Option<Rank>,
    /// By one of these, the most specific first, all of them more specific than the one above.
    perhaps: Vec<(Rank, BoxFuture<'static, bool>)>,
    /// Not at all if one of these is so.
    unless: Vec<BoxFuture<'static, bool>>,
}

/// The rules of a throttle: it applies where one of the first kind is met, or there is none of them, and none of the
/// second kind.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    apply: Vec<Rule>,
    bypass: Vec<Rule>,
}

impl Rules {
    pub(crate) fn apply_to(&mut self, rule: Rule) {
        self.apply.push(rule);
        // The most specific one that matches says how specific the throttle is.
        self.apply.sort_by_key(|rule| std::cmp::Reverse(rule.rank()));
    }

    pub(crate) fn bypass(&mut self, rule: Rule) {
        self.bypass.push(rule);
        self.bypass.sort_by_key(|rule| (rule.awaited.len(), rule.predicates.len(), rule.paths.len()));
    }

    pub(crate) fn matching(&self, request: RequestParts<'_>) -> Matching {
        if self.apply.is_empty() && self.bypass.is_empty() {
            return Matching::Yes(Rank::default());
        }
        let path = path::normal(request.uri.path());
        let mut open = Open::default();
        for rule in &self.bypass {
            match rule.matching(request, &path) {
                Met::No => {}
                Met::Yes(_) => return Matching::No,
                Met::Later(_, answer) => open.unless.push(answer),
            }
        }
        open.sure = self.apply.is_empty().then(Rank::default);
        for rule in &self.apply {
            match rule.matching(request, &path) {
                Met::No => {}
                // Those that follow are less specific.
                Met::Yes(rank) => {
                    open.sure = Some(rank);
                    break;
                }
                Met::Later(rank, answer) => open.perhaps.push((rank, answer)),
            }
        }
        match open {
            Open { sure: None, perhaps, .. } if perhaps.is_empty() => Matching::No,
            Open { sure: Some(rank), perhaps, unless } if perhaps.is_empty() && unless.is_empty() => {
                Matching::Yes(rank)
            }
            open => Matching::Later(open),
        }
    }
}

impl Open {
    /// Whether the throttle applies.
    pub(crate) async fn applies(mut self) -> bool {
        if self.sure.is_some() {
            self.perhaps.clear();
        }
        self.rank().await.is_some()
    }

    /// By how specific a rule it applies, if it does.
    pub(crate) async fn rank(self) -> Option<Rank> {
        let mut met = self.sure;
        for (rank, answer) in self.perhaps {
            if answer.await {
                met = Some(rank);
                break;
            }
        }
        if met.is_none() || any(self.unless).await { None } else { met }
    }
}

/// Whether one of these is so; they are asked one after another, until one is.
async fn any(answers: Vec<BoxFuture<'static, bool>>) -> bool {
    for answer in answers {
        if answer.await {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn matches(rule: Rule, method: Method, path: &str) -> bool {
        let mut rules = Rules::default();
        rules.apply_to(rule);
        let request = http::Request::builder().method(method).uri(path).body(()).unwrap();
        matches!(rules.matching((&request).into()), Matching::Yes(_))
    }

    #[test]
    fn all_conditions_are_met_or_the_rule_is_not() {
        let rule = || {
            let headed = |request: RequestParts<'_>| request.headers.is_empty();
            Rule::new().methods([Method::POST]).prefix("/api").glob("/api/*/x").when(headed)
        };
        assert!(matches(rule(), Method::POST, "/api/a/x?query=/api"));
        assert!(!matches(rule(), Method::GET, "/api/a/x"));
        assert!(!matches(rule(), Method::POST, "/api/a/y"));
        assert!(!matches(rule(), Method::POST, "/other?/api/a/x"));
        assert!(!matches(rule().when(|_| false), Method::POST, "/api/a/x"));
        assert!(matches(Rule::new(), Method::OPTIONS, "*"));
    }

    /// The method before the path, the path before predicates, and those that are awaited last.
    #[test]
    fn what_is_cheap_is_asked_first() {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let tell = |what: &'static str, answer: bool| {
            let asked = Arc::clone(&asked);
            move |_: RequestParts<'_>| {
                asked.lock().unwrap().push(what);
                answer
            }
        };
        let rule = |answer| {
            let (plain, awaited) = (tell("plain", answer), tell("awaited", true));
            let awaited = move |request: RequestParts<'_>| std::future::ready(awaited(request));
            // The order in which they are given says nothing.
            Rule::new().when_async(awaited).when(plain).glob("/a/**").prefix("/a").methods([Method::GET])
        };
        let asked_for = |answer, method, path: &str| {
            let mut rules = Rules::default();
            rules.apply_to(rule(answer));
            let request = http::Request::builder().method(method).uri(path).body(()).unwrap();
            let later = matches!(rules.matching((&request).into()), Matching::Later(..));
            (later, std::mem::take(&mut *asked.lock().unwrap()))
        };
        assert_eq!(asked_for(true, Method::POST, "/a/b"), (false, vec![]));
        assert_eq!(asked_for(true, Method::GET, "/b"), (false, vec![]));
        assert_eq!(asked_for(false, Method::GET, "/a/b"), (false, vec!["plain"]));
        assert_eq!(asked_for(true, Method::GET, "/a/b"), (true, vec!["plain", "awaited"]));
    }

    #[test]
    fn no_spelling_of_a_path_is_a_way_round() {
        for path in ["/login", "//login", "/%6cogin", "/./login", "/a/../login"] {
            assert!(matches(Rule::new().path("/login"), Method::GET, path), "{path}");
        }
        assert!(!matches(Rule::new().path("/login"), Method::GET, "/login/x"));
        for path in ["/café", "/caf%c3%a9", "/caf%C3%A9"] {
            assert!(matches(Rule::new().path(path), Method::GET, "/café"), "{path}");
            assert!(matches(Rule::new().path("/café"), Method::GET, path), "{path}");
        }
    }

    #[test]
    fn what_spells_out_more_is_more_specific() {
        let order = [
            Rule::new(),
            Rule::new().methods([Method::GET]),
            Rule::new().prefix("/api"),
            Rule::new().prefix("/api").methods([Method::GET]),
            Rule::new().glob("/api/*"),
            Rule::new().template("/api/users/{id}").unwrap(),
            Rule::new().prefix("/api/users/me"),
            Rule::new().path("/api/users/me"),
        ];
        for pair in order.windows(2) {
            assert!(pair[0].rank() < pair[1].rank(), "{:?} {:?}", pair[0].rank(), pair[1].rank());
        }
    }
}
