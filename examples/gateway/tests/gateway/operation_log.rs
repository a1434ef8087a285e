//! The log: its forms, its levels, the denials in it, and readers that fail or stop reading.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write, pipe};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use traffik_test_support::program::Program;
use traffik_test_support::servers::{Redis, free_port};

use super::config::File;
use super::failure::{figure, until_true};
use super::heard::{heard, record};
use super::own::body;
use super::{Gateway, PROGRAM, client, get, refused};

#[tokio::test]
async fn the_log_has_the_start_each_client_denied_and_the_end() {
    let (gateway, mut log) = heard(&["--rate", "1/w", "--key", "header:x-key", "--headers", "none"]);
    let line = log.line("listening on");
    let (level, words) = record(&line);
    assert_eq!(level, "INFO");
    assert!(words.starts_with(&format!("listening on {}", gateway.url)), "{words}");
    assert!(words.contains(&format!("version=\"{}\"", env!("CARGO_PKG_VERSION"))), "{words}");
    let throttle = log.line("throttle gateway: ");
    assert!(throttle.contains("1/w, fixed-window, by header:x-key, in memory for 100000 keys"), "{throttle}");
    let http = client(false);
    for key in ["ann", "bob"] {
        for _ in 0..5 {
            get(&http, &gateway.url, &[("x-key", key)]).await;
        }
    }
    let rest = log.rest(gateway);
    // The first digits that `printf ann | sha256sum` prints.
    for hash in ["49915e0d", "81b637d8"] {
        let denied = format!(" INFO denied throttle=\"gateway\" client=\"key {hash}\"");
        assert_eq!(rest.matches(&denied).count(), 1, "{rest}");
    }
    assert!(!rest.contains("ann") && !rest.contains("bob"), "{rest}");
    assert!(rest.contains(" INFO shutting down on SIGTERM"), "{rest}");
    assert!(rest.trim_end().ends_with(" INFO stopped"), "{rest}");
}

/// A flood of clients writes sixty lines, and one with the number of denials that have no line.
#[tokio::test]
async fn a_flood_of_clients_does_not_flood_the_log() {
    let (gateway, log) =
        heard(&["--rate", "1/w", "--key", "header:x-key", "--headers", "none", "--log", "json"]);
    let http = client(false);
    for key in 0..100 {
        for _ in 0..3 {
            get(&http, &gateway.url, &[("x-key", &format!("client {key}"))]).await;
        }
    }
    let rest = log.rest(gateway);
    let records: Vec<Value> = rest.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let denied = records.iter().filter(|it| it["message"] == "denied");
    assert_eq!(denied.clone().count(), 60, "{rest}");
    assert!(denied.clone().all(|it| it["level"] == "INFO" && it["throttle"] == "gateway"), "{rest}");
    let left_out =
        records.iter().find(|it| it["message"].as_str().unwrap().contains("not logged one by one"));
    // 40 clients more, each denied twice.
    assert_eq!(left_out.unwrap()["count"], 80, "{rest}");
}

/// Each line of the JSON form is one object, whatever clients and files write.
#[tokio::test]
async fn lines_of_json_are_read_one_by_one() {
    let file = File::new("a \"quoted\"\nname", "[[throttle]]\nuid = \"a\"\nrate = \"1/w\"\n");
    let (gateway, mut log) = heard(&["--config", file.path(), "--log", "json"]);
    let http = client(false);
    for _ in 0..3 {
        get(&http, &gateway.url, &[]).await;
    }
    file.write("[[throttle]]\nuid = \"a\"\nrate = \"ne\\\"ver\"\n");
    let refused: Value = serde_json::from_str(&log.line("stays in use")).unwrap();
    assert_eq!(refused["level"], "ERROR");
    assert!(refused["message"].as_str().unwrap().contains("line 3"), "{refused}");
    assert!(figure(&body(&gateway, "metrics").await, "traffik_reloads_total{result=\"refused\"}") >= 1);
    for line in log.rest(gateway).lines() {
        let record: Value = serde_json::from_str(line).expect(line);
        assert!(record["timestamp"].is_string() && record["message"].is_string(), "{line}");
    }
}

#[tokio::test]
async fn a_store_that_is_lost_and_back_has_two_lines() {
    let mut redis = Redis::options().password("secret").start();
    let url = redis.url();
    let (gateway, mut log) = heard(&["--storage", &url, "--timeout", "200ms", "--log", "json"]);
    let http = client(false);
    assert_eq!(get(&http, &gateway.url, &[]).await.status(), 200);
    redis.kill();
    for _ in 0..20 {
        assert_eq!(get(&http, &gateway.url, &[]).await.status(), 503);
    }
    let lost = log.line("\"WARN\"");
    assert!(lost.contains(&format!("Redis at {}: ", redis.address())), "{lost}");
    redis.start_again();
    until_true("the store is back", async || get(&http, &gateway.url, &[]).await.status() == 200).await;
    // A fault is over when a second has passed without a failure.
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1_500) {
        get(&http, &gateway.url, &[]).await;
    }
    let back = log.line("answers again, after");
    assert!(back.contains("\"INFO\"") && back.contains(&redis.address().to_string()), "{back}");
    let rest = log.rest(gateway);
    assert!(!rest.contains("\"WARN\""), "{rest}");
    assert!(![lost, back, rest].iter().any(|it| it.contains("secret")), "no secrets");
}

#[tokio::test]
async fn the_level_chooses_the_lines() {
    for (level, has_start, has_garbage) in
        [("error", false, false), ("warn", false, false), ("info", true, false), ("debug", true, true)]
    {
        let (gateway, log) = heard(&["--log-level", level]);
        garbage(&gateway);
        let rest = log.rest(gateway);
        assert_eq!(rest.contains("listening on"), has_start, "{level}: {rest}");
        assert_eq!(rest.contains(" DEBUG a connection failed: "), has_garbage, "{level}: {rest}");
    }
    assert!(refused(&["--log", "xml"]).contains("[possible values: text, json]"));
    assert!(refused(&["--log-level", "loud"]).contains("[possible values: error, warn, info, debug]"));
}

/// Sends a request that is none, and waits until the gateway has closed the connection.
fn garbage(gateway: &Gateway) {
    let mut client = TcpStream::connect(gateway.address()).unwrap();
    client.write_all(b"\x01\x02\r\n\r\n").unwrap();
    // It may end with a reset as well.
    let _ = client.read_to_end(&mut Vec::new());
}

/// A reader of the log that does not read delays no request. Lines that find no room are counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_stops_reading_delays_no_request() {
    let (reader, mut writer) = pipe().unwrap();
    // As many bytes as a pipe holds, so that the first line of the gateway blocks.
    writer.write_all(&[b'\n'; 65_536]).unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["--listen", "127.0.0.1:0", "--log-level", "debug"]).stderr(writer);
    let mut gateway = Gateway(Program::run(command));
    let http = client(false);
    let left_out = async || figure(&body(&gateway, "metrics").await, "traffik_log_lines_left_out_total");
    until_true("the queue is full", async || {
        (0..100).for_each(|_| garbage(&gateway));
        let began = Instant::now();
        assert!(get(&http, &gateway.url, &[]).await.status().as_u16() > 0);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        left_out().await > 0
    })
    .await;
    let mut lines = BufReader::new(reader).lines().map(Result::unwrap);
    let notice = lines.find(|line| line.contains("lines of the log left out")).unwrap();
    assert_eq!(record(&notice).0, "WARN");
    let count: usize = notice.rsplit_once("count=").unwrap().1.parse().unwrap();
    assert!(count > 0 && count <= left_out().await, "{notice}");
    drop(lines);
    gateway.signal("TERM");
    assert_eq!(gateway.process.wait().unwrap().code(), Some(0));
}

/// A gateway whose log nobody reads still ends.
#[tokio::test]
async fn a_reader_that_stops_reading_does_not_delay_the_end() {
    let (_reader, mut writer) = pipe().unwrap();
    writer.write_all(&[b'\n'; 65_536]).unwrap();
    let mut command = Command::new(PROGRAM);
    command.args(["--listen", "127.0.0.1:0"]).stderr(writer);
    let mut gateway = Gateway(Program::run(command));
    assert_eq!(get(&client(false), &gateway.url, &[]).await.status(), 200);
    gateway.signal("TERM");
    let mut status = None;
    until_true("the gateway ends", async || {
        status = gateway.process.try_wait().unwrap();
        status.is_some()
    })
    .await;
    assert_eq!(status.unwrap().code(), Some(0));
}

/// Neither a closed pipe nor a full disk for its output stops the gateway.
#[tokio::test]
async fn broken_outputs_stop_nothing() {
    let full = || Stdio::from(OpenOptions::new().write(true).open("/dev/full").unwrap());
    let closed = || Stdio::from(pipe().unwrap().1);
    for (name, output) in [("full", &full as &dyn Fn() -> Stdio), ("closed", &closed)] {
        let address = format!("127.0.0.1:{}", free_port());
        let mut command = Command::new(PROGRAM);
        command.args(["--listen", &address, "--rate", "2/w", "--log-level", "debug"]);
        let process = command.stdout(output()).stderr(output()).spawn().unwrap();
        let mut gateway = Gateway(Program { process, url: format!("http://{address}") });
        until_true(name, async || TcpStream::connect(&address).is_ok()).await;
        let http = client(false);
        for status in [200, 200, 429, 429] {
            assert_eq!(get(&http, &gateway.url, &[]).await.status(), status, "{name}");
        }
        gateway.signal("TERM");
        assert_eq!(gateway.process.wait().unwrap().code(), Some(0), "{name}");
        // An error has its exit status although nobody can read it, and a check its own.
        for (options, code) in [(&["--rate", "1/w", "--config", "/"][..], 2), (&["--check"], 0)] {
            let mut command = Command::new(PROGRAM);
            let status = command.args(options).stdout(output()).stderr(output()).status().unwrap();
            assert_eq!(status.code(), Some(code), "{name} {options:?}");
        }
    }
}
