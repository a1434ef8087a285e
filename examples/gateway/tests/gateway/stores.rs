//! The URLs of shared stores: sentinels, Unix sockets and Valkey's schemes.

use std::process::Command;

use traffik_test_support::program::Program;
use traffik_test_support::servers::{Identity, Redis, Sentinel, until};

use super::config::File;
use super::failure::until_true;
use super::own::body;
use super::{Gateway, PROGRAM, client, get, refused, share_limits};

/// Runs `--check` with a storage and returns its status and its errors.
fn check(url: &str, more: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(PROGRAM).args(["--check", "--storage", url]).args(more).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn sentinel_url(sentinel: &Sentinel) -> String {
    format!("redis+sentinel://{}/{}", sentinel.sentinel.address(), Sentinel::NAME)
}

#[tokio::test]
async fn gateways_share_their_limits_by_sentinels() {
    let sentinel = Sentinel::start();
    // A sentinel that does not answer is no fault while another does.
    let url = format!("redis+sentinel://127.0.0.1:1,{}/{}/3", sentinel.sentinel.address(), Sentinel::NAME);
    assert_eq!(check(&url, &["--timeout", "5s"]).0, Some(0));
    share_limits(&url).await;
    let keys = sentinel.master().command(&["INFO", "keyspace"]);
    assert!(keys.text().contains("db3:"), "{}", keys.text());
}

/// The master is killed, the sentinel promotes the replica, and the gateway goes on with its counts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_by_sentinels_is_followed() {
    const LIMIT: usize = 6;
    let mut sentinel = Sentinel::start();
    let rate = format!("{LIMIT}/52w");
    let gateway =
        Gateway::start(&["--storage", &sentinel_url(&sentinel), "--rate", &rate, "--timeout", "300ms"]);
    let http = client(false);
    let status = async || get(&http, &gateway.url, &[]).await.status().as_u16();
    let mut admitted = 0;
    for _ in 0..2 {
        assert_eq!(status().await, 200);
        admitted += 1;
    }
    let replica = sentinel.replica().client();
    drop(replica);
    let offset = sentinel.master().info("master_repl_offset").unwrap();
    until(std::time::Duration::from_secs(10), "the replica has the counts", || {
        let reached = sentinel.replica().info("slave_repl_offset").unwrap();
        reached.parse::<u64>().unwrap() >= offset.parse().unwrap()
    });
    sentinel.kill_master();
    let mut unknown = 0;
    until_true("the new master decides", async || {
        let status = status().await;
        admitted += usize::from(status == 200);
        unknown += usize::from(status == 503);
        status != 503
    })
    .await;
    while status().await == 200 {
        admitted += 1;
    }
    assert!(
        admitted <= LIMIT && admitted + unknown >= LIMIT && admitted > 2,
        "{admitted}, {unknown} unknown"
    );
    let metrics = body(&gateway, "metrics").await;
    let up = metrics.lines().find(|line| line.starts_with("traffik_node_up{"));
    assert!(up.is_some_and(|line| line.ends_with("node=\"the master mymaster\"} 1")), "{metrics}");
    assert_eq!(check(&sentinel_url(&sentinel), &["--timeout", "5s"]), (Some(0), String::new()));
}

/// The sentinels and the master are reached over TLS. Without trust in their certificates, none is asked.
#[tokio::test]
async fn sentinels_over_tls_are_one_url() {
    let identity = Identity::of(&["localhost", "127.0.0.1"]);
    let sentinel = Sentinel::secured(&identity);
    let roots = sentinel.sentinel.directory().join("roots.pem");
    std::fs::write(&roots, &identity.certificate).unwrap();
    let url = format!("rediss+sentinel://localhost:{}/{}", sentinel.secured_port(), Sentinel::NAME);
    let http = client(false);
    for (trust, expected) in [(true, [200, 429]), (false, [503, 503])] {
        let mut command = Command::new(PROGRAM);
        command.args(["--listen", "127.0.0.1:0", "--log-level", "error", "--rate", "1/52w"]);
        command.args(["--storage", &url, "--timeout", "2s"]);
        if trust {
            command.env("SSL_CERT_FILE", &roots);
        }
        let gateway = Gateway(Program::run(command));
        for status in expected {
            assert_eq!(get(&http, &gateway.url, &[]).await.status(), status, "{trust}");
        }
    }
}

#[tokio::test]
async fn a_unix_socket_and_the_schemes_of_valkey_are_the_same_store() {
    let redis = Redis::options().config(&["unixsocket", "socket"]).password("se/cret").start();
    let socket = redis.directory().join("socket");
    let socket = socket.to_str().unwrap();
    let password = "se%2Fcret";
    let urls = [
        format!("redis+unix://{socket}?db=1&pass={password}"),
        format!("valkey+unix://{socket}?pass={password}&db=1"),
        format!("valkey://:{password}@{}/1", redis.address()),
        format!("redis://:{password}@{}/1", redis.address()),
    ];
    let http = client(false);
    let mut statuses = Vec::new();
    for url in &urls {
        assert_eq!(check(url, &["--timeout", "5s"]), (Some(0), String::new()), "{url}");
        let gateway = Gateway::start(&["--storage", url, "--timeout", "5s", "--rate", "2/52w"]);
        statuses.push(get(&http, &gateway.url, &[]).await.status().as_u16());
        let health = body(&gateway, "health").await;
        assert!(health.starts_with("ready\n") && !health.contains("cret"), "{health}");
    }
    assert_eq!(statuses, [200, 200, 429, 429]);
    let wrong = format!("redis+unix://{socket}?pass=secret");
    let (code, words) = check(&wrong, &["--timeout", "5s"]);
    assert!(code == Some(2) && words.contains("authentication failed"), "{words}");
    assert!(words.starts_with(&format!("error: --storage redis+unix://{socket}: ")), "{words}");
}

/// An error has the value, without its secrets, and a URL that would be right.
#[test]
fn a_url_that_cannot_be_read_is_refused_with_a_right_one() {
    const SENTINELS: &str = "+sentinel://USER:PASSWORD@HOST:PORT,HOST:PORT/MASTER/DATABASE";
    for (url, reason, right) in [
        ("redis+sentinel://127.0.0.1:26379", "names no master", SENTINELS),
        ("redis+sentinel://127.0.0.1:26379/", "names no master", SENTINELS),
        ("redis+sentinel:///mymaster", "names no host", SENTINELS),
        ("redis+sentinel://127.0.0.1:26379,/mymaster", "names no host", SENTINELS),
        ("redis+sentinel://127.0.0.1:0/mymaster", "\"0\" is not a port", SENTINELS),
        ("redis+sentinel://127.0.0.1/my:master", "is not the name of a master", SENTINELS),
        ("redis+sentinel://127.0.0.1/mymaster/x", "\"x\" is not the number of a database", SENTINELS),
        ("rediss+sentinel://127.0.0.1", "names no master", "rediss+sentinel://"),
        ("redis+unix://socket", "needs its whole path", "redis+unix:///PATH"),
        ("redis+unix:", "needs its whole path", "redis+unix:///PATH"),
        ("redis+unix:///socket?db=x", "", "redis+unix:///PATH?db=DATABASE"),
        ("redis+cluster://127.0.0.1:x", "\"x\" is not a port", "write 1 to 65535"),
        ("unix:///socket", "the storages are", "redis+unix:///PATH"),
        ("valkey://127.0.0.1:x", "\"x\" is not a port", "write 1 to 65535"),
        ("etcd://127.0.0.1", "the storages are", "redis+sentinel://HOST:PORT,HOST:PORT/MASTER"),
    ] {
        let words = refused(&["--storage", url, "--check"]);
        assert!(words.contains("--storage") && words.contains(url), "{url}: {words}");
        assert!(words.contains(reason) && words.contains(right), "{url}: {words}");
    }
    for (url, reason) in [
        ("redis+sentinel://127.0.0.1:1/mymaster", "Connection refused"),
        ("redis+unix:///nowhere/socket", "No such file or directory"),
        ("valkey+sentinel://127.0.0.1:1/mymaster", "Connection refused"),
    ] {
        let (code, words) = check(url, &[]);
        let words_of_url = url.replace("valkey", "redis");
        assert!(words.starts_with(&format!("error: --storage {words_of_url}: ")), "{words}");
        assert!(code == Some(2) && words.contains(reason), "{words}");
        assert_eq!(check(url, &["--offline"]), (Some(0), String::new()));
    }
}

/// For a file, the error has the line of a throttle on the store and the name of its key.
#[test]
fn a_store_of_a_file_is_checked_too() {
    let text = "[[throttle]]\nuid = \"a\"\nrate = \"1/s\"\n[[throttle]]\nuid = \"b\"\nrate = \"1/s\"\n\
                storage = \"redis://:secret@127.0.0.1:1\"\n";
    let file = File::new("checked-store", text);
    let words = refused(&["--check", "--config", file.path()]);
    let expected = format!("error: --config {}: line 5: storage redis://127.0.0.1:1: ", file.path());
    assert!(words.starts_with(&expected) && words.contains("Connection refused"), "{words}");
    assert!(!words.contains("secret"), "{words}");
}

#[test]
fn a_master_that_no_sentinel_knows_is_reported() {
    let sentinel = Sentinel::start();
    let url = format!("redis+sentinel://{}/other", sentinel.sentinel.address());
    let (code, words) = check(&url, &["--timeout", "2s"]);
    assert!(code == Some(2) && words.contains("other"), "{words}");
}
