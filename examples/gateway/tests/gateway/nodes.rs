//! The gateway in front of a store with one of several servers down, or of a server that refuses writes: its
//! answers, log lines and metrics.

use std::collections::HashSet;
use std::process::Command;
use std::time::{Duration, Instant};

use http_body_util::BodyExt;

use super::failure::{figure, until_true};
use super::heard::heard;
use super::own::body;
use super::{PROGRAM, client, get, refused};
use traffik_test_support::servers::{Cluster, Redis};

/// Each client is counted by one of three masters. Clients of the two healthy masters are all served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_live_nodes_are_served_while_one_is_down() {
    let mut cluster = Cluster::start();
    let nodes: Vec<_> = cluster.nodes.iter().map(|node| node.address().to_string()).collect();
    let url = format!("redis+cluster://{}", nodes.join(","));
    let (gateway, log) =
        heard(&["--storage", &url, "--key", "header:x-key", "--rate", "100000/w", "--timeout", "200ms"]);
    let (http, address) = (client(false), gateway.url.clone());
    let answered = async |key: &str| {
        let response = get(&http, &address, &[("x-key", key)]).await;
        let status = response.status().as_u16();
        drop(response.into_body().collect().await.unwrap());
        status
    };
    let keys: Vec<_> = (0..40).map(|number| format!("client-{number}")).collect();
    // The node of a key is the one that has one key more than before, so the test needs no names of keys.
    let count = |node: usize| cluster.nodes[node].command(&["DBSIZE"]).integer();
    let mut on_second = HashSet::new();
    for key in &keys {
        let before = count(1);
        assert_eq!(answered(key).await, 200);
        if count(1) > before {
            on_second.insert(key.clone());
        }
    }
    let dead = |key: &str| on_second.contains(key);
    let down = nodes[1].clone();
    cluster.nodes[1].kill();
    let (mut served, mut failed) = (0, 0);
    for turn in 0..2_000 {
        let key = &keys[turn % keys.len()];
        let status = answered(key).await;
        assert_eq!(status, if dead(key) { 503 } else { 200 }, "{key}, turn {turn}");
        (served, failed) = (served + u32::from(status == 200), failed + u32::from(status == 503));
    }
    assert!(served > 500 && failed > 100, "{served} served, {failed} failed");
    // The gateway is ready, since most nodes are, and names the node that is down.
    let health = body(&gateway, "health").await;
    assert!(health.starts_with("ready\n"), "{health}");
    assert!(health.contains(&format!("  circuit open, Redis at {down}: Connection refused")), "{health}");
    let metrics = body(&gateway, "metrics").await;
    for node in &nodes {
        let labels = format!("{{store=\"{url}\",node=\"{node}\"}}");
        let [up, open] = ["traffik_node_up", "traffik_node_breaker_open"];
        let is_well = usize::from(*node != down);
        assert_eq!(figure(&metrics, &format!("{up}{labels}")), is_well, "{node}");
        assert_eq!(figure(&metrics, &format!("{open}{labels}")), 1 - is_well, "{node}");
    }
    cluster.nodes[1].start_again();
    until_true("all are served again", async || {
        answered(keys.iter().find(|key| dead(key)).unwrap()).await == 200
    })
    .await;
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(1_500) {
        for key in &keys {
            answered(key).await;
        }
    }
    let lines = log.faults(gateway);
    let [begins, ends] = &lines[..] else { panic!("{lines:#?}") };
    assert!(begins.contains(&format!("Redis at {down}: Connection refused")), "{begins}");
    assert!(ends.contains(&format!("Redis at {down} answers again")), "{ends}");
}

/// A server that answers but cannot write is not ready, opens the breaker, and is logged once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_cannot_write_is_not_ready() {
    let redis = Redis::start();
    let (gateway, log) = heard(&["--storage", &redis.url(), "--timeout", "200ms"]);
    assert!(body(&gateway, "health").await.starts_with("ready\n"));
    // Less than the server uses already, so it refuses writes.
    redis.command(&["CONFIG", "SET", "maxmemory", "100kb"]);
    let http = client(false);
    for _ in 0..20 {
        assert_eq!(get(&http, &gateway.url, &[]).await.status(), 503);
    }
    let health = body(&gateway, "health").await;
    assert!(health.starts_with("not ready: Redis at ") && health.contains(": circuit open, "), "{health}");
    assert!(health.contains("OOM command not allowed"), "{health}");
    redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    until_true("it is ready again", async || body(&gateway, "health").await.starts_with("ready\n")).await;
    let lines = log.faults(gateway);
    assert_eq!(lines.iter().filter(|line| line.contains("OOM")).count(), 1, "{lines:#?}");
}

/// `--check` reports a mistake before the gateway serves anything.
#[test]
fn checking_asks_the_store() {
    let redis = Redis::options().password("secret").start();
    let open = format!("redis://{}", redis.address());
    let check = |url: &str, more: &[&str]| {
        let output = Command::new(PROGRAM).args(["--check", "--storage", url]).args(more).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, words) = check(&redis.url(), &[]);
    assert_eq!(code, Some(0), "{words}");
    let (code, words) = check(&open, &["--offline"]);
    assert_eq!((code, &*words), (Some(0), ""));
    for (url, reason) in [
        (open.clone(), "NOAUTH"),
        (format!("redis://:wrong@{}", redis.address()), "authentication failed"),
        (format!("{}/99", redis.url()), "DB index is out of range"),
        ("redis://127.0.0.1:1".to_owned(), "Connection refused"),
        ("memcached://127.0.0.1:1".to_owned(), "Connection refused"),
    ] {
        let (code, words) = check(&url, &[]);
        assert_eq!(code, Some(2), "{url}: {words}");
        let error = words.lines().find(|line| line.starts_with("error: --storage ")).unwrap_or_default();
        assert!(error.contains(reason) && !error.contains("secret"), "{url}: {words}");
        assert_eq!(words.matches(reason).count(), 1, "{url}: {words}");
    }
    assert!(refused(&["--offline"]).contains("--check"));
}
