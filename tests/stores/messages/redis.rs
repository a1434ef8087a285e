//! Redis: refusals, servers of another kind, servers that do not answer, and the lines that a storage writes.

use std::future::ready;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use traffik::storage::BackendError;
use traffik::{AsyncLimiter, Decision, FixedWindow, Rate, RedisBuilder, RedisStorage};
use traffik_test_support::limited::{Count, DEADLINE, RECOVERY, recovered};
use traffik_test_support::servers::{
    Client, Cluster, Identity, Memcached, Proxy, Redis, Reply, Sentinel, until,
};

use super::Messages;
use crate::lines::Lines;

fn storage(builder: RedisBuilder, lines: &Lines) -> RedisStorage {
    builder.namespace("f").timeout(DEADLINE).on_warning(lines.writer()).build().unwrap()
}

fn limiter(storage: RedisStorage) -> AsyncLimiter<FixedWindow, RedisStorage> {
    AsyncLimiter::new(FixedWindow::new(Rate::per_week(9)), storage)
}

/// Checks once, on a storage of its own.
async fn check(builder: RedisBuilder) -> Result<Decision, BackendError> {
    limiter(storage(builder, &Lines::default())).check("alice").await
}

async fn check_url(url: &str) -> Result<Decision, BackendError> {
    check(RedisStorage::url(url).unwrap()).await
}

pub(super) async fn provoke(messages: &mut Messages) {
    refusals(messages).await;
    rights(messages).await;
    without_memory(messages).await;
    of_another_kind(messages).await;
    clusters(messages).await;
    sentinels(messages).await;
    secured(messages).await;
    silent(messages).await;
    own(messages).await;
    lines(messages).await;
}

async fn refusals(messages: &mut Messages) {
    messages.section("Redis: addresses and passwords");
    let mut gone = Redis::start();
    messages.place(gone.address(), "HOST:PORT");
    gone.stop();
    messages.refused("no server listens there", check_url(&gone.url()).await);
    let redis = Redis::start();
    messages.place(redis.address(), "HOST:PORT");
    messages.refused("the URL names database 99", check_url(&format!("{}/99", redis.url())).await);
    let guarded = Redis::options().password("secret").user("ann", "pass", &["~*", "+@all"]).start();
    messages.place(guarded.address(), "HOST:PORT");
    let open = format!("redis://{}", guarded.address());
    messages.refused("the URL has no password", check_url(&open).await);
    messages.refused("the URL has a wrong password", check_url(&guarded.url_as("ann", "wrong")).await);
}

async fn rights(messages: &mut Messages) {
    messages.section("Redis: rights of users");
    let guarded = Redis::options()
        .user("reader", "pass", &["~*", "+@read"])
        .user("timeless", "pass", &["~*", "+@all", "-time"])
        .user("elsewhere", "pass", &["~other:*", "+@all"])
        .user("scriptless", "pass", &["~*", "+@all", "-evalsha", "-eval", "-script"])
        .user("clearless", "pass", &["~*", "+@all", "-scan"])
        .start();
    messages.place(guarded.address(), "HOST:PORT");
    for (user, situation) in [
        ("reader", "the user may only read"),
        ("timeless", "the user may not ask for the time"),
        ("elsewhere", "the user may use other keys only"),
        ("scriptless", "the user may run no scripts"),
    ] {
        messages.refused(situation, check_url(&guarded.url_as(user, "pass")).await);
    }
    let builder = RedisStorage::url(&guarded.url_as("clearless", "pass")).unwrap();
    let cleared = storage(builder, &Lines::default()).clear().await;
    messages.refused("clear(), but the user may not scan keys", cleared);
}

async fn without_memory(messages: &mut Messages) {
    messages.section("Redis: servers that cannot write");
    let full = Redis::options().config(&["maxmemory", "1mb"]).start();
    messages.place(full.address(), "HOST:PORT");
    for number in 0..2_000 {
        full.command(&["SET".to_owned(), format!("ballast {number}"), "x".repeat(1_000)]);
    }
    messages.refused("the memory is full", check_url(&full.url()).await);
    let unsaved = Redis::options().config(&["enable-protected-configs", "yes"]).start();
    messages.place(unsaved.address(), "HOST:PORT");
    unsaved.command(&["CONFIG", "SET", "dir", "/proc/self"]);
    unsaved.command(&["CONFIG", "SET", "save", "3600 1"]);
    unsaved.command(&["SET", "a", "b"]);
    unsaved.command(&["BGSAVE"]);
    until(RECOVERY * 10, "a save fails", || matches!(unsaved.command(&["SET", "a", "b"]), Reply::Error(_)));
    messages.refused("the last save failed", check_url(&unsaved.url()).await);
    let lonely = Redis::options().config(&["min-replicas-to-write", "1"]).start();
    messages.place(lonely.address(), "HOST:PORT");
    messages.refused("replicas are missing", check_url(&lonely.url()).await);
    let master = Redis::start();
    let port = master.port().to_string();
    let replica = Redis::options().config(&["replicaof", "127.0.0.1", &port]).start();
    messages.place(replica.address(), "HOST:PORT");
    let is_up = || replica.info("master_link_status").as_deref() == Some("up");
    until(RECOVERY * 10, "the replica follows", is_up);
    messages.refused("the server is a replica", check_url(&replica.url()).await);
    let orphan = Redis::options().config(&["replicaof", "127.0.0.1", "1"]).start();
    messages.place(orphan.address(), "HOST:PORT");
    orphan.command(&["CONFIG", "SET", "replica-serve-stale-data", "no"]);
    messages.refused("the replica has no master", check_url(&orphan.url()).await);
    let busy = Redis::options().config(&["busy-reply-threshold", "50"]).start();
    messages.place(busy.address(), "HOST:PORT");
    let limits = limiter(storage(RedisStorage::url(&busy.url()).unwrap(), &Lines::default()));
    let _ = limits.check("alice").await.unwrap();
    let mut other = busy.client();
    let endless = std::thread::spawn(move || other.ask(&["EVAL", "while true do end", "0"]));
    until(RECOVERY, "it is busy", || matches!(busy.command(&["PING"]), Reply::Error(_)));
    messages.refused("another client's script does not end", limits.check("alice").await);
    busy.command(&["SCRIPT", "KILL"]);
    assert!(endless.join().is_ok());
    let crowded = Redis::options().config(&["maxclients", "40"]).start();
    messages.place(crowded.address(), "HOST:PORT");
    let mut others = Vec::new();
    while let Ok(mut client) = Client::connect(crowded.address())
        && matches!(client.ask(&["PING"]), Ok(Reply::Status(_)))
    {
        others.push(client);
    }
    messages.refused("there are too many clients", check_url(&crowded.url()).await);
}

async fn of_another_kind(messages: &mut Messages) {
    messages.section("Redis: servers of another kind");
    let memcached = Memcached::start();
    messages.place(memcached.address(), "HOST:PORT");
    messages
        .refused("the server is a Memcached", check_url(&format!("redis://{}", memcached.address())).await);
    let old = Redis::options().config(&["rename-command", "EVALSHA", ""]).start();
    messages.place(old.address(), "HOST:PORT");
    messages.refused("the server has no EVALSHA", check_url(&old.url()).await);
}

async fn clusters(messages: &mut Messages) {
    messages.section("Redis: clusters");
    let single = Redis::start();
    messages.place(single.address(), "HOST:PORT");
    let builder = RedisStorage::cluster([single.url()]).unwrap();
    messages.refused("RedisStorage::cluster of a single server", check(builder).await);
    let mut gone = Redis::start();
    messages.place(gone.address(), "HOST:PORT");
    gone.stop();
    let builder = RedisStorage::cluster([gone.url()]).unwrap();
    messages.refused("no node of the cluster listens", check(builder).await);
    let mut cluster = Cluster::start();
    for node in &cluster.nodes {
        messages.place(node.address(), "HOST:PORT");
    }
    let (builder, mut refused) = (RedisStorage::url(&cluster.urls()[0]).unwrap(), None);
    let limits = limiter(storage(builder, &Lines::default()));
    for key in 0..60 {
        refused = refused.or(limits.check(&key).await.err());
    }
    let refused = refused.unwrap().to_string();
    // The slot and the node depend on the key.
    let (begin, rest) = refused.split_once("MOVED ").unwrap();
    let advice = rest.split_once(';').unwrap().1;
    let refused = format!("{begin}MOVED SLOT HOST:PORT;{advice}");
    messages.line("RedisStorage::url of a node of a cluster", &refused);
    let client = redis::Client::open(&*cluster.urls()[0]).unwrap();
    let connection = client.get_multiplexed_async_connection().await.unwrap();
    let cleared = storage(RedisStorage::connection(connection), &Lines::default()).clear().await;
    messages.refused("clear() on a connection of yours to a cluster", cleared);
    let builder = RedisStorage::cluster(cluster.urls()).unwrap();
    let limits = limiter(storage(builder, &Lines::default()));
    let slot = cluster.slot("f:{alice}");
    let _ = limits.check("alice").await.unwrap();
    let owner = cluster.owner(slot);
    cluster.nodes[owner].stop();
    messages.refused("the node of the key is gone", limits.check("alice").await);
}

async fn sentinels(messages: &mut Messages) {
    messages.section("Redis: sentinels");
    let mut sentinel = Sentinel::start();
    let url = sentinel.url();
    messages.place(url.trim_start_matches("redis://"), "HOST:PORT");
    let builder = RedisStorage::sentinel([url.clone()], "redis://another").unwrap();
    messages.refused("the sentinels know no such master", check(builder).await);
    sentinel.sentinel.stop();
    let builder = RedisStorage::sentinel([url], "redis://mymaster").unwrap();
    messages.refused("no sentinel listens", check(builder).await);
}

async fn secured(messages: &mut Messages) {
    messages.section("Redis: TLS");
    let identity = Identity::of(&["localhost", "127.0.0.1"]);
    let redis = Redis::options().secured(&identity).start();
    messages.place(format!("127.0.0.1:{}", redis.secured_port()), "HOST:PORT");
    messages.place(redis.address(), "HOST:PORT");
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let tls = tls.with_safe_default_protocol_versions().unwrap();
    let tls = tls.with_root_certificates(RootCertStore::empty()).with_no_client_auth();
    let url = |port| format!("rediss://127.0.0.1:{port}");
    let builder = RedisStorage::url(&url(redis.secured_port())).unwrap().tls(tls.clone());
    messages.refused("the certificate is not trusted", check(builder).await);
    let plain = Redis::start();
    messages.place(plain.address(), "HOST:PORT");
    let builder = RedisStorage::url(&url(plain.port())).unwrap().tls(tls);
    messages.refused("the server does not speak TLS", check(builder).await);
    let builder = RedisStorage::url(&format!("redis://127.0.0.1:{}", redis.secured_port())).unwrap();
    messages.refused("the server speaks TLS only", check(builder).await);
}

async fn silent(messages: &mut Messages) {
    messages.section("Redis: servers that do not answer");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    messages.place(address, "HOST:PORT");
    messages.refused("the server never answers", check_url(&format!("redis://{address}")).await);
    let mut redis = Redis::start();
    messages.place(redis.address(), "HOST:PORT");
    let limits = limiter(storage(RedisStorage::url(&redis.url()).unwrap(), &Lines::default()));
    let _ = limits.check("alice").await.unwrap();
    redis.pause();
    messages.refused("the server stops answering", limits.check("alice").await);
    redis.resume();
    let proxy = Proxy::to(redis.address());
    messages.place(proxy.address(), "HOST:PORT");
    let limits = limiter(storage(RedisStorage::url(&proxy.url()).unwrap(), &Lines::default()));
    let _ = limits.check("alice").await.unwrap();
    proxy.drop_replies(true);
    let cut = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        proxy.cut();
    };
    let (broken, ()) = futures_util::join!(limits.check("alice"), cut);
    messages.refused("the connection breaks before the answer", broken);
    proxy.drop_replies(false);
    limits.storage().close().await.unwrap();
    messages.refused("check() after close()", limits.check("alice").await);
}

async fn own(messages: &mut Messages) {
    messages.section("Redis: connections of yours");
    let broken =
        RedisStorage::pool(|| ready(Err::<Box<redis::aio::MultiplexedConnection>, _>("it is closed")));
    messages.refused("the pool fails", check(broken).await);
    let empty =
        RedisStorage::pool(std::future::pending::<Result<Box<redis::aio::MultiplexedConnection>, String>>);
    messages.refused("the pool has no connection", check(empty).await);
    let silent = RedisStorage::commands(|_| std::future::pending());
    messages.refused("your connection does not answer", check(silent).await);
    let odd = RedisStorage::commands(|_| ready(Ok(redis::Value::Okay)));
    messages.refused("your connection answers OK to each command", check(odd).await);
}

async fn lines(messages: &mut Messages) {
    messages.section("Redis: lines in the log");
    let (mut redis, log) = (Redis::start(), Lines::default());
    messages.place(redis.address(), "HOST:PORT");
    let limits = limiter(storage(RedisStorage::url(&redis.url()).unwrap(), &log));
    let _ = limits.check("alice").await.unwrap();
    redis.stop();
    assert!(limits.check("alice").await.is_err());
    redis.start_again();
    let count = Count::default();
    recovered(&limits, &count, "alice").await;
    while log.get().len() < 2 {
        let _ = count.check(&limits, "alice").await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    super::lines(messages, "the server was down for a while", &log);
    let log = Lines::default();
    let limits = limiter(storage(RedisStorage::url(&redis.url()).unwrap(), &log));
    redis.command(&["SET", "f:{alice}", "no state"]);
    let _ = limits.check("alice").await.unwrap();
    super::lines(messages, "another program wrote to the key", &log);
    let policy = ["maxmemory-policy", "allkeys-lru"];
    let evicting = Redis::options().config(&["maxmemory", "8mb"]).config(&policy).start();
    messages.place(evicting.address(), "HOST:PORT");
    let log = Lines::default();
    let limits = limiter(storage(RedisStorage::url(&evicting.url()).unwrap(), &log));
    let _ = limits.check("alice").await.unwrap();
    super::lines(messages, "the server may evict keys", &log);
}
