//! The request as the upstream receives it.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::thread;

use http_body_util::BodyExt;

use super::{Gateway, client, curl, get};

#[tokio::test]
async fn admitted_requests_reach_the_upstream_and_its_reply_comes_back() {
    let upstream = Gateway::start(&["--rate", "1/w", "--headers", "draft07"]);
    let gateway = Gateway::start(&["--rate", "2/w", "--upstream", &upstream.url, "--headers", "x-ratelimit"]);
    let client = client(false);
    let first =
        get(&client, &format!("{}/a/path?query=1", gateway.url), &[("connection", "x-hop"), ("x-hop", "1")])
            .await;
    assert_eq!((first.status().as_u16(), first.headers().contains_key("ratelimit")), (200, true));
    assert_eq!(first.into_body().collect().await.unwrap().to_bytes(), "ok\n");
    let second = get(&client, &gateway.url, &[]).await;
    assert_eq!(second.status(), 429, "by the upstream");
    assert!(second.headers().contains_key("ratelimit") && second.headers().contains_key("x-ratelimit-limit"));
    let third = get(&client, &gateway.url, &[]).await;
    assert!(!third.headers().contains_key("ratelimit"), "by the gateway itself");

    let url = upstream.url.clone();
    drop(upstream);
    let orphan = Gateway::start(&["--rate", "2/w", "--upstream", &url]);
    assert_eq!(get(&client, &orphan.url, &[]).await.status(), 502);
}

/// Starts a server that answers with the head of the request as it was received.
pub(super) fn mirror() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut head = String::new();
            while stream.read_line(&mut head).unwrap() > 2 {}
            let head = format!(
                "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{head}",
                head.len()
            );
            stream.get_mut().write_all(head.as_bytes()).unwrap();
        }
    });
    url
}

/// The host and the cookies of a request reach the upstream alike in every version of HTTP.
#[test]
fn the_upstream_sees_the_same_request_whatever_its_version() {
    let gateway = Gateway::start(&["--upstream", &mirror()]);
    let seen = |options: &[&str]| {
        let headers = ["Host: a.example:81", "Cookie: a=1; b=2", "Cookie: c=3"];
        let headers = headers.iter().flat_map(|header| ["--header", header]);
        let received =
            curl(&headers.chain(options.iter().copied()).chain([gateway.url.as_str()]).collect::<Vec<_>>());
        let mut lines: Vec<_> = received.lines().map(str::to_ascii_lowercase).collect();
        lines.sort();
        lines
    };
    let (one, two) = (seen(&["--http1.1"]), seen(&["--http2-prior-knowledge"]));
    let of = |lines: &[String], name: &str| -> Vec<String> {
        lines.iter().filter(|line| line.starts_with(name)).cloned().collect()
    };
    for lines in [&one, &two] {
        assert_eq!(of(lines, "host:"), ["host: a.example:81"], "{lines:?}");
        assert_eq!(of(lines, "cookie:"), ["cookie: a=1; b=2; c=3"], "{lines:?}");
    }
    assert_eq!(one, two);
    // The host of an absolute target takes precedence over the header (RFC 9112, section 3.2.2).
    let whole = seen(&["--request-target", "http://b.example/"]);
    assert_eq!(of(&whole, "host:"), ["host: b.example"], "{whole:?}");
}
