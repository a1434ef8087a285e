//! Throttles from a file: its keys and its errors.

use std::path::PathBuf;
use std::process::Command;

use super::{Gateway, PROGRAM, client, get, refused};

/// A temporary file, removed when dropped.
pub(super) struct File(PathBuf);

impl File {
    pub(super) fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("traffik-{}-{name}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    pub(super) fn write(&self, text: &str) {
        // A rename is atomic, so the gateway never reads half a file.
        let new = self.0.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, &self.0).unwrap();
    }

    pub(super) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

const FILE: &str = r#"
[[throttle]]
uid = "all"
rate = "6/w"

[[throttle]]
uid = "logins"
rates = ["2/w", "9/52w"]
strategy = "token-bucket"
key = ["peer", "header:x-user"]
rules = { path = "/login", methods = ["POST", "PUT"] }
headers = "x-ratelimit"

[[throttle]]
uid = "files"
rate = "10/w"
cost = 5
rules = [{ path = "/files/*" }, { path = "/blobs/{name}" }]

[[throttle]]
uid = "trial"
rate = "1/w"
shadow = true
on_error = "allow"
"#;

async fn status(gateway: &Gateway, method: &str, path: &str) -> u16 {
    let request = http::Request::builder().method(method).uri(format!("{}{path}", gateway.url));
    let request = request.body(http_body_util::Empty::new()).unwrap();
    client(false).request(request).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn all_throttles_that_match_are_one_limit() {
    let file = File::new("all", FILE);
    let gateway = Gateway::start(&["--config", file.path()]);
    let first = get(&client(false), &gateway.url, &[]).await;
    assert_eq!(
        first.headers().get("ratelimit").unwrap().to_str().unwrap().split(';').next(),
        Some("\"all\"")
    );
    for (expected, method, path) in [
        (200, "POST", "/login?a=b"),
        (200, "PUT", "/login/x"),
        (429, "POST", "/login"),
        (200, "GET", "/login"),
        (200, "GET", "/files/1"),
        (200, "GET", "/blobs/2"),
        (429, "GET", "/files/3"),
        (429, "GET", "/"),
    ] {
        assert_eq!(status(&gateway, method, path).await, expected, "{method} {path}");
    }
    let metrics = get(&client(false), &format!("{}/_traffik/metrics", gateway.url), &[]).await;
    let metrics = http_body_util::BodyExt::collect(metrics.into_body()).await.unwrap().to_bytes();
    let metrics = String::from_utf8_lossy(&metrics);
    for line in [
        r#"traffik_requests_total{throttle="all",result="allowed"} 6"#,
        r#"traffik_requests_total{throttle="logins",result="denied"} 1"#,
        r#"traffik_requests_total{throttle="trial",result="would_deny"} 5"#,
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}

/// Returns the output of a check of these options.
pub(super) fn check(options: &[&str]) -> String {
    let output = Command::new(PROGRAM).arg("--check").args(options).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn it_is_checked_without_serving() {
    let file = File::new("check", FILE);
    let printed = check(&["--config", file.path()]);
    for line in [
        "all: 6/1w, fixed-window, by peer, in memory for 100000 keys",
        "logins: 2/1w and 9/52w, token-bucket, by peer and header:x-user, in memory for 100000 keys, for POST|PUT /login",
        "files: 10/1w, fixed-window, by peer, in memory for 100000 keys, cost 5, for /files/*, for /blobs/{name}",
        "trial: 1/1w, fixed-window, by peer, in memory for 100000 keys, all pass if the store fails, as a shadow",
    ] {
        let line = line.replace("1w", "w");
        assert!(printed.lines().any(|it| it.replace("1w", "w") == line), "{line}\n{printed}");
    }
    let printed = check(&["--rate", "7/s", "--strategy", "gcra:burst=3", "--cost-header", "x-cost"]);
    assert!(
        printed.contains(", gcra:burst=3, by peer, in memory for 100000 keys, cost in x-cost"),
        "{printed}"
    );
}

/// Each plain strategy of the help works with the parameters that it requires.
#[test]
fn every_strategy_of_the_help_has_defaults() {
    let output = Command::new(PROGRAM).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let usage = help.lines().find_map(|line| line.trim().split_once("; or one of these")).unwrap().0;
    // Optional parameters stand in brackets.
    let specs = usage.split("; ").filter_map(|usage| usage.split(['[', ' ']).next());
    let listed: Vec<_> = specs.clone().filter_map(|spec| spec.split(':').next()).collect();
    let names = format!("there are {};", listed.join(", "));
    let refused = refused(&["--strategy", "another"]);
    assert!(refused.replace(" and ", ", ").contains(&names), "{names}\n{refused}");
    for spec in specs {
        for spec in [spec, &format!("tiered(free=2)/{spec}")] {
            let check = ["--check", "--rate", "5/s", "--strategy", spec];
            let output = Command::new(PROGRAM).args(check).output().unwrap();
            assert!(output.status.success(), "{spec}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// The gateway has every strategy of the library.
#[test]
fn every_strategy_can_be_had() {
    macro_rules! check {
        ($name:ident, $spelling:literal, $kind:ident, $make:expr) => {
            let check = ["--check", "--rate", "5/s", "--strategy", $spelling];
            let output = Command::new(PROGRAM).args(check).output().unwrap();
            assert!(output.status.success(), "{}: {}", $spelling, String::from_utf8_lossy(&output.stderr));
        };
    }
    traffik::every_strategy!(check);
}

#[test]
fn a_bad_file_is_refused_with_its_line() {
    let throttle = |lines: &str| format!("[[throttle]]\nuid = \"a\"\n{lines}");
    for (text, expected) in [
        (String::new(), "the file has no [[throttle]]"),
        ("[[throttle]]\nrate = \"1/s\"\n".to_owned(), "missing field `uid`"),
        (throttle(""), "line 2: the throttle has no rate; write rate = \"100/min\""),
        (throttle("rate = \"1/s\"\nrates = [\"1/s\"]"), "line 2: the throttle has both rate and rates"),
        (throttle("\nrate = \"5/1.5s\""), "line 4"),
        (throttle("rate = \"5/1.5s\""), "write 1500ms for 1.5s"),
        (throttle("rate = \"1/s\"\nstrategy = \"leaky\""), "there is no strategy \"leaky\""),
        (
            throttle("rate = \"100000/s\"\n\nstrategy = \"sliding-log\""),
            "line 5: rate 100000/s: strategy sliding-log: ",
        ),
        (throttle("rate = \"1/s\"\nstorage = \"etcd:\""), "the storages are"),
        (throttle("rate = \"1/s\"\nheaders = \"draft99\""), "write draft10"),
        (throttle("rate = \"1/s\"\nburst = 3"), "unknown field `burst`"),
        (
            throttle("rate = \"1/s\"\ncost = 1\ncost-header = \"x\""),
            "line 2: the throttle has both cost and cost-header",
        ),
        (
            throttle("rate = \"1/s\"\n[[throttle]]\nuid = \"a\"\nrate = \"1/s\""),
            "line 5: a throttle above already has the uid \"a\"",
        ),
        (throttle("rate = \"1/s\"\nuid = \"b\""), "duplicate key"),
        (
            "[[throttle]]\nrate = \"1/s\"\nuid = \"my api\"".to_owned(),
            "line 3: \"my api\" is no name for a throttle",
        ),
        (
            throttle(
                "\n\nrates = [\"1/s\", \"2/s\", \"3/s\", \"4/s\", \"5/s\", \"6/s\", \"7/s\", \"8/s\", \"9/s\"]",
            ),
            "line 5: there are 9 rates; a throttle takes at most 8",
        ),
        (
            throttle(
                "rate = \"864000000/d\"\nstrategy = \"gcra:burst=4294967295\"\non_error = \"fallback:instances=17\"",
            ),
            "line 5: on_error fallback:instances=17: ",
        ),
        (throttle("rate = \"1/s\"\n\nrules = { path = \"/a/{b\" }"), "line 5, column"),
        (throttle("rate = \"1/s\"\nrules = { path = \"/a/{b\" }"), "cannot be used"),
        (throttle("rate = \"1/s\"\nrules = [{ path = \"a\" }]"), "paths begin with a slash"),
        (throttle("rate = \"1/s\"\nkey = \"cookie\""), "the keys are peer, forwarded (X-Forwarded-For), "),
        (
            throttle("rate = \"1/s\"\nkey = [\"peer\", \"cookie\"]"),
            "the keys are peer, forwarded (X-Forwarded-For), ",
        ),
        (throttle("rate = \"1/s\"\nkey = 5"), "expected a single value or a list"),
        ("nonsense".to_owned(), "line 1"),
    ] {
        let file = File::new("bad", &text);
        let error = refused(&["--config", file.path()]);
        assert!(
            error.contains(expected) && error.contains(file.path()) && error.contains("line "),
            "{text}\n{error}"
        );
    }
}
