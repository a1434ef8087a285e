//! Envoy's rate limit service, message by message, asked by Python's stubs.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use serde_json::{Value, json};
use traffik_test_support::folder;
use traffik_test_support::servers::Redis;

use super::config::File;
use super::refused;
use super::rls::Service;
use super::{client, get};

/// A client by others, which sends messages that are written as JSON.
pub(super) struct Stub {
    process: Child,
    answers: BufReader<ChildStdout>,
}

impl Stub {
    pub(super) fn of(service: &Service) -> Self {
        Self::at(&service.address)
    }

    /// Calls the service at a host and a port.
    pub(super) fn at(address: &str) -> Self {
        let python = folder::target().join("python/bin/python3");
        assert!(python.exists(), "it must be there: scripts/install python:envoy-data-plane==VERSION");
        let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateway/rls.py");
        let mut command = Command::new("timeout");
        command.arg("60").arg(python).arg(program).arg(address);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Self { process, answers }
    }

    pub(super) fn ask(&mut self, call: &Value) -> Value {
        writeln!(self.process.stdin.as_mut().unwrap(), "{call}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{call}: {error}: {line:?}"))
    }

    /// Asks about these descriptors in the domain `edge`; returns the codes of all and of each.
    pub(super) fn codes(&mut self, descriptors: &[Value]) -> (String, Vec<String>) {
        let answer = self.ask(&json!({ "domain": "edge", "descriptors": descriptors }));
        let code = |it: &Value| it.as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        let each = answer["statuses"].as_array().unwrap().iter().map(|it| code(&it["code"]));
        (code(&answer["overallCode"]), each.collect())
    }
}

impl Drop for Stub {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A descriptor of these entries.
pub(super) fn descriptor(entries: &[(&str, &str)]) -> Value {
    let entry = |(key, value): &(&str, &str)| json!({ "key": key, "value": value });
    json!({ "entries": entries.iter().map(entry).collect::<Vec<_>>() })
}

/// A descriptor with more fields.
fn with(entries: &[(&str, &str)], field: &str, value: Value) -> Value {
    let mut all = descriptor(entries);
    all[field] = value;
    all
}

fn codes(all: &str, each: &[&str]) -> (String, Vec<String>) {
    (all.to_owned(), each.iter().map(|it| (*it).to_owned()).collect())
}

const LIMITS: &str = r#"
[[throttle]]
uid = "users"
rate = "10/h"
headers = "x-ratelimit"
domain = "edge"
descriptors = [{ key = "user" }]

[[throttle]]
uid = "logins"
rate = "2/h"
domain = "edge"
descriptors = [{ key = "path", value = "/login" }, { key = "remote_address" }]

[[throttle]]
uid = "trial"
rate = "1/h"
shadow = true
domain = "edge"
descriptors = [{ key = "trial" }]

[[throttle]]
uid = "http"
rate = "1/h"
rules = { path = "/never" }
"#;

#[test]
fn each_descriptor_has_its_status() {
    let limits = File::new("rls-status", LIMITS);
    let service = Service::start(&["--config", limits.path()]);
    let mut stub = Stub::of(&service);
    let call = json!({
        "domain": "edge",
        "descriptors": [descriptor(&[("user", "a")]), descriptor(&[("other", "a")])],
        "hitsAddend": 3,
    });
    let answer = stub.ask(&call);
    assert_eq!(answer["overallCode"], "OK", "{answer}");
    let status = &answer["statuses"][0];
    assert_eq!(status["limitRemaining"], 7);
    assert_eq!(
        status["currentLimit"],
        json!({ "name": "users", "requestsPerUnit": 10, "unit": "HOUR" }),
        "{answer}"
    );
    let reset: f64 = status["durationUntilReset"].as_str().unwrap().trim_end_matches('s').parse().unwrap();
    assert!(reset > 0.0 && reset <= 3_600.0, "{reset}");
    assert_eq!(answer["statuses"][1], json!({ "code": "OK" }), "an unknown descriptor has no limit");
    let headers = answer["responseHeadersToAdd"].as_array().unwrap();
    let keys: Vec<_> = headers.iter().map(|it| it["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"]);
    assert_eq!(headers[1]["value"], "7");

    // A denial charges none, and says when to come back.
    let denied = stub.ask(&json!({
        "domain": "edge", "hitsAddend": 8,
        "descriptors": [descriptor(&[("user", "b")]), descriptor(&[("user", "a")])],
    }));
    assert_eq!(denied["overallCode"], "OVER_LIMIT");
    assert_eq!(
        (&denied["statuses"][0]["code"], &denied["statuses"][1]["code"]),
        (&json!("OK"), &json!("OVER_LIMIT"))
    );
    assert_eq!(denied["statuses"][0]["limitRemaining"], 10, "{denied}");
    let headers = denied["responseHeadersToAdd"].as_array().unwrap();
    assert!(headers.iter().any(|it| it["key"] == "retry-after"), "{headers:?}");
}

#[test]
fn hits_are_those_of_the_descriptor_and_zero_only_asks() {
    let limits = File::new("rls-hits-addend", LIMITS);
    let service = Service::start(&["--config", limits.path()]);
    let mut stub = Stub::of(&service);
    let user = [("user", "a")];
    let hits = |hits: &str| with(&user, "hitsAddend", json!(hits));
    let left = |stub: &mut Stub, descriptor: Value| {
        let answer = stub.ask(&json!({ "domain": "edge", "descriptors": [descriptor], "hitsAddend": 5 }));
        let remaining = answer["statuses"][0]["limitRemaining"].as_u64().unwrap_or(0);
        (answer["overallCode"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned(), remaining)
    };
    assert_eq!(left(&mut stub, hits("0")), ("OK".to_owned(), 10));
    assert_eq!(left(&mut stub, hits("4")), ("OK".to_owned(), 6));
    assert_eq!(left(&mut stub, hits("0")), ("OK".to_owned(), 6));
    assert_eq!(left(&mut stub, descriptor(&user)), ("OK".to_owned(), 1));
    assert_eq!(left(&mut stub, hits("2")), ("OVER_LIMIT".to_owned(), 1));
    assert_eq!(left(&mut stub, hits("1")), ("OK".to_owned(), 0));
    assert_eq!(left(&mut stub, hits("0")), ("OVER_LIMIT".to_owned(), 0), "nothing is left to ask for");
    // A question that is denied leaves the others uncharged.
    let both = [hits("0"), descriptor(&[("user", "b")])];
    assert_eq!(stub.codes(&both), codes("OVER_LIMIT", &["OVER_LIMIT", "OK"]));
    let answer = stub.ask(&json!({
        "domain": "edge", "descriptors": [with(&[("user", "b")], "hitsAddend", json!("0"))],
    }));
    assert_eq!(answer["statuses"][0]["limitRemaining"], 10);
}

#[test]
fn a_call_may_bring_its_own_limit() {
    let limits = File::new("rls-override", LIMITS);
    let service = Service::start(&["--config", limits.path()]);
    let mut stub = Stub::of(&service);
    let own = with(&[("user", "c")], "limit", json!({ "requestsPerUnit": 2, "unit": "MINUTE" }));
    let answer = stub.ask(&json!({ "domain": "edge", "descriptors": [own] }));
    assert_eq!(
        answer["statuses"][0]["currentLimit"],
        json!({ "name": "users", "requestsPerUnit": 2, "unit": "MINUTE" }),
        "{answer}"
    );
    let own = [own];
    assert_eq!(stub.codes(&own), codes("OK", &["OK"]));
    assert_eq!(stub.codes(&own), codes("OVER_LIMIT", &["OVER_LIMIT"]));
}

#[test]
fn descriptors_match_with_all_their_entries_in_order() {
    let limits = File::new("rls-match", LIMITS);
    let service = Service::start(&["--config", limits.path()]);
    let mut stub = Stub::of(&service);
    let login = descriptor(&[("path", "/login"), ("remote_address", "192.0.2.1")]);
    for _ in 0..2 {
        assert_eq!(stub.codes(std::slice::from_ref(&login)), codes("OK", &["OK"]));
    }
    // The same client, written as IPv6.
    let mapped = descriptor(&[("path", "/login"), ("remote_address", "::ffff:192.0.2.1")]);
    for descriptor in [login, mapped] {
        assert_eq!(stub.codes(&[descriptor]), codes("OVER_LIMIT", &["OVER_LIMIT"]));
    }
    for other in [
        &[("remote_address", "192.0.2.1"), ("path", "/login")][..],
        &[("path", "/login")],
        &[("path", "/login"), ("remote_address", "192.0.2.1"), ("user", "a")],
        &[("path", "/logout"), ("remote_address", "192.0.2.1")],
        &[("path", "/login"), ("remote_address", "192.0.2.2")],
        &[],
    ] {
        assert_eq!(stub.codes(&[descriptor(other)]), codes("OK", &["OK"]), "{other:?}");
    }
    // Two descriptors of one client in one call are two hits.
    let twice = [("user", "twice")];
    let answer =
        stub.ask(&json!({ "domain": "edge", "descriptors": [descriptor(&twice), descriptor(&twice)] }));
    let left: Vec<_> =
        answer["statuses"].as_array().unwrap().iter().map(|it| &it["limitRemaining"]).collect();
    assert_eq!(left, [&json!(8), &json!(8)]);
    // A shadow never denies.
    for _ in 0..3 {
        assert_eq!(stub.codes(&[descriptor(&[("trial", "a")])]), codes("OK", &["OK"]));
    }
}

#[tokio::test]
async fn a_wrong_call_is_refused_and_the_service_goes_on() {
    let limits = File::new("rls-wrong", LIMITS);
    let service = Service::start(&["--config", limits.path()]);
    let mut stub = Stub::of(&service);
    let user = descriptor(&[("user", "a")]);
    let many: Vec<_> = (0..101).map(|_| user.clone()).collect();
    for (call, expected) in [
        (json!({ "domain": "", "descriptors": [user] }), "must not be empty"),
        (json!({ "domain": "edge", "descriptors": [] }), "must not be empty"),
        (json!({ "domain": "edge", "descriptors": many }), "at most 100"),
        (
            json!({ "domain": "edge", "descriptors": [with(&[("user", "a")], "hitsAddend", json!("1000000001"))] }),
            "above 1000000000",
        ),
        (
            json!({ "domain": "edge", "descriptors": [with(&[("user", "a")], "isNegativeHits", json!(true))] }),
            "is_negative_hits",
        ),
        (
            json!({ "domain": "edge", "descriptors": [with(&[("user", "a")], "limit", json!({ "requestsPerUnit": 1 }))] }),
            "unknown unit 0",
        ),
    ] {
        let answer = stub.ask(&call);
        assert_eq!(answer["error"], "INVALID_ARGUMENT", "{call}: {answer}");
        assert!(answer["details"].as_str().unwrap().contains(expected), "{answer}");
    }
    assert_eq!(stub.ask(&json!({ "raw": 10 }))["error"], "INTERNAL", "no message at all");
    assert_eq!(stub.ask(&json!({ "raw": 300_000 }))["error"], "OUT_OF_RANGE", "too long a message");
    let unknown = json!({ "raw": 0, "method": "/envoy.service.ratelimit.v3.RateLimitService/Other" });
    assert_eq!(stub.ask(&unknown)["error"], "UNIMPLEMENTED");
    // The health service answers with one field, `SERVING`.
    assert_eq!(stub.ask(&json!({ "raw": 0, "method": "/grpc.health.v1.Health/Check" }))["length"], 2);
    assert_eq!(stub.codes(&[user]), codes("OK", &["OK"]));
    let unmatched = [descriptor(&[("user", "a\u{0}\n\u{1f600}")]), descriptor(&[("no", "such")])];
    assert_eq!(stub.codes(&unmatched), codes("OK", &["OK", "OK"]));
    let other = json!({ "domain": "other", "descriptors": [descriptor(&[("user", "a")])] });
    assert_eq!(stub.ask(&other)["overallCode"], "OK");

    let metrics = get(&client(false), &format!("{}/_traffik/metrics", service.gateway.url), &[]).await;
    let metrics = http_body_util::BodyExt::collect(metrics.into_body()).await.unwrap().to_bytes();
    let metrics = std::str::from_utf8(&metrics).unwrap();
    for line in ["traffik_rls_requests_total{result=\"error\"} 6", "traffik_rls_unmatched_total 2"] {
        assert!(metrics.lines().any(|it| it == line), "{line} is not in\n{metrics}");
    }
}

#[test]
fn a_store_that_fails_is_no_denial() {
    let mut redis = Redis::start();
    let throttle = |uid: &str, on_error: &str| {
        format!(
            "[[throttle]]\nuid = \"{uid}\"\nrate = \"1/h\"\nstorage = \"{}\"\non_error = \"{on_error}\"\n\
             domain = \"edge\"\ndescriptors = [{{ key = \"{uid}\" }}]\n",
            redis.url()
        )
    };
    let text = ["throttle", "allow", "fallback"].map(|it| throttle(it, it)).concat();
    let limits = File::new("rls-store", &text);
    let service = Service::start(&["--config", limits.path(), "--timeout", "1s"]);
    let mut stub = Stub::of(&service);
    let by = |key: &str, client: &str| descriptor(&[(key, client)]);
    for key in ["throttle", "allow", "fallback"] {
        assert_eq!(stub.codes(&[by(key, "a")]), codes("OK", &["OK"]));
        assert_eq!(stub.codes(&[by(key, "a")]), codes("OVER_LIMIT", &["OVER_LIMIT"]), "{key}");
    }
    redis.stop();
    let failed = stub.ask(&json!({ "domain": "edge", "descriptors": [by("throttle", "b")] }));
    assert_eq!(failed["error"], "UNAVAILABLE", "Envoy's failure_mode_deny decides: {failed}");
    for _ in 0..2 {
        assert_eq!(stub.codes(&[by("allow", "b")]), codes("OK", &["OK"]));
    }
    assert_eq!(stub.codes(&[by("fallback", "b")]), codes("OK", &["OK"]));
    // A throttle that lets pass takes no part; the others decide.
    assert_eq!(
        stub.codes(&[by("allow", "b"), by("fallback", "b")]),
        codes("OVER_LIMIT", &["OK", "OVER_LIMIT"])
    );
    let asks = with(&[("throttle", "b")], "hitsAddend", json!("0"));
    let failed = stub.ask(&json!({ "domain": "edge", "descriptors": [asks] }));
    assert_eq!(failed["error"], "UNAVAILABLE", "{failed}");
}

/// Without a file, the limit of the command line holds for the client's address in any domain.
#[tokio::test]
async fn the_command_line_is_offered_too() {
    let service = Service::start(&["--rate", "2/w", "--exempt", "192.0.2.0/24"]);
    let mut stub = Stub::of(&service);
    let address = |address: &str| descriptor(&[("remote_address", address)]);
    let any = json!({ "domain": "any", "descriptors": [address("127.0.0.1")] });
    assert_eq!(stub.ask(&any)["overallCode"], "OK");
    assert_eq!(get(&client(false), &service.gateway.url, &[]).await.status(), 200);
    assert_eq!(get(&client(false), &service.gateway.url, &[]).await.status(), 429);
    assert_eq!(stub.ask(&any)["overallCode"], "OVER_LIMIT");
    for _ in 0..3 {
        assert_eq!(stub.codes(&[address("192.0.2.7")]), codes("OK", &["OK"]), "exempt");
    }
    let _ = stub.codes(&[address("garbage"), address("garbage")]);
    assert_eq!(stub.codes(&[address("garbage")]), codes("OVER_LIMIT", &["OVER_LIMIT"]));
    let by_key = Service::start(&["--rate", "1/w", "--key", "peer", "--key", "header:x-user"]);
    let both = descriptor(&[("remote_address", "127.0.0.1"), ("x-user", "ann")]);
    assert_eq!(Stub::of(&by_key).codes(&[both]), codes("OK", &["OK"]));
    let through_proxy = get(&client(false), &by_key.gateway.url, &[("x-user", "ann")]).await;
    assert_eq!(through_proxy.status(), 429, "the header and the entry are one client");
}

#[test]
fn wrong_descriptors_are_refused_with_the_line() {
    for (keys, expected) in [
        ("domain = \"edge\"", "domain and descriptors go together"),
        ("descriptors = [{ key = \"a\" }]", "domain and descriptors go together"),
        ("domain = \"edge\"\ndescriptors = []", "the list is empty"),
        ("domain = \"edge\"\ndescriptors = [{ key = \"\" }]", "empty key"),
        ("domain = \"edge\"\ndescriptors = [{ value = \"a\" }]", "missing field `key`"),
        (
            "domain = \"edge\"\ndescriptors = [{ key = \"a\" }]\nkey = [\"peer\", \"header:a\"]",
            "key has 2 parts, and 1",
        ),
        ("domain = \"edge\"\ndescriptors = [{ key = \"a\" }]\nrules = { path = \"/\" }", "needs key"),
        (
            "domain = \"edge\"\ndescriptors = [{ key = \"a\" }]\ncount = \"status >= 400\"",
            "which a rate limit service never sees",
        ),
        (
            "domain = \"edge\"\ndescriptors = [{ key = \"a\" }]\nstrategy = \"leaky-bucket-queue\"",
            "write leaky-bucket",
        ),
    ] {
        let limits =
            File::new("rls-refused", &format!("[[throttle]]\nuid = \"a\"\nrate = \"1/s\"\n{keys}\n"));
        let error = refused(&["--config", limits.path(), "--rls", "127.0.0.1:0", "--check"]);
        assert!(error.contains(expected) && error.contains("line"), "{keys}: {error}");
    }
    let none = File::new("rls-none", "[[throttle]]\nuid = \"a\"\nrate = \"1/s\"\n");
    let error = refused(&["--config", none.path(), "--rls", "127.0.0.1:0"]);
    assert!(error.contains("no throttle of --config") && error.contains("descriptors = ["), "{error}");
    let queue = ["--rls", "127.0.0.1:0", "--strategy", "leaky-bucket-queue"];
    assert!(refused(&queue).contains("write --strategy leaky-bucket"));
    assert!(refused(&["--rls", "nowhere"]).contains("write an address and a port"));
    assert!(refused(&["--rls-config", "a.yaml"]).contains("--rls"));
}
