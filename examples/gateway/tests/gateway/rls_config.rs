//! Limits in the format of Envoy's own rate limit service.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use traffik_test_support::servers::until;

use super::refused;
use super::rls::Service;
use super::rls_messages::{Stub, descriptor};

/// A directory of files, removed when dropped.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let path = std::env::temp_dir().join(format!("traffik-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let directory = Self(path);
        files.iter().for_each(|(name, text)| directory.write(name, text));
        directory
    }

    fn write(&self, name: &str, text: &str) {
        // A rename is atomic, so the gateway never reads half a file.
        std::fs::write(self.0.join("new"), text).unwrap();
        std::fs::rename(self.0.join("new"), self.0.join(name)).unwrap();
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const LIMITS: &str = r#"
domain: edge
descriptors:
  - key: path
    value: /login
    rate_limit: { unit: Hour, requests_per_unit: 2, name: logins }
    descriptors:
      - key: remote_address
        rate_limit: { unit: day, requests_per_unit: 1 }
  - key: path
    value: /api/*
    rate_limit: { unit: month, requests_per_unit: 1 }
    detailed_metric: true
  - key: path
    value: /static/*
    share_threshold: true
    rate_limit: { unit: year, requests_per_unit: 1 }
  - key: path
    rate_limit: { unit: week, requests_per_unit: 3 }
  - key: user
    value: root
    rate_limit: { unlimited: true }
  - key: user
    shadow_mode: true
    rate_limit: { unit: hour, requests_per_unit: 1 }
  - key: plan
    rate_limit: { unit: hour, requests_per_unit: 5, replaces: [{ name: logins }] }
  - key: closed
    rate_limit: { unit: second, requests_per_unit: 0 }
"#;

#[test]
fn limits_mean_what_they_mean_to_envoys_own_service() {
    let directory = Directory::new("rls-limits", &[("edge.yaml", LIMITS), ("notes.txt", "no limits")]);
    let service = Service::start(&["--rls-config", directory.path()]);
    let mut stub = Stub::of(&service);
    let mut passing = |entries: &[(&str, &str)]| {
        let call = [descriptor(entries)];
        (0..10).take_while(|_| stub.codes(&call).0 == "OK").count()
    };
    let of = |path: &'static str| [("path", path)];
    assert_eq!(passing(&of("/login")), 2);
    assert_eq!(passing(&[("path", "/login"), ("remote_address", "192.0.2.1")]), 1);
    assert_eq!(passing(&[("path", "/login"), ("remote_address", "192.0.2.2")]), 1);
    // Each value of a prefix has its own count, unless they share one.
    assert_eq!([passing(&of("/api/a")), passing(&of("/api/b"))], [1, 1]);
    assert_eq!([passing(&of("/static/a")), passing(&of("/static/b"))], [1, 0]);
    assert_eq!([passing(&of("/a")), passing(&of("/b"))], [3, 3]);
    assert_eq!([passing(&[("user", "root")]), passing(&[("user", "ann")])], [10, 10]);
    assert_eq!(passing(&[("closed", "x")]), 0);
    // Entries are looked up one by one, and the most specific one of each is taken.
    assert_eq!(passing(&[("path", "/api/a"), ("remote_address", "192.0.2.1")]), 10);

    // A limit that replaces another one is counted instead.
    let call =
        json!({ "domain": "edge", "descriptors": [descriptor(&of("/login")), descriptor(&[("plan", "a")])] });
    let answer = stub.ask(&call);
    assert_eq!((&answer["overallCode"], &answer["statuses"][0]), (&json!("OK"), &json!({ "code": "OK" })));
    assert_eq!(answer["statuses"][1]["limitRemaining"], 4);
    let denied = stub.ask(&json!({ "domain": "edge", "descriptors": [descriptor(&of("/login"))] }));
    assert_eq!(
        denied["statuses"][0]["currentLimit"],
        json!({ "name": "logins", "requestsPerUnit": 2, "unit": "HOUR" })
    );
    let unlimited = stub.ask(&json!({ "domain": "edge", "descriptors": [descriptor(&[("user", "root")])] }));
    assert_eq!(unlimited["statuses"][0]["limitRemaining"], u32::MAX);
}

#[test]
fn another_strategy_and_a_change_of_the_file() {
    let file = |limit: u32| {
        format!(
            "domain: edge\ndescriptors:\n- key: a\n  rate_limit: {{ unit: week, requests_per_unit: {limit} }}\n"
        )
    };
    let directory = Directory::new("rls-change", &[("a.yml", &file(1))]);
    let service = Service::start(&["--rls-config", directory.path(), "--strategy", "token-bucket:burst=5"]);
    let mut stub = Stub::of(&service);
    let by = |client: &str| [descriptor(&[("a", client)])];
    let mut passing = |client: &str| (0..10).take_while(|_| stub.codes(&by(client)).0 == "OK").count();
    assert_eq!(passing("a"), 5);
    directory.write("b.yaml", &file(7).replace("key: a", "key: b"));
    let mut other = Stub::of(&service);
    until(Duration::from_secs(10), "the new file is read", || {
        let answer = other.ask(&json!({ "domain": "edge", "descriptors": [descriptor(&[("b", "x")])] }));
        answer["statuses"][0]["currentLimit"]["requestsPerUnit"] == 7
    });
    assert_eq!(passing("a"), 0, "counts survive the change");
    // A file with an error changes nothing; the next one that is right does.
    directory.write("b.yaml", "domain: edge\ndescriptors: 7\n");
    directory.write("a.yml", &file(9));
    service.gateway.signal("HUP");
    assert_eq!(passing("b"), 5);
    directory.write("b.yaml", &file(8).replace("key: a", "key: b"));
    until(Duration::from_secs(10), "the files are read again", || {
        let answer = other.ask(&json!({ "domain": "edge", "descriptors": [descriptor(&[("b", "x")])] }));
        answer["statuses"][0]["currentLimit"]["requestsPerUnit"] == 8
    });
}

#[test]
fn wrong_limits_are_refused_with_the_file_and_the_cure() {
    let limits = |descriptor: &str| format!("domain: edge\ndescriptors:\n- {descriptor}\n");
    let limit = |limit: &str| limits(&format!("{{ key: a, rate_limit: {limit} }}"));
    for (text, expected) in [
        ("descriptors: []".to_owned(), "missing field `domain`"),
        ("domain: ''".to_owned(), "the domain is empty"),
        ("domain: [".to_owned(), "line"),
        (limits("{ key: '' }"), "empty key"),
        (limits("{ key: a, vlaue: b }"), "line 3"),
        (limits("{ key: a, quota_mode: true }"), "quota_mode is not supported"),
        (limits("{ key: a, value: b, share_threshold: true }"), "ends in *"),
        (
            limit("{ unit: fortnight, requests_per_unit: 1 }"),
            "edge:a: \"fortnight\" is not a unit; the units are second",
        ),
        (limit("{ unit: hour }"), "needs unit"),
        (limit("{ requests_per_unit: 1 }"), "needs unit"),
        (limit("{ unit: hour, requests_per_unit: -1 }"), "line 3"),
        (limit("{ unlimited: true, unit: hour }"), "excludes unit"),
        (
            limits(
                "{ key: a, rate_limit: { unlimited: true } }\n- { key: a, rate_limit: { unlimited: true } }",
            ),
            "has a limit already",
        ),
    ] {
        let directory = Directory::new("rls-wrong", &[("edge.yaml", &text)]);
        let error = refused(&["--rls", "127.0.0.1:0", "--rls-config", directory.path(), "--check"]);
        assert!(error.contains(expected) && error.contains("edge.yaml"), "{text}: {error}");
    }
    let empty = Directory::new("rls-empty", &[]);
    for (path, expected) in
        [(empty.path(), ".yaml or .yml"), ("/no/such", "No such file"), ("/dev/zero", "name a regular file")]
    {
        let error = refused(&["--rls", "127.0.0.1:0", "--rls-config", path]);
        assert!(error.contains(expected) && error.contains(path), "{path}: {error}");
    }
}
