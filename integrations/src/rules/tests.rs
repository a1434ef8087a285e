//! Tests of rules.

use std::sync::{Arc, Mutex};

use super::*;

fn matches(rule: Rule, method: Method, path: &str) -> bool {
    let mut rules = Rules::default();
    rules.apply_to(rule);
    let request = http::Request::builder().method(method).uri(path).body(()).unwrap();
    matches!(rules.matching((&request).into()), Applicability::Yes(_))
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

/// The order: the method, the path, predicates, then asynchronous predicates.
#[test]
fn cheap_conditions_are_checked_first() {
    let calls = Arc::new(Mutex::new(Vec::new()));
    let predicate = |name: &'static str, answer: bool| {
        let calls = Arc::clone(&calls);
        move |_: RequestParts<'_>| {
            calls.lock().unwrap().push(name);
            answer
        }
    };
    let rule = |answer| {
        let (plain, awaited) = (predicate("plain", answer), predicate("awaited", true));
        let awaited = move |request: RequestParts<'_>| std::future::ready(awaited(request));
        // The order of the calls does not matter.
        Rule::new().when_async(awaited).when(plain).glob("/a/**").prefix("/a").methods([Method::GET])
    };
    let called_for = |answer, method, path: &str| {
        let mut rules = Rules::default();
        rules.apply_to(rule(answer));
        let request = http::Request::builder().method(method).uri(path).body(()).unwrap();
        let later = matches!(rules.matching((&request).into()), Applicability::Later(..));
        (later, std::mem::take(&mut *calls.lock().unwrap()))
    };
    assert_eq!(called_for(true, Method::POST, "/a/b"), (false, vec![]));
    assert_eq!(called_for(true, Method::GET, "/b"), (false, vec![]));
    assert_eq!(called_for(false, Method::GET, "/a/b"), (false, vec!["plain"]));
    assert_eq!(called_for(true, Method::GET, "/a/b"), (true, vec!["plain", "awaited"]));
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
fn a_rule_that_spells_out_more_is_more_specific() {
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

#[test]
fn an_exception_is_as_narrow_as_a_bypass_and_named_conditions_are_shown() {
    let rule = || Rule::new().prefix("/api").except(Rule::new().prefix("/api/open"));
    assert!(matches(rule(), Method::GET, "/api/x") && !matches(rule(), Method::GET, "/api/%6Fpen/"));
    assert!(matches(rule(), Method::GET, "/api//open"), "another server may read it otherwise");
    let named = Rule::new().when_named("from a phone", |_| false).when(|_| true);
    assert_eq!(named.to_string(), "from a phone functions: 1");
    let awaited = Rule::new().when_async(|_| std::future::ready(true));
    assert!(Rule::new().except(awaited).check().is_err());
    assert!(Rule::new().except(Rule::new().path("a")).check().is_err(), "a mistake in an exception");
}
