//! The connections of clients: silent, slow and idle ones, and more than there are places.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use traffik_test_support::program::Program;

use super::{Gateway, PROGRAM, curl, refused};

/// A connection with these bytes sent.
fn sent(gateway: &Gateway, bytes: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(gateway.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(bytes).unwrap();
    stream
}

/// Everything that still comes until the gateway closes the connection.
fn rest(mut stream: TcpStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}"),
    }
    String::from_utf8(bytes).unwrap()
}

/// Reads a response with the body "ok\n" of a connection that stays open.
fn response(stream: &mut TcpStream) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\nok\n") {
        let mut byte = [0];
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", String::from_utf8_lossy(&read));
        read.push(byte[0]);
    }
    String::from_utf8(read).unwrap()
}

const GET: &[u8] = b"GET / HTTP/1.1\r\nhost: gateway\r\n\r\n";

fn ended(gateway: &Gateway, reason: &str) -> u64 {
    let metrics = curl(&[&format!("{}/_traffik/metrics", gateway.url)]);
    let line = format!("traffik_connections_ended_total{{reason=\"{reason}\"}} ");
    metrics.lines().find_map(|it| it.strip_prefix(&line)).unwrap().parse().unwrap()
}

#[test]
fn a_head_has_a_deadline_that_single_bytes_do_not_move() {
    let gateway = Gateway::start(&["--head-timeout", "300ms", "--rate", "100/s"]);
    assert_eq!(rest(sent(&gateway, b"")), "", "nothing was asked");
    for start in [&b"G"[..], b"P", b"GET / HTTP/1.1\r\nhost: gatew", b"\r\n"] {
        let late = rest(sent(&gateway, start));
        assert!(late.starts_with("HTTP/1.1 408 "), "{start:?}: {late}");
    }
    let half = rest(sent(&gateway, b"PRI * HTTP/2"));
    assert!(half.starts_with("HTTP/1.1 400 "), "{half}");
    let start = Instant::now();
    let mut slow = sent(&gateway, b"GET / HTTP/1.1\r\nx: ");
    let mut feeder = slow.try_clone().unwrap();
    thread::spawn(move || {
        while feeder.write_all(b"a").is_ok() {
            thread::sleep(Duration::from_millis(20));
        }
    });
    let mut reply = [0; 12];
    slow.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"HTTP/1.1 408");
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    // The second request of a connection has the deadline, too.
    let mut again = sent(&gateway, GET);
    assert!(response(&mut again).starts_with("HTTP/1.1 200 "));
    again.write_all(b"GET /").unwrap();
    assert!(rest(again).starts_with("HTTP/1.1 408 "));
    assert!(ended(&gateway, "head") >= 7);
}

#[test]
fn a_connection_without_a_further_request_is_closed() {
    let gateway = Gateway::start(&["--keep-alive-timeout", "200ms", "--rate", "100/s"]);
    let mut idle = sent(&gateway, GET);
    assert!(response(&mut idle).starts_with("HTTP/1.1 200 "));
    idle.write_all(GET).unwrap();
    assert!(response(&mut idle).starts_with("HTTP/1.1 200 "), "it was kept until then");
    assert_eq!(rest(idle), "");
    assert_eq!(ended(&gateway, "idle"), 1);
}

/// On HTTP/2 the gateway sends GOAWAY, so that no request is lost.
#[tokio::test]
async fn an_idle_connection_of_http2_is_closed_in_order() {
    let gateway = Gateway::start(&["--keep-alive-timeout", "200ms", "--rate", "100/s"]);
    let stream = tokio::net::TcpStream::connect(gateway.address()).await.unwrap();
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.unwrap();
    let connection = tokio::spawn(connection);
    let request = http::Request::get(&gateway.url).body(Empty::<bytes::Bytes>::new()).unwrap();
    let response = sender.send_request(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let _ = response.into_body().collect().await.unwrap();
    connection.await.unwrap().unwrap();
}

/// An upstream of which each connection gets these parts, some time apart, and stays open.
fn upstream(parts: &[&'static [u8]], pause: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let parts = parts.to_vec();
    thread::spawn(move || {
        let mut open = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            open.push(stream.try_clone().unwrap());
            let parts = parts.clone();
            thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                for part in parts {
                    thread::sleep(pause);
                    if stream.write_all(part).is_err() {
                        break;
                    }
                }
            });
        }
    });
    url
}

/// Deadlines are those of clients: an upstream that takes its time has others.
#[test]
fn a_slow_upstream_costs_no_client_its_connection() {
    let head = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 6\r\n\r\n";
    let parts: &[&[u8]] = &[head, b"abc", b"ok\n"];
    let url = upstream(parts, Duration::from_millis(300));
    let times = ["--keep-alive-timeout", "50ms", "--write-timeout", "50ms", "--head-timeout", "50ms"];
    let gateway = Gateway::start(&[&["--upstream", &url], &times[..]].concat());
    assert_eq!(curl(&[&gateway.url]), "abcok\n");
    assert_eq!(curl(&["--http2-prior-knowledge", &gateway.url]), "abcok\n");
}

/// A client that takes nothing of a response is cut off, by HTTP/1.1 and by HTTP/2.
#[test]
fn a_client_that_does_not_read_is_cut_off() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let gateway = Gateway::start(&["--upstream", &url, "--write-timeout", "300ms"]);
    // SETTINGS without a window for responses, and a request for `/` with the authority `a`.
    let http2 = [
        &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..],
        &[0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 4, 0, 0, 0, 0],
        &[0, 0, 6, 1, 5, 0, 0, 0, 1, 0x82, 0x84, 0x86, 0x41, 0x01, b'a'],
    ]
    .concat();
    for request in [GET, &http2] {
        let _client = sent(&gateway, request);
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").unwrap();
        // Blocks once all buffers between are full, and fails when the gateway lets go.
        while stream.write_all(&[b'x'; 65536]).is_ok() {}
    }
    assert_eq!(ended(&gateway, "write"), 2);
}

/// Connections that only stand there make room for those that ask, with few descriptors, too.
#[test]
fn silent_connections_keep_nobody_out() {
    let mut command = Command::new("bash");
    let options = "--listen 127.0.0.1:0 --rate 100000/s --log-level warn";
    command.args(["-c", &format!("ulimit -n 1024; exec {PROGRAM} {options}")]);
    let gateway = Gateway(Program::run(command));
    for start in [&b""[..], b"GET / HT", GET] {
        let mut held = Vec::new();
        for _ in 0..1_100 {
            let mut stream = sent(&gateway, start);
            if start == GET {
                response(&mut stream);
            }
            held.push(stream);
        }
        assert_eq!(curl(&["--interface", "127.0.0.2", &gateway.url]), "ok\n", "{start:?}");
        assert_eq!(curl(&[&gateway.url]), "ok\n", "{start:?}, by the same peer");
    }
    assert!(ended(&gateway, "evicted") > 1_000);
}

#[test]
fn a_connection_with_a_request_under_way_never_makes_room() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let admin = ["--admin", "127.0.0.1:0", "--max-connections", "2"];
    let gateway = Gateway::start(&[&["--upstream", &url], &admin[..]].concat());
    let busy = || {
        let client = sent(&gateway, GET);
        let (mut at_upstream, _) = listener.accept().unwrap();
        assert!(at_upstream.read(&mut [0; 1024]).unwrap() > 0);
        (client, at_upstream)
    };
    let (mut first, _second) = (busy(), busy());
    let full = rest(sent(&gateway, b""));
    assert!(full.starts_with("HTTP/1.1 503 ") && full.contains("retry-after: 1\r\n"), "{full}");
    first.1.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 3\r\n\r\nok\n").unwrap();
    assert!(response(&mut first.0).starts_with("HTTP/1.1 200 "));
    let _third = busy();
    assert_eq!(rest(first.0), "", "it was idle, and made room");
}

#[test]
fn a_peer_has_a_share_of_the_places_unless_it_is_a_trusted_proxy() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let one = ["--max-connections-per-peer", "1", "--upstream", &url];
    let gateway = Gateway::start(&[&one[..], &["--trusted-proxy", "127.0.0.2"]].concat());
    let _busy = sent(&gateway, GET);
    let (_at_upstream, _) = listener.accept().unwrap();
    assert!(rest(sent(&gateway, b"")).starts_with("HTTP/1.1 503 "));
    let proxy = |_| {
        let (address, interface) = (gateway.url.clone(), ["--interface", "127.0.0.2"]);
        thread::spawn(move || curl(&[&interface[..], &[&address]].concat()))
    };
    let proxied: Vec<_> = (0..3).map(proxy).collect();
    // All three are under way at once before the first is answered.
    let mut at_upstream: Vec<_> = (0..3).map(|_| listener.accept().unwrap().0).collect();
    for stream in &mut at_upstream {
        assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
    }
    for stream in &mut at_upstream {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok\n").unwrap();
    }
    assert!(proxied.into_iter().all(|it| it.join().unwrap() == "ok\n"));
}

#[test]
fn more_connections_than_descriptors_are_refused_at_the_start() {
    let error = refused(&["--listen", "127.0.0.1:0", "--max-connections", "1000000000"]);
    assert!(error.contains("--max-connections 1000000000: ") && error.contains("ulimit -n"), "{error}");
    let error = refused(&["--max-connections", "0"]);
    assert!(error.contains("--max-connections") && error.contains('0'), "{error}");
}
