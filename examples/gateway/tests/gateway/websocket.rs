//! WebSockets at `/ws`, seen by Python's `websockets`.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use traffik_test_support::folder;

use super::{Gateway, curl, refused};

/// Runs the check of this name in `websocket.py`.
fn client(gateway: &Gateway, question: &str) -> Command {
    let python = folder::target().join("python/bin/python3");
    assert!(python.exists(), "it must be there: scripts/install python3=python3 python:websockets==VERSION");
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateway/websocket.py");
    let mut command = Command::new("timeout");
    command.arg("60").arg(python).arg(program).args([&format!("ws://{}/ws", gateway.address()), question]);
    command
}

fn ask(options: &[&str], question: &str) {
    let gateway = Gateway::start(options);
    let output = client(&gateway, question).output().unwrap();
    assert!(output.status.success(), "{question}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_handshake_is_limited_as_a_request() {
    ask(&["--rate", "2/w", "--ws-rate", "100/s"], "handshake");
}

#[test]
fn messages_beyond_the_limit_are_dropped_and_told_once() {
    ask(&["--ws-rate", "3/w"], "message");
    ask(&["--ws-rate", "3/w", "--strategy", "gcra:burst=3", "--ws-action", "message"], "message");
    ask(&["--ws-rate", "3/w", "--strategy", "sliding-log"], "message");
}

#[test]
fn a_connection_is_closed_beyond_the_limit() {
    ask(&["--ws-rate", "3/w", "--ws-action", "close"], "close");
}

#[test]
fn messages_beyond_the_limit_wait() {
    ask(&["--ws-rate", "5/s", "--strategy", "token-bucket:burst=1", "--ws-action", "delay"], "delay");
}

#[test]
fn a_message_in_fragments_is_one() {
    ask(&["--ws-rate", "3/w"], "fragments");
}

#[test]
fn messages_of_all_sizes_and_of_no_text() {
    ask(&["--ws-rate", "3/w"], "sizes");
    ask(&[], "sizes");
}

#[test]
fn a_client_that_does_not_read_holds_nobody_up() {
    ask(&["--ws-rate", "3/w"], "unread");
}

#[test]
fn a_hundred_connections_have_a_limit_each() {
    ask(&["--rate", "1000/w", "--ws-rate", "3/w"], "many");
}

#[test]
fn open_connections_are_closed_when_the_server_ends() {
    let mut gateway = Gateway::start(&["--ws-rate", "3/w"]);
    let mut client = client(&gateway, "ending").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(client.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "open\n");
    gateway.signal("TERM");
    assert!(client.wait().unwrap().success());
    assert_eq!(gateway.process.wait().unwrap().code(), Some(0));
}

#[test]
fn messages_are_told_of_in_metrics() {
    let gateway = Gateway::start(&["--ws-rate", "3/w"]);
    assert!(client(&gateway, "message").status().unwrap().success());
    let metrics = curl(&[&format!("{}/_traffik/metrics", gateway.url)]);
    for (result, number) in [("allowed", 6), ("denied", 400)] {
        let line = format!("traffik_requests_total{{throttle=\"messages\",result=\"{result}\"}} {number}\n");
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

#[test]
fn whoever_wants_no_websocket_is_told_what_is_there() {
    let gateway = Gateway::start(&[]);
    let reply = curl(&["--include", &format!("{}/ws", gateway.url)]);
    assert!(reply.starts_with("HTTP/1.1 426") && reply.contains("upgrade: websocket"), "{reply}");
    let head = ["--include", "-H", "connection: upgrade", "-H", "upgrade: websocket"];
    let reply = curl(&[&head[..], &[&format!("{}/ws", gateway.url)]].concat());
    assert!(reply.starts_with("HTTP/1.1 400"), "{reply}");
}

#[test]
fn a_rate_of_messages_that_cannot_be_is_refused() {
    for (options, expected) in [
        (&["--ws-rate", "many"][..], "--ws-rate"),
        (&["--ws-rate", "100000/s", "--strategy", "sliding-log", "--rate", "1/s"], "--ws-rate 100000/s: "),
        (&["--ws-action", "close"], "--ws-rate"),
        (&["--ws-rate", "1/s", "--ws-action", "drop"], "[possible values: message, close, delay]"),
        (&["--ws-rate", "1/s", "--upstream", "http://localhost"], "cannot be used with"),
    ] {
        let error = refused(options);
        assert!(error.contains(expected), "{options:?}: {error}");
    }
}
