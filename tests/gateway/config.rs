//! Throttles out of a file: what it can say, what is wrong with it, and that it is read anew.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Gateway, client, get, program, refused};

/// A file that is gone when dropped.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("traffik-{}-{name}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn write(&self, text: &str) {
        // In one step, so that nobody reads half of it.
        let new = self.0.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(new, &self.0).unwrap();
    }

    fn path(&self) -> &str {
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

#[test]
fn it_is_checked_without_serving() {
    let file = File::new("check", FILE);
    let check = |options: &[&str]| {
        let output = Command::new(program()).arg("--check").args(options).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let told = check(&["--config", file.path()]);
    for line in [
        "all: 6/1w, fixed-window, by peer, in memory for 100000",
        "logins: 2/1w and 9/52w, token-bucket, by peer and header:x-user, in memory for 100000, for POST|PUT /login",
        "files: 10/1w, fixed-window, by peer, in memory for 100000, cost 5, for /files/*, for /blobs/{name}",
        "trial: 1/1w, fixed-window, by peer, in memory for 100000, all pass if the store fails, as a shadow",
    ] {
        let line = line.replace("1w", "w");
        assert!(told.lines().any(|it| it.replace("1w", "w") == line), "{line}\n{told}");
    }
    let told = check(&["--rate", "7/s", "--strategy", "gcra:burst=3", "--cost-header", "x-cost"]);
    assert!(told.contains(", gcra:burst=3, by peer, in memory for 100000, cost in x-cost"), "{told}");
}

#[test]
fn a_bad_file_is_refused_with_its_line() {
    let throttle = |lines: &str| format!("[[throttle]]\nuid = \"a\"\n{lines}");
    for (text, told) in [
        (String::new(), "there is no [[throttle]] in it"),
        ("[[throttle]]\nrate = \"1/s\"\n".to_owned(), "missing field `uid`"),
        (throttle(""), "line 2: it has no rate; write rate = \"100/min\""),
        (throttle("rate = \"1/s\"\nrates = [\"1/s\"]"), "line 2: it has both rate and rates"),
        (throttle("\nrate = \"5/1.5s\""), "line 4"),
        (throttle("rate = \"5/1.5s\""), "write 1500ms for 1.5s"),
        (throttle("rate = \"1/s\"\nstrategy = \"leaky\""), "there is no strategy \"leaky\""),
        (throttle("rate = \"100000/s\"\n\nstrategy = \"sliding-log\""), "line 5: --rate 100000/s"),
        (throttle("rate = \"1/s\"\nstorage = \"etcd:\""), "the storages are"),
        (throttle("rate = \"1/s\"\nheaders = \"draft99\""), "write draft10"),
        (throttle("rate = \"1/s\"\nburst = 3"), "unknown field `burst`"),
        (
            throttle("rate = \"1/s\"\ncost = 1\ncost-header = \"x\""),
            "line 2: it has both cost and cost-header",
        ),
        (
            throttle("rate = \"1/s\"\n[[throttle]]\nuid = \"a\"\nrate = \"1/s\""),
            "line 5: a throttle named \"a\" stands above",
        ),
        (throttle("rate = \"1/s\"\nuid = \"b\""), "duplicate key"),
        ("[[throttle]]\nuid = \"a b\"\nrate = \"1/s\"".to_owned(), "is no name for a throttle"),
        ("nonsense".to_owned(), "line 1"),
    ] {
        let file = File::new("bad", &text);
        let error = refused(&["--config", file.path()]);
        assert!(
            error.contains(told) && error.contains(file.path()) != told.contains("no name for"),
            "{text}\n{error}"
        );
    }
}

/// Until it is so, or ten seconds are over.
async fn until(mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < Duration::from_secs(10), "it does not come to be");
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn it_is_read_anew_and_what_was_used_stays_used() {
    let file = File::new("anew", "[[throttle]]\nuid = \"a\"\nrate = \"3/w\"\n");
    let gateway = Gateway::start(&["--config", file.path()]);
    let client = client(false);
    let limit = async || {
        let path = format!("{}/_traffik/stat?key=127.0.0.1", gateway.url);
        let told =
            http_body_util::BodyExt::collect(get(&client, &path, &[]).await.into_body()).await.unwrap();
        let told: serde_json::Value = serde_json::from_slice(&told.to_bytes()).unwrap();
        let figures = &told["throttles"][0]["policies"][0]["figures"];
        (
            figures["current_count"].clone(),
            figures["limit"].clone(),
            told["throttles"].as_array().unwrap().len(),
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
    // A bad one changes nothing, also when told to look.
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
