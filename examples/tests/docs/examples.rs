//! The examples that are servers or clients, run as their docs say. curl, a browser and raw sockets ask the
//! servers.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;
use traffik_test_support::browser::Browser;
use traffik_test_support::folder;
use traffik_test_support::program::{Program, curl};

fn start(program: &str) -> Program {
    let mut command = Command::new(program);
    command.arg("127.0.0.1:0");
    Program::run(command)
}

/// Sends a request by curl. Returns the status of the reply, and the whole reply.
fn ask(program: &Program, path: &str, arguments: &[&str]) -> (String, String) {
    let url = format!("{}{path}", program.url);
    let reply = curl(&[&["--include", &url], arguments].concat());
    (reply.split(' ').nth(1).unwrap().to_owned(), reply)
}

fn statuses<const N: usize>(program: &Program, path: &str, arguments: &[&str]) -> [String; N] {
    std::array::from_fn(|_| ask(program, path, arguments).0)
}

#[test]
fn small_programs_end_without_an_error() {
    for program in [
        env!("CARGO_BIN_EXE_hello"),
        env!("CARGO_BIN_EXE_custom_strategy"),
        env!("CARGO_BIN_EXE_custom_storage"),
        env!("CARGO_BIN_EXE_file_storage"),
        env!("CARGO_BIN_EXE_sqlite_storage"),
    ] {
        let output = Command::new(program).output().unwrap();
        assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn axum_api() {
    let api = start(env!("CARGO_BIN_EXE_axum_api"));
    let ann = ["-H", "x-user: ann"];
    let (status, reply) = ask(&api, "/search", &ann);
    assert_eq!(status, "200");
    assert!(reply.ends_with("burst: 5 left\nhourly: 995 left\n"), "{reply}");
    assert!(reply.contains("ratelimit-policy: \"burst\";q=10;w=60, \"hourly\";q=1000;w=3600"), "{reply}");
    assert_eq!(statuses(&api, "/search", &ann), ["200", "429"]);
    // Other clients have limits of their own: users by name, all others by address.
    assert_eq!(statuses(&api, "/search", &["-H", "x-user: bob"]), ["200", "200", "429"]);
    assert_eq!(statuses(&api, "/search", &[]), ["200", "200", "429"]);
    let elsewhere = ["--interface", "127.0.0.2"];
    assert_eq!(statuses(&api, "/search", &elsewhere), ["200", "200", "429"]);
}

#[test]
fn actix_api() {
    let api = start(env!("CARGO_BIN_EXE_actix_api"));
    let (status, reply) = ask(&api, "/search", &[]);
    assert_eq!(status, "200");
    assert!(reply.ends_with("api: 5 left\n") && reply.contains("ratelimit: \"api\";r=5;t=6"), "{reply}");
    assert_eq!(statuses(&api, "/search", &[]), ["200", "429"]);
    assert_eq!(statuses(&api, "/search", &["--interface", "127.0.0.2"]), ["200", "200", "429"]);
}

/// Runs a client against a server that allows five requests a minute. Returns the lines that the client
/// prints.
fn called(client: &str) -> Vec<String> {
    let service = start(env!("CARGO_BIN_EXE_hyper_service"));
    let output = Command::new(client).arg(service.address()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn outgoing_tower() {
    let printed = called(env!("CARGO_BIN_EXE_outgoing_tower"));
    assert_eq!(printed.len(), 6, "{printed:?}");
    assert!(printed[..3].iter().all(|line| line == "200 OK"), "{printed:?}");
    assert!(
        printed[3..].iter().all(|line| line.starts_with("the hit would have to wait for 1.")),
        "{printed:?}"
    );
}

#[test]
fn outgoing_reqwest() {
    let began = Instant::now();
    assert_eq!(called(env!("CARGO_BIN_EXE_outgoing_reqwest")), ["200 OK"; 4]);
    assert!(began.elapsed() >= Duration::from_millis(750));
}

#[test]
fn axum_layer() {
    let app = start(env!("CARGO_BIN_EXE_axum_layer"));
    let (status, reply) = ask(&app, "/", &[]);
    assert!(status == "200" && reply.contains("ratelimit: \"api\";r=99"), "{reply}");
}

#[test]
fn axum_routes() {
    let app = start(env!("CARGO_BIN_EXE_axum_routes"));
    assert_eq!(statuses(&app, "/report", &[]), ["200", "429"]);
    assert_eq!(statuses(&app, "/none", &[]), ["404", "404", "404", "404"]);
    assert_eq!(statuses(&app, "/", &[]), ["200", "200", "200", "429"]);
}

#[test]
fn axum_cost() {
    let app = start(env!("CARGO_BIN_EXE_axum_cost"));
    assert!(ask(&app, "/export/40", &[]).1.ends_with("40 rows\n"));
    assert_eq!(statuses(&app, "/export/40", &[]), ["200", "429"]);
    let (_, denied) = ask(&app, "/export/40", &[]);
    assert!(denied.contains("content-type: application/problem+json") && denied.contains("retry-after: "));
    assert_eq!(statuses(&app, "/export/20", &[]), ["200"], "a denial has charged nothing");
}

#[test]
fn axum_state() {
    let app = start(env!("CARGO_BIN_EXE_axum_state"));
    assert!(ask(&app, "/", &[]).1.ends_with("2 left\n"));
    assert_eq!(statuses(&app, "/", &[]), ["200", "200", "429"]);
}

/// Writes the frames by hand: text with a mask of zeros.
#[test]
fn axum_websocket() {
    let app = start(env!("CARGO_BIN_EXE_axum_websocket"));
    let mut socket = TcpStream::connect(app.address()).unwrap();
    let upgrade = "GET /ws HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
        sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    socket.write_all(upgrade.as_bytes()).unwrap();
    let mut said = Vec::new();
    let mut read_until = |end: &[u8], socket: &mut TcpStream| {
        while !said.ends_with(end) {
            let mut more = [0; 1024];
            let count = socket.read(&mut more).unwrap();
            assert!(count > 0, "{}", String::from_utf8_lossy(&said));
            said.extend_from_slice(&more[..count]);
        }
    };
    read_until(b"\r\n\r\n", &mut socket);
    // Each word is echoed before the next one is sent; the last one gets a notice, and a close with 1008.
    for (word, answer) in [("one", "one"), ("two", "two"), ("six", "six"), ("ten", "rate limit exceeded")] {
        socket.write_all(&[&[0x81, 0x80 | word.len() as u8, 0, 0, 0, 0], word.as_bytes()].concat()).unwrap();
        read_until(answer.as_bytes(), &mut socket);
    }
    let text = String::from_utf8_lossy(&said);
    assert!(
        text.starts_with("HTTP/1.1 101") && text.contains("\u{3}six") && !text.contains("\u{3}ten"),
        "{text}"
    );
    assert!(text.contains("{\"type\":\"rate_limit\""), "{text}");
    let close = [&[0x88, 21][..], &1008u16.to_be_bytes(), b"rate limit exceeded"].concat();
    assert!(said.ends_with(&close), "{text}");
}

/// Calls gRPC with an empty message by curl, and requests pages in between.
#[test]
fn tonic_service() {
    let service = start(env!("CARGO_BIN_EXE_tonic_service"));
    let message = folder::temporary().join("an-empty-message");
    std::fs::write(&message, [0; 5]).unwrap();
    let data = format!("@{}", message.display());
    let grpc = ["--http2-prior-knowledge", "-H", "content-type: application/grpc", "-H", "te: trailers"];
    let call = |body: &[&str]| {
        ask(&service, "/grpc.health.v1.Health/Check", &[&grpc[..], &["--output", "-"], body].concat()).1
    };
    // Older versions of curl fail if the answer comes before the end of the body, so later calls have no
    // body.
    let with_message = ["--data-binary", &data];
    let without = ["--request", "POST"];
    let served = call(&with_message);
    assert!(served.starts_with("HTTP/2 200") && served.contains("grpc-status: 0"), "{served}");
    assert_eq!(statuses(&service, "/", &[]), ["200", "200"]);
    for _ in 0..2 {
        assert!(!call(&without).contains("grpc-status: 8"));
    }
    assert_eq!(statuses(&service, "/", &[]), ["429"], "five are used, three by gRPC");
    let denied = call(&without);
    assert!(denied.starts_with("HTTP/2 200") && denied.contains("grpc-status: 8"), "{denied}");
}

#[test]
fn hyper_service() {
    let service = start(env!("CARGO_BIN_EXE_hyper_service"));
    assert_eq!(statuses(&service, "/", &[]), ["200", "200", "200", "200", "200", "429", "429"]);
    let (_, reply) = ask(&service, "/", &["--http2-prior-knowledge"]);
    assert!(reply.starts_with("HTTP/2 429") && reply.contains("ratelimit: \"hello\";r=0;t=1"), "{reply}");
    assert_eq!(statuses(&service, "/", &["--interface", "127.0.0.2"]), ["200"]);
}

#[test]
fn tower_service() {
    let service = start(env!("CARGO_BIN_EXE_tower_service"));
    let call = |path: &str, kind: &str| {
        let kind = format!("content-type: {kind}");
        ask(&service, path, &["--http2-prior-knowledge", "-H", "x-api-key: ann", "-H", &kind, "-d", ""])
    };
    let grpc = "application/grpc";
    assert!(call("/orders.Orders/Create", grpc).1.ends_with("/orders.Orders/Create: done\n"));
    let (status, denied) = call("/orders.Orders/Create", grpc);
    // RESOURCE_EXHAUSTED is 8.
    assert!(status == "200" && denied.contains("grpc-status: 8"), "{denied}");
    assert_eq!(call("/orders.Orders/Create", "application/json").0, "429");
    let (status, listed) = call("/orders.Orders/List", grpc);
    assert!(status == "200" && !listed.contains("grpc-status"), "{listed}");
}

#[test]
fn multi_tenant() {
    let tenants = start(env!("CARGO_BIN_EXE_multi_tenant"));
    assert_eq!(statuses(&tenants, "/", &["-H", "x-tenant: small"]), ["200", "200", "429"]);
    assert_eq!(statuses(&tenants, "/", &["-H", "x-tenant: large"]), ["200", "200", "200"]);
    assert_eq!(statuses(&tenants, "/", &["-H", "x-tenant: unknown"]), ["401"]);
}

#[test]
fn custom_handler() {
    let handler = start(env!("CARGO_BIN_EXE_custom_handler"));
    let ann = ["-H", "x-api-key: ann"];
    let post = [&ann[..], &["-d", ""]].concat();
    assert_eq!(ask(&handler, "/", &post).0, "200");
    let (status, denied) = ask(&handler, "/", &post);
    assert_eq!(status, "429");
    assert!(denied.contains("retry-after: 60") && denied.contains("content-type: text/plain"), "{denied}");
    assert!(denied.ends_with("Too many posts; come back in 60 s.\n"), "{denied}");
    assert_eq!(statuses(&handler, "/", &ann), ["200"]);
}

/// Of a hundred wrong logins at once, five are tried; right ones cost nothing.
#[test]
fn login_guard() {
    let guard = start(env!("CARGO_BIN_EXE_login_guard"));
    let url = format!("{}/login", guard.url);
    for _ in 0..10 {
        assert_eq!(curl(&["-d", "correct horse", &url]), "welcome\n");
    }
    let mut guesses = vec!["--parallel", "--parallel-immediate", "--parallel-max", "100", "-d", "123456"];
    guesses.extend(["-w", "%{http_code}\n"]);
    for _ in 0..100 {
        guesses.extend(["-o", "/dev/null", &url]);
    }
    let printed = curl(&guesses);
    let tried = printed.lines().filter(|status| *status == "401").count();
    let denied = printed.lines().filter(|status| *status == "429").count();
    assert_eq!((tried, denied), (5, 95), "{printed}");
    assert_eq!(statuses(&guard, "/login", &["-d", "correct horse"]), ["429"]);
}

/// The page on which ann writes too fast shows a notice, and so does the next one that she opens. Bob can
/// still write.
#[test]
fn websocket_chat() {
    let chat = start(env!("CARGO_BIN_EXE_websocket_chat"));
    let began = Instant::now();
    let browser = Browser::start(390, 844);
    browser.open(&format!("{}/?user=ann", chat.url));
    browser.until("document.body.dataset.state", &json!("open"));
    let write = "[...Array(20).keys()].forEach((number) => { form.text.value = `message ${number}`; form.requestSubmit(); })";
    assert!(browser.ask(write).is_null());
    browser.until("notice.hidden", &json!(false));
    let shown = browser.ask("notice.textContent");
    assert!(
        shown.as_str().unwrap().starts_with("Easy! The others are still reading. Write again in "),
        "{shown}"
    );
    browser.picture("chat.png");
    // Her other connection, and bob's.
    let others = "['ann', 'bob'].map((user) => {
        const other = window[user] = new WebSocket(`ws://${location.host}/ws?user=${user}`);
        other.notices = 0;
        other.onopen = () => [...Array(20)].forEach(() => other.send('me'));
        other.onmessage = ({ data }) => { other.notices += JSON.parse(data).type === 'rate_limit'; };
    })";
    browser.ask(others);
    browser.until("[ann.notices > 0, bob.notices > 0]", &json!([true, true]));
    let lines = "[...said.children].map((line) => line.textContent)";
    browser.until(&format!("{lines}.filter((line) => line.startsWith('bob ')).length >= 3"), &json!(true));
    let said = browser.ask(lines);
    let of = |user: &str| {
        said.as_array().unwrap().iter().filter(|line| line.as_str().unwrap().starts_with(user)).count()
    };
    // Three at once, and one more every two seconds.
    let most = 3 + began.elapsed().as_secs() as usize / 2;
    assert!((3..=most).contains(&of("ann ")), "{said}");
    assert!((3..=most).contains(&of("bob ")), "{said}");
    assert_eq!(said[0], "ann message 0");
    // A handshake without a user is refused before there is a socket.
    let upgrade =
        ["-H", "connection: upgrade", "-H", "upgrade: websocket", "-o", "/dev/null", "-w", "%{http_code}"];
    assert_eq!(curl(&[&upgrade[..], &[&format!("{}/ws", chat.url)]].concat()), "401");
}
