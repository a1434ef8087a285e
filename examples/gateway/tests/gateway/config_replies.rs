//! The replies, costs and exemptions that a file sets for a throttle.

use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use traffik_test_support::program::curl;

use super::config::{File, check};
use super::{Gateway, client, get, refused, statuses};

/// A file with one throttle of these lines.
fn throttle(name: &str, lines: &str) -> File {
    File::new(name, &format!("[[throttle]]\nuid = \"a\"\n{lines}\n"))
}

#[tokio::test]
async fn a_denial_has_the_status_body_and_headers_of_the_file() {
    for (body, content_type, expected) in [
        (
            r#"{"error":"slow down","wait":{retry_after},"of":"{policy}","by":"{uid}","left":{remaining}}"#,
            "application/json",
            r#"{"error":"slow down","wait":W,"of":"a","by":"a","left":0}"#,
        ),
        ("<p>{limit} and {status}</p>", "text/html; charset=utf-8", "<p>1 and 503</p>"),
        ("limit {limit}", "text/plain; charset=utf-8", "limit 1"),
    ] {
        let lines = format!(
            "rate = \"1/52w\"\nstatus = 503\nbody = '{body}'\ndenied_headers = {{ x-help = \"https://a.example\" }}"
        );
        let file = throttle("reply", &lines);
        let gateway = Gateway::start(&["--config", file.path()]);
        let client = client(false);
        let admitted = get(&client, &gateway.url, &[]).await;
        assert_eq!((admitted.status().as_u16(), admitted.headers().get("x-help")), (200, None));
        let denied = get(&client, &gateway.url, &[]).await;
        let header = |name| denied.headers().get(name).unwrap().to_str().unwrap().to_owned();
        assert_eq!(denied.status(), 503);
        assert_eq!(
            (header("x-help").as_str(), header("content-type").as_str()),
            ("https://a.example", content_type)
        );
        let expected = expected.replace('W', &header("retry-after"));
        let received = denied.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(received, expected);
    }
}

#[tokio::test]
async fn a_network_is_exempt_from_one_throttle() {
    let file = File::new(
        "exempt",
        "[[throttle]]\nuid = \"a\"\nrate = \"1/52w\"\nexempt = \"127.0.0.0/8\"\n\
         [[throttle]]\nuid = \"b\"\nrate = \"2/52w\"\n",
    );
    let gateway = Gateway::start(&["--config", file.path()]);
    assert_eq!(statuses(&gateway, &[("/", &[][..]); 3]).await, [200, 200, 429]);
}

/// The program without an upstream answers 200 to all, so the upstream here is a gateway that denies.
#[tokio::test]
async fn only_the_responses_that_count_are_charged() {
    let behind = throttle("behind", "rate = \"0/s\"\nstatus = 401\nrules = { path = \"/login\" }");
    let behind = Gateway::start(&["--config", behind.path()]);
    let file = throttle("count", "rate = \"2/52w\"\ncount = \"status >= 400 and status < 500\"");
    let gateway = Gateway::start(&["--config", file.path(), "--upstream", &behind.url]);
    let (good, bad) = (("/", &[][..]), ("/login", &[][..]));
    let asked = [good, good, good, bad, good, bad, good, bad];
    assert_eq!(statuses(&gateway, &asked).await, [200, 200, 200, 401, 200, 401, 429, 429]);
}

#[tokio::test]
async fn the_cost_of_a_request_is_taken_from_its_response() {
    // The body is "ok\n".
    for (cost, admitted) in [("bytes", 4), ("bytes:2", 5), ("response:x-none", 10)] {
        let file = throttle("cost-after", &format!("rate = \"10/52w\"\ncost = \"{cost}\""));
        let gateway = Gateway::start(&["--config", file.path()]);
        let mut passed = 0;
        for _ in 0..12 {
            passed += usize::from(curl(&[&gateway.url]) == "ok\n");
        }
        assert_eq!(passed, admitted, "{cost}");
    }
    let file = throttle("cost-before", "rate = \"5/52w\"\ncost = \"header:x-cost\"");
    let gateway = Gateway::start(&["--config", file.path()]);
    let three = ("/", &[("x-cost", "3")][..]);
    assert_eq!(statuses(&gateway, &[three, three]).await, [200, 429]);
}

#[tokio::test]
async fn a_limit_is_enforced_for_a_part_of_the_clients() {
    let lines = "rate = \"1/52w\"\nkey = \"header:x-user\"\nenforce = \"30%\"";
    let file = throttle("enforce", lines);
    let gateway = Gateway::start(&["--config", file.path()]);
    let client = client(false);
    let mut denied = Vec::new();
    for user in 0..60 {
        let name = user.to_string();
        let headers = [("x-user", name.as_str())];
        assert_eq!(get(&client, &gateway.url, &headers).await.status(), 200);
        denied.push(get(&client, &gateway.url, &headers).await.status() == 429);
    }
    let number = denied.iter().filter(|is_denied| **is_denied).count();
    assert!((5..35).contains(&number), "{number} of 60");
    // Another gateway chooses the same clients.
    let other = Gateway::start(&["--config", file.path()]);
    for (user, is_denied) in denied.iter().enumerate().take(10) {
        let name = user.to_string();
        let headers = [("x-user", name.as_str())];
        assert_eq!(get(&client, &other.url, &headers).await.status(), 200);
        assert_eq!(get(&client, &other.url, &headers).await.status() == 429, *is_denied);
    }
}

#[test]
fn bad_values_are_refused_with_their_line() {
    let cases = [
        ("status = 200", "status = 200 is not a status of a denial; write 400 to 599"),
        ("body = \"{retry}\"", "{retry} is not a placeholder; there are {retry_after}"),
        ("body_type = \"text/plain\"", "there is none; write body"),
        ("denied_headers = { \"x y\" = \"a\" }", "is not a header name"),
        ("denied_headers = { content-length = \"1\" }", "leave it out"),
        ("denied_headers = { content-type = \"a\" }", "write body_type"),
        ("cost = \"x\"", "\"header:x-cost\", \"response:x-tokens-used\""),
        ("cost = -1", "-1 is not a whole number"),
        ("cost = 1.5", "expected a whole number"),
        ("cost = 1979-05-27", "line 4"),
        ("cost = \"bytes:0\"", "write bytes:1024"),
        ("count = \"status => 400\"", "write \"status >= 400\""),
        ("count = \"status >= 700\"", "write 100 to 599"),
        ("count = \"status > 500 and status < 400\"", "counts no response"),
        ("count = \"status < 600\"", "write 100 to 599"),
        ("count = \"200-599\"", "counts every response"),
        ("count = \"400-499\"\ncost = \"bytes\"", "write one of them"),
        ("enforce = \"0%\"", "write \"1%\" to \"100%\""),
        ("enforce = \"101%\"", "write \"1%\" to \"100%\""),
        ("enforce = 10", "line 4"),
        ("enforce = \"5%\"\nshadow = true", "write one of them"),
        ("exempt = \"10.0.0.0/99\"", "10.0.0.0/99"),
        ("exempt = []", "the list is empty"),
        ("key = []", "the list is empty"),
        ("rules = []", "the list is empty"),
        ("ipv6_prefix = 0", "write 1 to 128"),
        ("ipv6_prefix = 129", "write 1 to 128"),
        ("key = \"path:id\"", "needs {id} in the path of each rule"),
        ("storage = \"memory:capacity=4000000000\"", "and this machine has"),
    ];
    for (lines, expected) in cases {
        let file = throttle("bad-values", &format!("rate = \"1/s\"\n{lines}"));
        let error = refused(&["--config", file.path()]);
        assert!(error.contains(expected) && error.contains("line "), "{lines}\n{error}");
        let line = if lines.contains("cost = \"bytes\"") { "line 5" } else { "line 4" };
        assert!(error.contains(line), "{lines}\n{error}");
    }
}

#[test]
fn defaults_hold_for_all_throttles() {
    let file = File::new(
        "defaults",
        "[defaults]\nkey = \"host\"\nstorage = \"memory:capacity=7\"\non_error = \"allow\"\n\
         [[throttle]]\nuid = \"a\"\nrate = \"1/s\"\n[[throttle]]\nuid = \"b\"\nrate = \"1/s\"\nkey = \"peer\"\n",
    );
    let printed = check(&["--config", file.path()]);
    for line in
        ["a: 1/s, fixed-window, by host, in memory for 7 keys, all pass", "b: 1/s, fixed-window, by peer, "]
    {
        assert!(printed.contains(line), "{printed}");
    }
}

/// Neither a pipe that nobody writes to nor an endless device may stop the program.
#[test]
fn what_is_no_whole_file_is_refused() {
    let folder = std::env::temp_dir().join(format!("traffik-{}-files", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    assert!(std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
    let large = std::fs::File::create(path("large")).unwrap();
    large.set_len(1 << 30).unwrap();
    std::fs::write(path("latin"), b"[[throttle]]\nuid = \"\xe9\"\n").unwrap();
    let began = Instant::now();
    for (path, expected) in [
        (path("pipe"), "the path names a pipe; name a regular file"),
        ("/dev/zero".to_owned(), "the path names a device"),
        (folder.to_str().unwrap().to_owned(), "the path names a directory"),
        (path("large"), "larger than 64 MiB"),
        (path("latin"), "line 2: the file is not UTF-8"),
        (path("none"), "No such file"),
    ] {
        let error = refused(&["--config", &path]);
        assert!(error.contains(expected) && error.contains(&path), "{error}");
    }
    assert!(began.elapsed() < Duration::from_secs(5));
    std::fs::remove_dir_all(folder).unwrap();
}

/// The time of this program is several times that of a release build.
#[test]
fn ten_thousand_throttles_are_checked_in_a_few_seconds() {
    use std::fmt::Write;
    let mut text = String::new();
    for number in 0..10_000 {
        write!(
            text,
            "[[throttle]]\nuid = \"t{number}\"\nrate = \"5/s\"\nstorage = \"memory:capacity=1\"\n\
             rules = {{ path = \"/p{number}\" }}\n"
        )
        .unwrap();
    }
    let file = File::new("many", &text);
    let began = Instant::now();
    assert_eq!(check(&["--config", file.path()]).lines().count(), 10_000);
    let took = began.elapsed();
    println!("10 000 throttles: {took:?}");
    assert!(took < Duration::from_secs(20), "{took:?}");
}
