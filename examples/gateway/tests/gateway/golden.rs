//! Goldens of the real program: the heads and bodies of its responses to fixed series of requests, and its
//! metrics.

use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use hyper_tungstenite::tungstenite::{self, Message};
use traffik_test_support::golden::golden;
use traffik_test_support::ledger::without_times;

use super::{Gateway, PROGRAM, Program, curl};

/// The requests and responses, with the text that differs between runs replaced by a star.
struct Record {
    text: String,
    ports: Vec<(String, &'static str)>,
}

impl Record {
    /// Starts a gateway, and records its options. With a token bucket, waits have the same number of digits
    /// on any day.
    fn start(&mut self, options: &[&str]) -> Gateway {
        let gateway = Gateway::start(&[&["--strategy", "token-bucket"], options].concat());
        self.know(&gateway.url, "PORT");
        self.line(&format!("== {}", options.join(" ")));
        gateway
    }

    /// Replaces the port of a URL by a name from now on.
    fn know(&mut self, url: &str, name: &'static str) {
        let port = url.rsplit_once(':').unwrap().1;
        self.ports.push((format!(":{port}"), name));
    }

    fn line(&mut self, line: &str) {
        let line = self.masked(line);
        writeln!(self.text, "{line}").unwrap();
    }

    /// Sends a request with these options of curl, and records the response.
    fn ask(&mut self, url: &str, path: &str, options: &[&str]) {
        self.line(&format!("> {path} {}", options.join(" ")).replace(" --", " "));
        let reply = curl(&[&["--include", "--max-time", "20", &format!("{url}{path}")], options].concat());
        let (head, body) = reply.split_once("\r\n\r\n").unwrap_or((&reply, ""));
        let is_page = head.contains("text/html");
        for line in head.lines() {
            match line.split_once(": ") {
                Some(("date", _)) => self.line("  date: *"),
                // Figures and times differ in length.
                Some(("content-length", _))
                    if path.contains("/stat") || path.ends_with("/metrics") || is_page =>
                {
                    self.line("  content-length: *");
                }
                _ => self.line(&format!("  {line}")),
            }
        }
        if is_page {
            self.line("  | a page");
        } else if path.ends_with("/metrics") {
            // The figures of the process, which differ from run to run, stand last with the keys in memory.
            let (of_throttles, _) = body.split_once("# HELP traffik_build_info").unwrap();
            without_times(of_throttles).lines().for_each(|line| self.line(&format!("  | {line}")));
        } else {
            body.lines().for_each(|line| self.line(&format!("  | {line}")));
        }
    }

    fn masked(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for before in [";t=", "reset=", "reset: ", "retry-after: ", "retry_after\":", "try again in "] {
            text = starred(&text, before, 1_000);
        }
        for before in ["retry_after_ms\":", "pushback-ms: "] {
            text = starred(&text, before, 100_000);
        }
        // Points in time.
        text = starred(&text, "\": ", 1_000_000_000);
        for (port, name) in &self.ports {
            text = text.replace(port, &format!(":{name}"));
        }
        text
    }

    fn compare(&self, name: &str) {
        golden("examples/gateway/tests/gateway/golden", name, &self.text);
    }
}

/// Replaces each number that follows `before` by a star, if it is at least `least`.
fn starred(text: &str, before: &str, least: u64) -> String {
    let mut parts = text.split(before);
    let mut starred = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let end = part.find(|it: char| !it.is_ascii_digit()).unwrap_or(part.len());
        let (number, mut rest) = part.split_at(end);
        starred.push_str(before);
        if number.parse::<u64>().is_ok_and(|number| number >= least) {
            starred.push('*');
            // The fraction of a second.
            rest = rest
                .strip_prefix('.')
                .map_or(rest, |rest| rest.trim_start_matches(|it: char| it.is_ascii_digit()));
        } else {
            starred.push_str(number);
        }
        starred.push_str(rest);
    }
    starred
}

fn record() -> Record {
    Record { text: String::new(), ports: Vec::new() }
}

const HTTP2: &str = "--http2-prior-knowledge";
const GRPC: [&str; 4] = ["--request", "POST", "--header", "content-type: application/grpc"];

#[test]
fn golden_own_paths() {
    let mut record = record();
    let gateway =
        record.start(&["--rate", "3/w", "--rate", "9/52w", "--key", "peer", "--key", "header:x-user"]);
    let ann = ["--header", "x-user: ann"];
    for path in ["health", "denied", "metrics"] {
        record.ask(&gateway.url, &format!("/_traffik/{path}"), &[]);
    }
    for options in [&[][..], &[HTTP2], &["--head"], &[], &["--head"], &[HTTP2], &GRPC, &["--head", HTTP2]] {
        record.ask(&gateway.url, "/", &[&ann[..], options].concat());
    }
    record.ask(&gateway.url, "/", &[]);
    let key = "127.0.0.1%7Cann";
    for (path, options) in [
        ("health", &[][..]),
        ("health", &["--head"]),
        ("health", &[HTTP2]),
        ("health", &["--request", "POST"]),
        ("health", &["--header", "x-forwarded-for: 192.0.2.1"]),
        ("health", &["--header", "host: evil.example"]),
        ("denied", &[]),
        ("", &["--head"]),
        ("events", &["--request", "POST"]),
        ("other", &[]),
        ("stat", &[]),
        ("stat?key=nobody", &[]),
        (&format!("stat?key={key}"), &[]),
        ("stat?key=127.0.0.2%7C", &[]),
        ("reset", &[]),
        ("reset", &["--request", "POST"]),
        ("reset?key=nobody", &["--request", "POST"]),
        (&format!("reset?key={key}"), &["--request", "POST"]),
        ("metrics", &[]),
    ] {
        record.ask(&gateway.url, &format!("/_traffik/{path}"), options);
    }
    record.ask(&gateway.url, "/", &ann);
    record.compare("own-paths");
}

/// Starts a gateway with a separate listener for the admin paths.
fn with_admin(record: &mut Record, options: &[&str]) -> (Gateway, String) {
    let mut command = Command::new(PROGRAM);
    let listen = ["--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--strategy", "token-bucket"];
    command.args(listen).args(options);
    let mut process = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.as_mut().unwrap()).lines();
    let mut after = |before| lines.next().unwrap().unwrap().strip_prefix(before).unwrap().to_owned();
    let (url, admin) = (after("listening on "), after("admin paths on "));
    record.know(&url, "PORT");
    record.know(&admin, "ADMIN");
    record.line(&format!("== {} with an admin", options.join(" ")));
    (Gateway(Program { process, url }), admin)
}

#[test]
fn golden_admin() {
    let mut record = record();
    let (gateway, admin) = with_admin(&mut record, &["--rate", "1/w"]);
    for path in ["/", "/", "/_traffik/health", "/_traffik/other"] {
        record.line("to the gateway");
        record.ask(&gateway.url, path, &[]);
        record.line("to its admin");
        record.ask(&admin, path, &[]);
    }
    let reset = "/_traffik/reset?key=127.0.0.1";
    for origin in ["https://evil.example", "null", "https://admin.example", "https://localhost"] {
        // A browser sends the host of the page.
        let host =
            origin.strip_prefix("https://").filter(|host| *host == "localhost").unwrap_or("admin.example");
        let options = [
            "--request",
            "POST",
            "--header",
            &format!("origin: {origin}"),
            "--header",
            &format!("host: {host}"),
        ];
        record.ask(&admin, reset, &options);
    }
    record.ask(&admin, "/_traffik/metrics", &[]);
    record.compare("admin");
}

#[test]
fn golden_options() {
    let mut record = record();
    for headers in ["draft10", "draft07", "x-ratelimit", "none"] {
        let gateway = record.start(&["--rate", "1/w", "--headers", headers]);
        for options in [&[][..], &[], &[HTTP2], &GRPC] {
            record.ask(&gateway.url, "/", options);
        }
    }
    let gateway = record.start(&["--rate", "5/w", "--cost-header", "x-cost", "--headers", "draft07"]);
    for cost in ["3", "9", "many", "0", "2", "1"] {
        record.ask(&gateway.url, "/", &["--header", &format!("x-cost: {cost}")]);
    }
    record.ask(&gateway.url, "/_traffik/metrics", &[]);
    let gateway = record.start(&["--rate", "1/w", "--exempt", "127.0.0.0/8"]);
    record.ask(&gateway.url, "/", &[]);
    record.ask(&gateway.url, "/_traffik/metrics", &[]);
    let gateway =
        record.start(&["--rate", "1/w", "--trusted-proxy", "127.0.0.0/8", "--key", "forwarded:xff"]);
    for client in ["192.0.2.1", "192.0.2.1", "192.0.2.2", "nonsense"] {
        record.ask(&gateway.url, "/", &["--header", &format!("x-forwarded-for: {client}")]);
    }
    record.compare("options");
}

/// A file with several throttles, one of them in shadow mode.
const FILE: &str = r#"
[[throttle]]
uid = "all"
rate = "6/w"
strategy = "token-bucket"

[[throttle]]
uid = "logins"
rates = ["2/w", "9/52w"]
strategy = "token-bucket"
rules = { path = "/login", methods = ["POST", "PUT"] }
headers = "x-ratelimit"

[[throttle]]
uid = "files"
rate = "10/w"
strategy = "token-bucket"
cost = 5
rules = [{ path = "/files/*" }, { path = "/blobs/{name}" }]

[[throttle]]
uid = "trial"
rate = "1/w"
strategy = "token-bucket"
shadow = true
on_error = "allow"
"#;

#[test]
fn golden_several_throttles() {
    let mut record = record();
    let path = std::env::temp_dir().join(format!("traffik-golden-{}.toml", std::process::id()));
    std::fs::write(&path, FILE).unwrap();
    let gateway = Gateway::start(&["--config", path.to_str().unwrap()]);
    record.know(&gateway.url, "PORT");
    let post: &[&str] = &["--request", "POST"];
    for (path, options) in [
        ("/", &[][..]),
        ("/login?a=b", post),
        ("/login/x", &["--request", "PUT"]),
        ("/login", post),
        ("/login", &["--request", "PUT"]),
        ("/login", &[]),
        ("/files/1", &[HTTP2]),
        ("/blobs/2", &["--head"]),
        ("/files/3", &[]),
        ("/", &[]),
        ("/login", &GRPC),
        ("/_traffik/stat?key=127.0.0.1", &[]),
        ("/_traffik/denied", &[]),
        ("/_traffik/metrics", &[]),
    ] {
        record.ask(&gateway.url, path, options);
    }
    let _ = std::fs::remove_file(path);
    record.compare("several-throttles");
}

/// Nobody listens on the first port, so a store there is out of reach at once.
#[test]
fn golden_store_that_fails() {
    let mut record = record();
    for on_error in ["throttle", "throttle:wait=5s", "allow", "fallback"] {
        let storage = ["--storage", "redis://127.0.0.1:1", "--timeout", "20s", "--on-error", on_error];
        let gateway = record.start(&[&storage[..], &["--rate", "1/w"]].concat());
        // One more call would open the circuit breaker.
        for options in [&[][..], &[HTTP2], &GRPC] {
            record.ask(&gateway.url, "/", options);
        }
        for path in ["health", "metrics"] {
            record.ask(&gateway.url, &format!("/_traffik/{path}"), &[]);
        }
    }
    record.compare("store-that-fails");
}

#[test]
fn golden_upstream() {
    let mut record = record();
    let upstream = record.start(&["--rate", "1/w", "--headers", "draft07"]);
    record.know(&upstream.url, "UPSTREAM");
    let gateway = record.start(&["--rate", "2/w", "--upstream", &upstream.url, "--headers", "draft10"]);
    for options in [&[][..], &["--head"], &[HTTP2]] {
        record.ask(&gateway.url, "/a?b=c", options);
    }
    let orphan = record.start(&["--rate", "2/w", "--upstream", "http://127.0.0.1:1"]);
    for options in [&[][..], &[HTTP2], &[]] {
        record.ask(&orphan.url, "/", options);
    }
    record.ask(&orphan.url, "/_traffik/metrics", &[]);
    record.compare("upstream");
}

#[test]
fn golden_websocket() {
    let mut record = record();
    for action in ["message", "close", "delay"] {
        let gateway = record.start(&["--rate", "3/w", "--ws-rate", "2/w", "--ws-action", action]);
        record.ask(&gateway.url, "/ws", &[]);
        record.ask(
            &gateway.url,
            "/ws",
            &["--header", "connection: upgrade", "--header", "upgrade: websocket"],
        );
        let stream = TcpStream::connect(gateway.address()).unwrap();
        let url = format!("ws://{}/ws", gateway.address());
        let (mut socket, response) = tungstenite::client(url, stream).unwrap();
        record.line(&format!("connected, {}", response.status()));
        for (name, value) in response.headers() {
            let value = match name.as_str() {
                "date" | "sec-websocket-accept" => "*",
                _ => value.to_str().unwrap(),
            };
            record.line(&format!("  {name}: {value}"));
        }
        for text in ["a", "b", "c", "d"] {
            record.line(&format!("> {text}"));
            let _ = socket.send(Message::text(text));
        }
        // Only the answer to this, or the end, can follow.
        let _ = socket.send(Message::Ping("p".into()));
        loop {
            match socket.read() {
                Ok(Message::Pong(_)) => break record.line("< pong"),
                Ok(Message::Close(frame)) => {
                    let frame = frame.map(|it| format!("{} {}", u16::from(it.code), it.reason));
                    record.line(&format!("< close {}", frame.unwrap_or_default()));
                }
                Ok(message) => record.line(&format!("< {}", message.to_text().unwrap())),
                Err(_) => break record.line("< end"),
            }
        }
        record.ask(&gateway.url, "/ws", &[]);
        record.ask(&gateway.url, "/_traffik/metrics", &[]);
    }
    record.compare("websocket");
}
