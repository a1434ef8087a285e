//! Upstreams that speak HTTP/2: with and without TLS, and gRPC.

use std::process::Command;

use serde_json::{Value, json};
use traffik_test_support::program::{Program, curl};

use super::config::File;
use super::rls::Service;
use super::rls_messages::{Stub, descriptor};
use super::tls::Files;
use super::upstream::mirror;
use super::{Gateway, PROGRAM, refused};

/// A gateway before `upstream`, which may have this certificate.
fn before(upstream: &str, files: &Files) -> Gateway {
    let mut command = Command::new(PROGRAM);
    command.env("SSL_CERT_FILE", files.certificate()).args([
        "--listen",
        "127.0.0.1:0",
        "--log-level",
        "warn",
    ]);
    command.args(["--upstream", upstream, "--rate", "1000/s"]);
    Gateway(Program::run(command))
}

/// Requests arrive alike, whichever version of HTTP the client and the upstream speak.
#[test]
fn an_upstream_of_http2_sees_the_request_and_who_sent_it() {
    let files = Files::new("http2");
    let mirror = mirror();
    let common = ["--upstream", &mirror, "--trusted-proxy", "127.0.0.1", "--rate", "1000/s"];
    let (plain, secured) = (Gateway::start(&common), files.start(&common));
    for (upstream, scheme) in
        [(plain.url.replace("http", "h2c"), "http"), (secured.url.replace("https", "h2"), "https")]
    {
        let gateway = before(&format!("{upstream}/base"), &files);
        for version in ["--http1.1", "--http2-prior-knowledge"] {
            let fields = [
                "-H",
                "Host: a.example",
                "-H",
                "X-Real-IP: 192.0.2.1",
                "-H",
                "Connection: x-hop",
                "-H",
                "X-Hop: 1",
                "-H",
                "Cookie: a=1",
            ];
            let url = format!("{}/a/path?query=1", gateway.url);
            let head = curl(&[&[version, "-d", "body", &*url], &fields[..]].concat()).to_ascii_lowercase();
            assert!(head.starts_with("post /base/a/path?query=1 http/1.1\r\n"), "{head}");
            let authority = upstream.rsplit_once('/').unwrap().1;
            for line in [
                &*format!("host: {authority}"),
                "content-length: 4",
                "cookie: a=1",
                "x-forwarded-for: 127.0.0.1, 127.0.0.1",
                "x-forwarded-host: a.example",
                // The nearest proxy to the client has written it.
                "x-forwarded-proto: http",
            ] {
                assert!(head.contains(&format!("\r\n{line}\r\n")), "{line} by {scheme}: {head}");
            }
            assert!(!head.contains("x-real-ip"), "{head}");
            // In HTTP/2 no field concerns a single connection, and curl sends no Connection there.
            assert_eq!(head.contains("x-hop"), version != "--http1.1", "{head}");
        }
    }
}

/// A client and a server by others speak gRPC through the gateway.
#[test]
fn grpc_passes_with_its_trailers() {
    let limits = "[[throttle]]\nuid = \"users\"\nrate = \"2/52w\"\ndomain = \"edge\"\ndescriptors = { key = \"user\" }\n";
    let limits = File::new("http2-grpc", limits);
    let service = Service::start(&["--config", limits.path()]);
    let files = Files::new("http2-grpc");
    let gateway = before(&format!("h2c://{}", service.address), &files);
    let mut stub = Stub::at(gateway.address());
    let mut ask = || stub.codes(&[descriptor(&[("user", "ann")])]).0;
    assert_eq!([ask(), ask(), ask()], ["OK", "OK", "OVER_LIMIT"]);
    // A stream of responses, of which the first says that the service is SERVING.
    let watch = json!({ "raw": 0, "streams": true, "method": "/grpc.health.v1.Health/Watch" });
    assert_eq!(stub.ask(&watch), json!({ "first": "0801" }));
    // A failure has its status in the trailers.
    let none = json!({ "raw": 1, "method": "/none/Of" });
    assert_eq!(stub.ask(&none)["error"], Value::from("UNIMPLEMENTED"));
}

#[test]
fn an_upstream_that_is_gone_or_speaks_no_http2_is_told() {
    let files = Files::new("http2-gone");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for upstream in [format!("h2c://{free}"), mirror().replace("http", "h2c"), format!("h2://{free}")] {
        let gateway = before(&upstream, &files);
        let status = curl(&["-o", "/dev/null", "-w", "%{http_code}", &gateway.url]);
        assert_eq!(status, "502", "{upstream}");
    }
    let error = refused(&["--upstream", "ftp://127.0.0.1"]);
    assert!(error.contains("h2c://"), "{error}");
}
