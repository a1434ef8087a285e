//! The gateway as a user runs it: the real program, real sockets, real clients.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that panics has failed"
)]

mod admin;
mod auth;
mod config;
mod config_reference;
mod config_reload;
mod config_replies;
mod config_rules;
mod connections;
mod failure;
mod fields;
mod golden;
mod heard;
mod http2;
mod keys;
mod kubernetes;
mod listener;
mod messages;
mod nodes;
mod operation;
mod operation_log;
mod own;
mod page;
mod proxy;
mod readme;
mod rls;
mod rls_config;
mod rls_messages;
mod rules;
mod stores;
mod tls;
mod upstream;
mod websocket;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::{Deref, DerefMut};
use std::process::{Command, Output};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use traffik_test_support::program::{Program, curl};
use traffik_test_support::servers;

/// The program, as cargo has built it for these tests.
const PROGRAM: &str = env!("CARGO_BIN_EXE_traffik-gateway");

/// A gateway on a free port.
struct Gateway(Program);

impl Gateway {
    fn start(options: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        // The log of a test that does not read it has the faults alone.
        command.args(["--listen", "127.0.0.1:0", "--log-level", "warn"]).args(options);
        Self(Program::run(command))
    }
}

impl Deref for Gateway {
    type Target = Program;

    fn deref(&self) -> &Program {
        &self.0
    }
}

impl DerefMut for Gateway {
    fn deref_mut(&mut self) -> &mut Program {
        &mut self.0
    }
}

type Http = Client<hyper_util::client::legacy::connect::HttpConnector, Empty<Bytes>>;

fn client(http2: bool) -> Http {
    Client::builder(TokioExecutor::new()).http2_only(http2).build_http()
}

async fn get(client: &Http, url: &str, headers: &[(&str, &str)]) -> Response<Incoming> {
    let request =
        headers.iter().fold(Request::get(url), |request, (name, value)| request.header(*name, *value));
    client.request(request.body(Empty::new()).unwrap()).await.unwrap()
}

/// Returns the statuses of requests to paths with headers.
async fn statuses(gateway: &Gateway, requests: &[(&str, &[(&str, &str)])]) -> Vec<u16> {
    let client = client(false);
    let mut statuses = Vec::new();
    for (path, headers) in requests {
        let url = format!("{}{path}", gateway.url);
        statuses.push(get(&client, &url, headers).await.status().as_u16());
    }
    statuses
}

fn refused(options: &[&str]) -> String {
    let output: Output = Command::new(PROGRAM).args(options).output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{options:?}");
    String::from_utf8(output.stderr).unwrap()
}

/// The README's promise: ten pass, the eleventh gets a wait, and the wait is right.
#[test]
fn ten_pass_and_the_eleventh_is_told_when_to_come_back() {
    let gateway = Gateway::start(&["--strategy", "token-bucket", "--rate", "10/m"]);
    let ask = || curl(&["--include", &gateway.url]);
    for left in (0..10).rev() {
        let reply = ask();
        assert!(reply.starts_with("HTTP/1.1 200 OK") && reply.ends_with("\r\n\r\nok\n"), "{reply}");
        assert!(reply.contains(&format!("ratelimit: \"rate-1\";r={left};t=")), "{reply}");
    }
    let denied = ask();
    assert!(denied.starts_with("HTTP/1.1 429"), "{denied}");
    let wait = denied.lines().find_map(|line| line.strip_prefix("retry-after: ")).unwrap().trim();
    assert!(wait == "6" || wait == "5", "a token comes every 6 s, counted from the first request: {wait}");
    // curl itself obeys Retry-After.
    assert_eq!(curl(&["--fail", "--retry", "1", &gateway.url]), "ok\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_load_clients_on_one_key_are_admitted_exactly_the_limit() {
    for strategy in ["fixed-window", "token-bucket", "gcra:burst=500"] {
        for http2 in [false, true] {
            // The refill is too slow to add a hit during the test, and a window of a week is unlikely to end.
            let rate = if strategy == "fixed-window" { "500/w" } else { "500/52w" };
            let gateway = Gateway::start(&["--strategy", strategy, "--rate", rate]);
            let clients = (0..4).map(|_| {
                let (client, url) = (client(http2), gateway.url.clone());
                tokio::spawn(async move {
                    let mut admitted = 0;
                    for _ in 0..250 {
                        let response = get(&client, &url, &[]).await;
                        assert_eq!(
                            response.version(),
                            if http2 { Version::HTTP_2 } else { Version::HTTP_11 }
                        );
                        admitted += u32::from(response.status() == 200);
                        let _ = response.into_body().collect().await.unwrap();
                    }
                    admitted
                })
            });
            let mut admitted = 0;
            for client in clients.collect::<Vec<_>>() {
                admitted += client.await.unwrap();
            }
            assert_eq!(admitted, 500, "{strategy}, http2: {http2}");
        }
    }
}

#[tokio::test]
async fn several_rates_are_one_limit() {
    let gateway = Gateway::start(&["--rate", "3/w", "--rate", "2/w", "--headers", "x-ratelimit"]);
    let client = client(false);
    let mut received = Vec::new();
    for _ in 0..3 {
        let response = get(&client, &gateway.url, &[]).await;
        let header = |name| response.headers().get(name).unwrap().to_str().unwrap().to_owned();
        received.push((
            response.status().as_u16(),
            header("x-ratelimit-limit"),
            header("x-ratelimit-remaining"),
        ));
    }
    let expected = [(200, "2", "1"), (200, "2", "0"), (429, "2", "0")];
    assert_eq!(received, expected.map(|(status, limit, left)| (status, limit.to_owned(), left.to_owned())));
}

#[tokio::test]
async fn clients_are_counted_by_header_when_asked() {
    let gateway = Gateway::start(&["--rate", "1/w", "--key", "header:x-api-key", "--headers", "none"]);
    let client = client(false);
    let status = async |headers: &[(&str, &str)]| get(&client, &gateway.url, headers).await.status().as_u16();
    assert_eq!([status(&[("x-api-key", "a")]).await, status(&[("x-api-key", "b")]).await], [200, 200]);
    assert_eq!([status(&[("x-api-key", "a")]).await, status(&[]).await, status(&[]).await], [429, 200, 429]);
}

#[tokio::test]
async fn its_own_paths_are_for_this_machine_and_cost_nothing() {
    let gateway = Gateway::start(&["--rate", "1/w"]);
    let client = client(false);
    let health = format!("{}/_traffik/health", gateway.url);
    for _ in 0..3 {
        assert_eq!(get(&client, &health, &[]).await.status(), 200);
    }
    for forwarding in ["forwarded", "x-forwarded-for", "x-real-ip"] {
        assert_eq!(get(&client, &health, &[(forwarding, "192.0.2.1")]).await.status(), 404);
    }
    assert_eq!(get(&client, &format!("{}/_traffik/other", gateway.url), &[]).await.status(), 404);
    assert_eq!(get(&client, &gateway.url, &[]).await.status(), 200, "nothing had been charged");
}

/// A request under way when the gateway is asked to stop is served to its end.
#[test]
fn it_drains_when_asked_to_stop() {
    for name in ["TERM", "INT"] {
        let upstream = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", upstream.local_addr().unwrap());
        let mut gateway = Gateway::start(&["--upstream", &url]);
        let mut client = TcpStream::connect(gateway.address()).unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: gateway\r\n\r\n").unwrap();
        // The upstream has the request and takes its time.
        let (mut at_upstream, _) = upstream.accept().unwrap();
        assert!(at_upstream.read(&mut [0; 1024]).unwrap() > 0);
        gateway.signal(name);
        // It no longer accepts, and has not ended either.
        while TcpStream::connect(gateway.address()).is_ok() {
            std::thread::yield_now();
        }
        assert_eq!(gateway.process.try_wait().unwrap(), None);
        at_upstream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nlate\n").unwrap();
        let mut reply = String::new();
        let _ = client.read_to_string(&mut reply).unwrap();
        assert!(reply.starts_with("HTTP/1.1 200 OK") && reply.ends_with("late\n"), "{name}: {reply:?}");
        assert_eq!(gateway.process.wait().unwrap().code(), Some(0));
    }
}

/// Two gateways on one store have one limit, with any strategy. Without the store they answer 503 within the
/// deadline.
#[tokio::test]
async fn gateways_on_one_redis_share_their_limits() {
    let mut redis = servers::Redis::start();
    let url = redis.url();
    gateways_share_their_limits(&url, || redis.stop()).await;
}

#[tokio::test]
async fn gateways_on_one_memcached_share_their_limits() {
    let mut memcached = servers::Memcached::start();
    let url = format!("memcached://{}", memcached.address());
    gateways_share_their_limits(&url, || memcached.stop()).await;
}

#[tokio::test]
async fn gateways_on_one_cluster_share_their_limits() {
    let cluster = servers::Cluster::start();
    let nodes: Vec<_> = cluster.urls().iter().map(|url| url.replace("redis://", "")).collect();
    share_limits(&format!("redis+cluster://{}", nodes.join(","))).await;
}

/// The certificate is trusted like the operating system's roots, which come from a file here.
#[tokio::test]
async fn a_cluster_over_tls_is_one_url() {
    let identity = servers::Identity::of(&["localhost", "127.0.0.1"]);
    let cluster = servers::Cluster::secured(&identity);
    let roots = cluster.nodes[0].directory().join("roots.pem");
    std::fs::write(&roots, &identity.certificate).unwrap();
    let nodes: Vec<_> = cluster.secured_urls().iter().map(|url| url.replace("rediss://", "")).collect();
    let url = format!("rediss+cluster://{}", nodes.join(","));
    let mut command = Command::new(PROGRAM);
    command.env("SSL_CERT_FILE", &roots).args(["--listen", "127.0.0.1:0", "--rate", "1/w"]);
    command.args(["--storage", &url, "--timeout", "10s"]);
    let gateway = Gateway(Program::run(command));
    let client = client(false);
    assert_eq!(get(&client, &gateway.url, &[]).await.status(), 200);
    assert_eq!(get(&client, &gateway.url, &[]).await.status(), 429);
    // Without that trust, the gateway asks no node.
    let gateway = Gateway::start(&["--storage", &url, "--timeout", "1s"]);
    assert_eq!(get(&client, &gateway.url, &[]).await.status(), 503);
}

async fn gateways_share_their_limits(storage: &str, stop: impl FnOnce()) {
    share_limits(storage).await;
    let client = client(false);
    let gateway = Gateway::start(&["--storage", storage, "--timeout", "200ms"]);
    assert_eq!(get(&client, &gateway.url, &[]).await.status(), 200);
    stop();
    let began = std::time::Instant::now();
    assert_eq!(get(&client, &gateway.url, &[]).await.status(), 503);
    assert!(began.elapsed() < std::time::Duration::from_secs(2));
}

async fn share_limits(storage: &str) {
    let client = client(false);
    for (name, strategy, rates) in [
        ("o", "fixed-window", &["5/w"][..]),
        ("w", "fixed-window", &["5/w", "7/d"]),
        ("t", "token-bucket", &["5/w", "7/d"]),
        ("s", "sliding-window", &["5/w", "7/d"]),
        ("l", "sliding-log", &["5/w", "7/d"]),
    ] {
        let mut options =
            vec!["--storage", storage, "--timeout", "5s", "--namespace", name, "--strategy", strategy];
        options.extend(rates.iter().flat_map(|rate| ["--rate", rate]));
        let gateways = [Gateway::start(&options), Gateway::start(&options)];
        let mut admitted = 0;
        for request in 0..20 {
            admitted += usize::from(get(&client, &gateways[request % 2].url, &[]).await.status() == 200);
        }
        assert_eq!(admitted, 5, "{strategy}");
    }
}

/// The page and `/_traffik/denied` list the clients denied most, on any storage, by name or by the hash of a
/// secret.
#[tokio::test]
async fn it_tells_who_is_denied_most() {
    let redis = servers::Redis::start();
    let memcached = servers::Memcached::start();
    let client = client(false);
    for storage in ["memory:".to_owned(), redis.url(), format!("memcached://{}", memcached.address())] {
        for on_error in ["throttle", "fallback"] {
            let options = ["--rate", "2/w", "--key", "peer", "--key", "header:x-user", "--timeout", "5s"];
            let more = ["--storage", &storage, "--on-error", on_error, "--namespace", on_error];
            let gateway = Gateway::start(&[&options[..], &more].concat());
            for (user, requests) in [("ann", 5), ("bob", 3), ("cid", 2)] {
                for _ in 0..requests {
                    get(&client, &gateway.url, &[("x-user", user)]).await;
                }
            }
            let denied = get(&client, &format!("{}/_traffik/denied", gateway.url), &[]).await;
            let received = denied.into_body().collect().await.unwrap().to_bytes();
            // The first digits that `printf ann | sha256sum` prints.
            let expected = "3\t127.0.0.1+key 49915e0d gateway\n1\t127.0.0.1+key 81b637d8 gateway\n";
            assert_eq!(received, expected, "{storage} {on_error}");
        }
    }
}

/// Each strategy of the help admits its number of forty requests at once, at 20 per week.
#[tokio::test]
async fn it_takes_every_strategy() {
    let client = client(false);
    for (spec, admitted) in [
        ("sliding-window", 20),
        ("sliding-window:strict=10", 20),
        ("sliding-log", 20),
        ("token-bucket:burst=15,debt=3", 18),
        ("leaky-bucket", 1),
        ("leaky-bucket:capacity=5", 5),
        ("gcra:burst=10", 10),
        ("gcra:tolerance=500ms", 1),
        ("adaptive", 20),
        ("adaptive:threshold=0.8,reduction=0.6,recovery=0.1,floor=0.3", 20),
        ("quota-rollover", 30),
        ("quota-rollover:percent=50,max=3", 23),
        ("cost-based:burst=12,window=100,floor=0.5", 12),
        ("fair-share:instance=a,weight=1", 20),
        ("regions:us=2/5,eu=3/10,default=3/10,spill=true", 20),
        ("regions:us=2/5,eu=3/10,default=3/10", 6),
        ("tiered(free=1,premium=5,enterprise=10)/token-bucket:burst=7", 7),
        ("time-of-day(00:00-24:00=3/2,utc=+05:30)/fixed-window", 30),
        ("time-of-day(00:00-08:00=1/2,08:00-17:00=1/2,17:00-24:00=1/2)/sliding-log", 10),
        ("priority(low=50%,normal=25%,high=10%)/token-bucket", 15),
        ("tiered(free=1/2)/time-of-day(00:00-24:00=1/2)/priority(normal=1/5)/fixed-window", 4),
    ] {
        let gateway = Gateway::start(&["--rate", "20/w", "--strategy", spec, "--headers", "none"]);
        let mut passed = 0;
        for _ in 0..40 {
            passed += u32::from(get(&client, &gateway.url, &[]).await.status() == 200);
        }
        assert_eq!(passed, admitted, "{spec}");
    }
    // A queue lets requests pass later instead, if it has room.
    let gateway = Gateway::start(&["--rate", "20/w", "--strategy", "leaky-bucket-queue:queue=0"]);
    let statuses =
        [get(&client, &gateway.url, &[]).await.status(), get(&client, &gateway.url, &[]).await.status()];
    assert_eq!(statuses.map(|status| status.as_u16()), [200, 429]);
    let gateway = Gateway::start(&["--rate", "100/s", "--strategy", "leaky-bucket-queue:queue=20"]);
    for _ in 0..5 {
        assert_eq!(get(&client, &gateway.url, &[]).await.status(), 200);
    }
}
