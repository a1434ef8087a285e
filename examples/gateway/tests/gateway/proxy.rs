//! The reverse proxy: what an intermediary owes to both sides.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;
use traffik_test_support::program::Program;
use traffik_test_support::servers::{Identity, Setup};

use super::config::File;
use super::heard::heard;
use super::upstream::mirror;
use super::{Gateway, PROGRAM, client, curl, get};

/// Sends bytes to the gateway, and returns everything that it answers until it closes the connection or
/// nothing comes for a while.
fn raw(gateway: &Gateway, bytes: &str) -> String {
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    stream.write_all(bytes.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Returns the lines of a mirrored head, in small letters, whose names begin with one of these.
fn seen(head: &str, names: &[&str]) -> Vec<String> {
    let lines = head.lines().map(str::to_ascii_lowercase);
    let mut lines: Vec<_> = lines.filter(|line| names.iter().any(|name| line.starts_with(name))).collect();
    lines.sort();
    lines
}

/// The fields by which a stranger would like to be somebody else.
const LIES: [&str; 20] = [
    "X-Forwarded-For: 192.0.2.1",
    "X-Forwarded-For: 192.0.2.2",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: b.example",
    "Forwarded: for=192.0.2.1",
    "X-Real-IP: 192.0.2.1",
    "X-Client-IP: 192.0.2.1",
    "X-Cluster-Client-IP: 192.0.2.1",
    "True-Client-IP: 192.0.2.1",
    "CF-Connecting-IP: 192.0.2.1",
    "Fastly-Client-IP: 192.0.2.1",
    "Fly-Client-IP: 192.0.2.1",
    "X-Original-Forwarded-For: 192.0.2.1",
    "X-Envoy-External-Address: 192.0.2.1",
    "X-Forwarded-Port: 1",
    "X-Forwarded-Prefix: /a",
    "X-Forwarded: a",
    "X-Original-URL: /admin",
    "X-Rewrite-URL: /admin",
    "X-Tier: enterprise",
];

const NAMES: [&str; 6] = ["x-", "forwarded", "true-client", "cf-", "fastly-", "fly-"];

fn mirrored(options: &[&str]) -> Vec<String> {
    let gateway = Gateway::start(&[&["--upstream", &mirror(), "--tier-header", "x-tier"], options].concat());
    let headers = LIES.iter().flat_map(|line| ["-H", line]);
    let host = ["-H", "Host: a.example"];
    seen(&curl(&headers.chain(host).chain([&*gateway.url]).collect::<Vec<_>>()), &NAMES)
}

#[test]
fn the_upstream_learns_who_sent_a_request() {
    let expected = ["x-forwarded-for: 127.0.0.1", "x-forwarded-host: a.example", "x-forwarded-proto: http"];
    assert_eq!(mirrored(&[]), expected, "of a stranger");
    let of_proxy = mirrored(&["--trusted-proxy", "127.0.0.1"]);
    assert_eq!(of_proxy.len(), LIES.len() - 1, "{of_proxy:?}");
    for line in [
        "x-forwarded-for: 192.0.2.1, 192.0.2.2, 127.0.0.1",
        "x-forwarded-proto: https",
        "x-forwarded-host: b.example",
        "x-tier: enterprise",
    ] {
        assert!(of_proxy.iter().any(|it| it == line), "{line}: {of_proxy:?}");
    }
    assert!(mirrored(&["--trust-class-headers"]).contains(&"x-tier: enterprise".to_owned()));
}

/// Servers of CGI and WSGI read an underscore as a hyphen, which no proxy writes.
#[test]
fn underscores_hide_no_field_of_identity() {
    let mirror = mirror();
    let options = ["--upstream", &*mirror, "--tier-header", "x-tier", "--rate", "99/s"];
    for trusted in [&[][..], &["--trusted-proxy", "127.0.0.1"]] {
        let gateway = Gateway::start(&[&options[..], trusted].concat());
        let names =
            ["X_Forwarded_For", "X-Forwarded_For", "X_Real_IP", "X_Tier", "X_Original_URL", "X_Other"];
        let fields: Vec<_> = names.iter().map(|name| format!("{name}: 192.0.2.1")).collect();
        let fields = fields.iter().flat_map(|field| ["-H", field]).chain([&*gateway.url]);
        let received = seen(&curl(&fields.collect::<Vec<_>>()), &["x_", "x-forwarded_"]);
        assert_eq!(received, ["x_other: 192.0.2.1"], "{trusted:?}");
    }
}

/// The target `*` names no path, so it cannot leave the base path either.
#[test]
fn the_target_star_is_for_options_and_stays_below_the_base_path() {
    let mirror = mirror();
    for (base, seen) in [("", "OPTIONS * HTTP/1.1\r\n"), ("/base", "OPTIONS /base/ HTTP/1.1\r\n")] {
        let upstream = format!("{mirror}{base}");
        let gateway = Gateway::start(&["--upstream", &upstream, "--rate", "99/s"]);
        let answer = |method: &str| {
            raw(&gateway, &format!("{method} * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"))
        };
        let options = answer("OPTIONS");
        assert!(options.contains(seen), "{options}");
        let get = answer("GET");
        assert!(get.starts_with("HTTP/1.1 400 ") && get.contains("the target * is for OPTIONS"), "{get}");
    }
}

/// A field that a key reads is believed from a proxy alone, by the upstream, too; also after a reload.
#[test]
fn a_field_that_a_key_reads_is_removed_from_strangers() {
    let text = |key: &str| format!("[[throttle]]\nuid = \"a\"\nrate = \"99/s\"\nkey = \"{key}\"\n");
    let file = File::new("key-field", &text("forwarded:x-edge"));
    let mirror = mirror();
    let options = ["--config", file.path(), "--upstream", &mirror];
    let (gateway, mut log) = heard(&options);
    let trusting = Gateway::start(&[&options[..], &["--trusted-proxy", "127.0.0.1"]].concat());
    let seen_by = |url: &str| {
        let fields = ["-H", "X-Edge: 192.0.2.1", "-H", "X-Other: 192.0.2.1", "-H", "Connection: x-edge"];
        seen(&curl(&[&fields[..], &[url]].concat()), &["x-edge", "x-other"])
    };
    assert_eq!(seen_by(&gateway.url), ["x-other: 192.0.2.1"]);
    assert_eq!(seen_by(&trusting.url), ["x-edge: 192.0.2.1", "x-other: 192.0.2.1"]);
    file.write(&text("forwarded:x-other"));
    log.line("reloaded ");
    assert_eq!(seen_by(&gateway.url), [""; 0], "x-edge is one that Connection names now");
}

#[test]
fn connection_removes_no_field_that_the_upstream_needs() {
    let gateway = Gateway::start(&["--upstream", &mirror()]);
    let names =
        ["host", "content-length", "authorization", "cookie", "x-forwarded-for", "x-hop", "keep-alive"];
    let named = format!("Connection: {}", names.join(", "));
    let fields = [&*named, "Host: a.example", "Authorization: a", "Cookie: a=b", "X-Hop: 1", "Keep-Alive: 1"];
    let headers = fields.iter().flat_map(|field| ["-H", field]);
    let head = curl(&headers.chain(["-d", "body", &*gateway.url]).collect::<Vec<_>>());
    let expected = ["authorization: a", "content-length: 4", "cookie: a=b", "host: a.example"];
    assert_eq!(
        seen(&head, &["connection", "host", "content-length", "auth", "cookie", "x-hop", "keep"]),
        expected
    );
    assert_eq!(seen(&head, &["x-forwarded-for"]), ["x-forwarded-for: 127.0.0.1"]);
}

#[test]
fn a_request_without_one_clear_host_is_refused() {
    let gateway = Gateway::start(&["--upstream", &mirror(), "--rate", "1/w"]);
    for (head, status) in [
        ("GET / HTTP/1.1\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost:\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: user@a\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a:x\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a:99999\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: :80\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a,b\r\n", "400"),
        ("GET /_traffik/health HTTP/1.1\r\nHost: localhost\r\nHost: localhost\r\n", "400"),
        ("GET / HTTP/1.1\r\nHost: a b\r\n", "400"),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n", "405"),
        ("GET http://a/../b HTTP/1.1\r\nHost: a\r\n", "400"),
        // None of these was charged.
        ("GET / HTTP/1.1\r\nHost: a:81\r\n", "200"),
    ] {
        let answer = raw(&gateway, &format!("{head}Connection: close\r\n\r\n"));
        assert_eq!(answer.get(9..12), Some(status), "{head}: {answer}");
    }
    let answer = raw(&gateway, "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\nConnection: close\r\n\r\n");
    assert!(answer.to_ascii_lowercase().contains("allow: get, head"), "{answer}");
}

/// Requests that another server could read as two, or as another one, reach no upstream.
#[test]
fn requests_that_servers_read_differently_are_refused() {
    let gateway = Gateway::start(&["--upstream", &mirror(), "--rate", "1/w"]);
    for fields in [
        "Content-Length: 4\r\nContent-Length: 5\r\n",
        "Content-Length: +4\r\n",
        "Content-Length: 4, 5\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding : chunked\r\n",
        "X-Folded: a\r\n b\r\n",
        "X-Bare: a\rTransfer-Encoding: chunked\r\n",
    ] {
        let answer = raw(&gateway, &format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n0\r\n\r\n"));
        assert!(answer.starts_with("HTTP/1.1 400") || answer.is_empty(), "{fields:?}: {answer}");
        assert!(answer.matches("HTTP/1.1").count() < 2, "the connection is closed: {fields:?}: {answer}");
    }
    assert!(
        raw(&gateway, "GET / HTTP/1.1\r\nHost: a\r\n\r\n").starts_with("HTTP/1.1 200"),
        "nothing was charged"
    );
}

/// Of two lengths, the upstream learns the one by which the gateway has read the request, and the client
/// sends no other request on that connection (RFC 9112, section 6.1).
#[test]
fn a_request_with_two_lengths_is_the_last_one() {
    for fields in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
    ] {
        let gateway = Gateway::start(&["--upstream", &mirror()]);
        let smuggled = "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n";
        let answer = raw(&gateway, &format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n{smuggled}"));
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
        assert!(!answer.contains("smuggled") && !answer.contains("content-length: 4"), "{answer}");
    }
}

/// Starts a server that answers each request with this text, and then closes the connection or keeps it open.
/// Returns its URL and the number of requests that it has read.
fn answering(text: &'static str, is_announced: bool) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&requests);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut line = String::new();
            while stream.read_line(&mut line).is_ok_and(|length| length > 2) {}
            if line.is_empty() {
                continue;
            }
            count.fetch_add(1, Ordering::SeqCst);
            let closing = if is_announced { "connection: close\r\n" } else { "" };
            let _ = stream.get_mut().write_all(text.replace("CLOSING", closing).as_bytes());
        }
    });
    (url, requests)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upstream_that_closes_after_each_reply_fails_no_request() {
    for is_announced in [true, false] {
        let (url, _) = answering("HTTP/1.1 200 OK\r\nCLOSINGcontent-length: 3\r\n\r\nok\n", is_announced);
        let gateway = Gateway::start(&["--upstream", &url, "--rate", "9999/s"]);
        let client = client(false);
        for number in 0..3_000 {
            let response = get(&client, &gateway.url, &[]).await;
            assert_eq!(response.status(), 200, "{number}, announced: {is_announced}");
        }
    }
}

/// A request that may have an effect is sent once, whatever becomes of it.
#[test]
fn a_post_is_never_sent_twice() {
    // An answer that breaks off: the upstream has acted, and the client of the gateway gets no reply.
    let (url, requests) = answering("HTTP/1.1 200", false);
    let gateway = Gateway::start(&["--upstream", &url, "--rate", "9999/s"]);
    for number in 1..20 {
        let status = curl(&["-o", "/dev/null", "-w", "%{http_code}", "-d", "", &gateway.url]);
        assert_eq!((status.as_str(), requests.load(Ordering::SeqCst)), ("502", number));
    }
}

#[test]
fn a_reply_has_the_version_of_the_connection() {
    let (url, _) = answering("HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nok\n", false);
    let gateway = Gateway::start(&["--upstream", &url]);
    let answer = raw(&gateway, "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[test]
fn an_upstream_that_does_not_answer_in_time_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let gateway = Gateway::start(&["--upstream", &url, "--upstream-timeout", "200ms"]);
    let began = Instant::now();
    let answer = curl(&["-i", &gateway.url]);
    assert!(answer.starts_with("HTTP/1.1 504") && answer.contains("did not answer within 200ms"), "{answer}");
    assert!(began.elapsed() < Duration::from_secs(10));
}

/// An upload may take longer than the upstream may to answer, as long as it moves.
#[test]
fn a_slow_upload_is_no_slow_upstream() {
    const ANSWER: Duration = Duration::from_millis(300);
    let options = ["--upstream-timeout", "300ms", "--body-timeout", "5s"];
    let head = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", upstream.local_addr().unwrap());
    let gateway = Gateway::start(&[&options[..], &["--upstream", &url]].concat());
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let (mut at_upstream, _) = upstream.accept().unwrap();
    let began = Instant::now();
    let (mut sent, mut buffer) = (0, [0; 1024]);
    // Parts follow each other, each once the upstream has the one before, for longer than an answer may take.
    while began.elapsed() < 2 * ANSWER {
        stream.write_all(b"1\r\nx\r\n").unwrap();
        sent += 1;
        let mut received = String::new();
        while !received.ends_with("x\r\n") {
            let length = at_upstream.read(&mut buffer).unwrap();
            received.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
    }
    assert!(sent > 1);
    stream.write_all(b"0\r\n\r\n").unwrap();
    at_upstream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n").unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
}

/// A client that stops in the middle of its body is answered 408, and one that sends no chunks 400.
#[test]
fn a_body_that_stops_or_breaks_is_the_fault_of_the_client() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", upstream.local_addr().unwrap());
    let gateway = Gateway::start(&["--upstream", &url, "--body-timeout", "200ms", "--rate", "9/w"]);
    let head = "POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
    let answer = raw(&gateway, &format!("{head}Content-Length: 9\r\n\r\nxxx"));
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("no part of the body"), "{answer}");
    for chunk in ["0x4\r\nabcd\r\n0\r\n\r\n", "z\r\n", "ffffffffffffffffff\r\na"] {
        let answer = raw(&gateway, &format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunk}"));
        assert!(answer.starts_with("HTTP/1.1 400"), "{chunk:?}: {answer}");
    }
}

/// A response that stops in the middle is cut off, so that the client does not take it for a whole one.
#[test]
fn a_response_that_stops_is_cut_off() {
    let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", upstream.local_addr().unwrap());
    let gateway = Gateway::start(&["--upstream", &url, "--idle-timeout", "200ms"]);
    let asking = thread::spawn({
        let address = gateway.address().to_owned();
        move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer);
            String::from_utf8_lossy(&answer).into_owned()
        }
    });
    let (mut at_upstream, _) = upstream.accept().unwrap();
    assert!(at_upstream.read(&mut [0; 1024]).unwrap() > 0);
    at_upstream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n").unwrap();
    let answer = asking.join().unwrap();
    assert!(answer.contains("2\r\nok\r\n") && !answer.contains("0\r\n\r\n"), "{answer}");
}

/// The certificate of the upstream is trusted by the operating system's roots, which come from a file here.
#[test]
fn an_upstream_over_tls_proves_its_name() {
    let identity = Identity::of(&["localhost"]);
    let nginx = Setup::nginx(
        "events {}\nhttp {\n    server {\n        listen PORT ssl;\n        ssl_certificate cert.pem;\n        \
         ssl_certificate_key key.pem;\n        location / { return 200 \"$host $http_x_forwarded_proto\\n\"; }\n    }\n}\n"
            .to_owned(),
        vec![("cert.pem", identity.certificate.clone()), ("key.pem", identity.key.clone())],
        ("listen PORT", "listen 127.0.0.1:{}"),
    );
    let roots = nginx.directory().join("roots.pem");
    std::fs::write(&roots, &identity.certificate).unwrap();
    let url = format!("https://localhost:{}", nginx.port());
    let start = |roots: &std::path::Path| {
        let mut command = Command::new(PROGRAM);
        command.env("SSL_CERT_FILE", roots).args(["--listen", "127.0.0.1:0", "--upstream", &url]);
        Gateway(Program::run(command))
    };
    assert_eq!(curl(&["-H", "Host: a.example", &start(&roots).url]), "a.example http\n");
    // Another identity of the same name.
    std::fs::write(&roots, Identity::of(&["localhost"]).certificate).unwrap();
    assert_eq!(curl(&["-o", "/dev/null", "-w", "%{http_code}", &start(&roots).url]), "502");
}

/// A WebSocket passes through the gateway to the upstream. The handshake is counted.
#[tokio::test]
async fn a_websocket_is_tunnelled() {
    let upstream = Gateway::start(&["--rate", "9/w"]);
    let gateway = Gateway::start(&["--upstream", &upstream.url, "--rate", "1/w"]);
    let connect = async || {
        let stream = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
        tokio_tungstenite::client_async(format!("ws://{}/ws", gateway.address()), stream).await
    };
    let (mut socket, _) = connect().await.unwrap();
    for text in ["a", "b"] {
        socket.send(Message::text(text)).await.unwrap();
        assert_eq!(socket.next().await.unwrap().unwrap(), Message::text(text));
    }
    assert!(connect().await.unwrap_err().to_string().contains("429"), "the handshake is counted");
    let mut gateway = gateway;
    gateway.signal("TERM");
    assert_eq!(gateway.process.wait().unwrap().code(), Some(0), "an open tunnel does not hold up the end");
}

/// HTTP within HTTP would pass the limits unseen.
#[test]
fn another_version_of_http_is_no_tunnel() {
    let gateway = Gateway::start(&["--upstream", &mirror()]);
    for protocol in ["h2c", "HTTP/2.0", "websocket, h2c", "TLS/1.0"] {
        let upgrade = format!("Upgrade: {protocol}");
        let head = curl(&["--http1.1", "-H", "Connection: upgrade", "-H", &upgrade, &gateway.url]);
        assert!(seen(&head, &["upgrade", "connection"]).is_empty(), "{head}");
    }
}
