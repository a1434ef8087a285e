//! Throttles from a file: its keys, its errors and its reload.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::heard::{Heard, heard, record};
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

/// Waits until the condition holds, for at most ten seconds.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < Duration::from_secs(10), "the condition did not hold within ten seconds");
        tokio::task::yield_now().await;
    }
}

/// The log's words about a throttle that starts over.
const STARTS_OVER: &str =
    "a: starts over with empty counts: its storage, keys, rates or strategy differ too much";

/// The log of a gateway that reloads a file.
struct Said(Heard);

impl Said {
    /// Starts a gateway with a file and captures its log.
    fn start(file: &File, options: &[&str]) -> (Gateway, Self) {
        let (gateway, log) = heard(&[&["--config", file.path()], options].concat());
        (gateway, Self(log))
    }

    /// Writes the file and returns the log of its reload.
    fn after(&mut self, file: &File, text: &str) -> String {
        file.write(text);
        let line = self.0.line(file.path());
        let (level, words) = record(&line);
        if level == "ERROR" {
            self.0.line("    the previous configuration stays in use");
        }
        words.to_owned()
    }
}

/// Returns the number of eight requests that pass.
async fn pass(gateway: &Gateway) -> usize {
    let (client, mut passed) = (client(false), 0);
    for _ in 0..8 {
        passed += usize::from(get(&client, &gateway.url, &[]).await.status() == 200);
    }
    passed
}

/// A refused file changes nothing, not even by its correct throttles.
#[tokio::test]
async fn a_file_that_is_refused_forgets_nothing() {
    let good = "[[throttle]]\nuid = \"a\"\nrate = \"3/52w\"\n";
    let file = File::new("refused", good);
    let (gateway, mut said) = Said::start(&file, &[]);
    assert_eq!(pass(&gateway).await, 3);
    let bad = "[[throttle]]\nuid = \"a\"\nrate = \"3/52w\"\nstorage = \"memory:capacity=7\"\n\
               [[throttle]]\nuid = \"my api\"\nrate = \"1/s\"\n";
    let refused = said.after(&file, bad);
    let expected = format!("--config {}: line 6: \"my api\" is no name for a throttle", file.path());
    assert!(refused.starts_with(&expected), "{refused}");
    assert_eq!(pass(&gateway).await, 0);
    assert_eq!(said.after(&file, good), format!("reloaded {}", file.path()));
    assert_eq!(pass(&gateway).await, 0, "what was used stays used");
}

/// A reload keeps the counts, or logs that it cannot.
#[tokio::test]
async fn what_was_used_stays_used_or_it_is_said() {
    let of = |lines: &str| format!("[[throttle]]\nuid = \"a\"\n{lines}\n");
    let file = File::new("used", &of("rate = \"5/52w\""));
    let (gateway, mut said) = Said::start(&file, &[]);
    assert_eq!(pass(&gateway).await, 5);
    let older = "; a: counts of clients that sent no request since the previous change of strategy are lost";
    for (lines, passed, more) in [
        ("rate = \"7/52w\"", 2, ""),
        // Another strategy, the same with another rate, and a third strategy whose state is a level, too.
        ("rate = \"9/52w\"\nstrategy = \"token-bucket\"", 2, ""),
        ("rate = \"10/52w\"\nstrategy = \"token-bucket\"", 1, ""),
        ("rate = \"12/52w\"\nstrategy = \"gcra:burst=12\"", 2, ""),
        // The state of a queue is more than a level.
        ("rate = \"12/52w\"\nstrategy = \"leaky-bucket-queue:queue=0\"", 0, older),
        // A larger capacity, and a smaller one.
        ("rate = \"13/52w\"\nstrategy = \"gcra:burst=13\"\nstorage = \"memory:capacity=200000\"", 1, older),
        ("rate = \"15/52w\"\nstorage = \"memory:capacity=50,full=refuse\"", 2, older),
    ] {
        assert_eq!(
            said.after(&file, &of(lines)),
            format!("reloaded {}; changed a{more}", file.path()),
            "{lines}"
        );
        assert_eq!(pass(&gateway).await, passed, "{lines}");
    }
    for lines in [
        "rates = [\"3/52w\", \"50/52w\"]",
        "rate = \"3/52w\"",
        "rate = \"3/52w\"\nstrategy = \"sliding-log\"",
        "rate = \"3/52w\"\nkey = \"header:x-user\"",
    ] {
        let expected = format!("reloaded {}; changed a; {STARTS_OVER}", file.path());
        assert_eq!(said.after(&file, &of(lines)), expected, "{lines}");
        assert_eq!(pass(&gateway).await, 3, "{lines}");
    }
    // A new throttle has no counts to lose, so the log names none.
    let more =
        of("rate = \"3/52w\"\nkey = \"header:x-user\"") + "[[throttle]]\nuid = \"b\"\nrate = \"1/s\"\n";
    assert_eq!(said.after(&file, &more), format!("reloaded {}; added b", file.path()));
}

/// On a shared store a change of rate keeps the counts, and a change of strategy starts over.
#[tokio::test]
async fn what_is_kept_on_a_store_is_said_too() {
    let redis = traffik_test_support::servers::Redis::start();
    let of = |lines: &str| {
        format!(
            "[[throttle]]\nuid = \"a\"\nstorage = \"{}\"\non_error = \"fallback\"\n{lines}\n",
            redis.url()
        )
    };
    let file = File::new("shared", &of("rate = \"5/52w\""));
    let (gateway, mut said) = Said::start(&file, &["--timeout", "5s"]);
    assert_eq!(pass(&gateway).await, 5);
    assert_eq!(said.after(&file, &of("rate = \"7/52w\"")), format!("reloaded {}; changed a", file.path()));
    assert_eq!(pass(&gateway).await, 2);
    let anew = format!("reloaded {}; changed a; {STARTS_OVER}", file.path());
    let bucket = of("rate = \"7/52w\"\nstrategy = \"token-bucket\"");
    assert_eq!(said.after(&file, &bucket), anew);
    assert_eq!(pass(&gateway).await, 7);
    // All buckets read each other's states.
    let other = of("rate = \"7/52w\"\nstrategy = \"priority(low=50%)/gcra:burst=9\"");
    assert_eq!(said.after(&file, &other), anew, "in a wrapper it is another size");
    assert_eq!(pass(&gateway).await, 8, "one more would have passed");
    let other = of("rate = \"7/52w\"\nstrategy = \"tiered(free=1)/leaky-bucket:capacity=11\"");
    assert_eq!(said.after(&file, &other), format!("reloaded {}; changed a", file.path()));
    assert_eq!(pass(&gateway).await, 3);
    let queue = of("rate = \"7/52w\"\nstrategy = \"tiered(free=1)/leaky-bucket-queue:queue=0\"");
    assert_eq!(said.after(&file, &queue), anew, "a queue keeps more than a level");
    assert_eq!(pass(&gateway).await, 1);
    assert_eq!(said.after(&file, &of("rates = [\"7/52w\", \"9/52w\"]")), anew);
    assert_eq!(pass(&gateway).await, 7);
}

#[tokio::test]
async fn it_is_read_anew_and_what_was_used_stays_used() {
    let file = File::new("anew", "[[throttle]]\nuid = \"a\"\nrate = \"3/w\"\n");
    let gateway = Gateway::start(&["--config", file.path()]);
    let client = client(false);
    let limit = async || {
        let path = format!("{}/_traffik/stat?key=127.0.0.1", gateway.url);
        let stat =
            http_body_util::BodyExt::collect(get(&client, &path, &[]).await.into_body()).await.unwrap();
        let stat: serde_json::Value = serde_json::from_slice(&stat.to_bytes()).unwrap();
        let figures = &stat["throttles"][0]["policies"][0]["figures"];
        (
            figures["current_count"].clone(),
            figures["limit"].clone(),
            stat["throttles"].as_array().unwrap().len(),
        )
    };
    for _ in 0..2 {
        assert_eq!(get(&client, &gateway.url, &[]).await.status(), 200);
    }
    assert_eq!(limit().await.0, 2);
    let two = "[[throttle]]\nuid = \"a\"\nrate = \"4/w\"\n[[throttle]]\nuid = \"b\"\nrate = \"9/w\"\n";
    file.write(two);
    until(async || limit().await.2 == 2).await;
    assert_eq!(limit().await.0, 2, "what was used stays used");
    // A bad file changes nothing, also on SIGHUP.
    file.write("[[throttle]]\nuid = \"a\"\nrate = \"never\"\n");
    gateway.signal("HUP");
    for expected in [200, 200, 429] {
        assert_eq!(get(&client, &gateway.url, &[]).await.status(), expected);
    }
    assert_eq!(limit().await.2, 2);
    file.write("[[throttle]]\nuid = \"a\"\nrate = \"5/w\"\n");
    gateway.signal("HUP");
    until(async || limit().await.2 == 1).await;
    assert_eq!(get(&client, &gateway.url, &[]).await.status(), 200);
    assert_eq!(get(&client, &gateway.url, &[]).await.status(), 429);
}
