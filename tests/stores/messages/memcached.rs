//! Memcached: servers that refuse or do not answer, and the lines that a storage writes.

use std::net::{SocketAddr, TcpListener};

use traffik::lock::{Lock, Ttl};
use traffik::runtime::Tokio;
use traffik::storage::BackendError;
use traffik::{AsyncLimiter, Decision, FixedWindow, MemcachedBuilder, MemcachedStorage, Rate, TokenBucket};
use traffik_test_support::limited::{Count, DEADLINE, recovered};
use traffik_test_support::servers::{Memcached, Redis};

use super::Messages;
use crate::lines::Lines;
use crate::memcached::connections::server_with;

fn servers(addresses: &[SocketAddr]) -> MemcachedBuilder<Tokio> {
    MemcachedStorage::servers(Tokio, addresses.iter().map(ToString::to_string)).namespace("f")
}

fn storage(builder: MemcachedBuilder<Tokio>, lines: &Lines) -> MemcachedStorage<Tokio> {
    builder.timeout(DEADLINE).on_warning(lines.writer()).build().unwrap()
}

type Limits = AsyncLimiter<FixedWindow, MemcachedStorage<Tokio>>;

fn limiter(storage: MemcachedStorage<Tokio>) -> Limits {
    AsyncLimiter::new(FixedWindow::new(Rate::per_week(9)), storage)
}

/// Checks once, on a storage of its own.
async fn check(address: SocketAddr) -> Result<Decision, BackendError> {
    limiter(storage(servers(&[address]), &Lines::default())).check("alice").await
}

pub(super) async fn provoke(messages: &mut Messages) {
    refusals(messages).await;
    silent(messages).await;
    lines(messages).await;
}

async fn refusals(messages: &mut Messages) {
    messages.section("Memcached: servers that refuse");
    let mut gone = Memcached::start();
    messages.place(gone.address(), "HOST:PORT");
    gone.stop();
    messages.refused("no server listens there", check(gone.address()).await);
    for (situation, version, words) in [
        ("the server is too old", "1.4.39", "ERROR"),
        ("the server knows no meta commands", "1.6.40", "ERROR"),
        ("the server is full", "1.6.40", "SERVER_ERROR out of memory storing object"),
        ("the server asks for a password", "1.6.40", "CLIENT_ERROR unauthenticated"),
        ("the server answers nonsense", "1.6.40", "HTTP/1.1 400 Bad Request"),
    ] {
        let address = server_with(version, words);
        messages.place(address, "HOST:PORT");
        messages.refused(situation, check(address).await);
    }
    let redis = Redis::start();
    messages.place(redis.address(), "HOST:PORT");
    messages.refused("the server is a Redis", check(redis.address()).await);
    let crowded = Memcached::options().arguments(&["-c", "60"]).start();
    messages.place(crowded.address(), "HOST:PORT");
    let others: Vec<_> = (0..60).map(|_| std::net::TcpStream::connect(crowded.address())).collect();
    messages.refused("there are too many clients", check(crowded.address()).await);
    drop(others);
}

async fn silent(messages: &mut Messages) {
    messages.section("Memcached: servers that do not answer");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    messages.place(listener.local_addr().unwrap(), "HOST:PORT");
    messages.refused("the server never answers", check(listener.local_addr().unwrap()).await);
    let mut memcached = Memcached::start();
    messages.place(memcached.address(), "HOST:PORT");
    let named = format!("a={}", memcached.address());
    let limits =
        limiter(storage(MemcachedStorage::servers(Tokio, [named]).max_connections(1), &Lines::default()));
    let buckets = AsyncLimiter::new(TokenBucket::new(Rate::per_week(5)), limits.storage().clone());
    recovered(&limits, &Count::default(), "alice").await;
    memcached.pause();
    messages.refused("the server stops answering: a window", limits.check("alice").await);
    messages.refused("the server stops answering: a bucket", buckets.check("alice").await);
    memcached.resume();
    limits.storage().close().await.unwrap();
    messages.refused("check() after close()", limits.check("alice").await);
}

async fn lines(messages: &mut Messages) {
    messages.section("Memcached: locks, and lines in the log");
    let (mut memcached, log) = (Memcached::start(), Lines::default());
    messages.place(memcached.address(), "HOST:PORT");
    let limits = limiter(storage(servers(&[memcached.address()]), &log));
    memcached.set("f#fence{report}", b"no number");
    let ttl = Ttl::new(DEADLINE).unwrap();
    messages.refused(
        "another program wrote the counter of a lock",
        limits.storage().lock().try_acquire(b"report", ttl).await,
    );
    recovered(&limits, &Count::default(), "alice").await;
    memcached.stop();
    assert!(limits.check("alice").await.is_err());
    memcached.start_again();
    let count = Count::default();
    recovered(&limits, &count, "alice").await;
    while log.get().len() < 2 {
        let _ = count.check(&limits, "alice").await;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    super::lines(messages, "the server was down for a while", &log);
    let (three, log) = ([(); 3].map(|()| Memcached::start()), Lines::default());
    let addresses = three.each_ref().map(|server| server.address());
    for address in addresses {
        messages.place(address, "HOST:PORT");
    }
    storage(servers(&addresses[..2]), &Lines::default()).ready().await.unwrap();
    storage(servers(&addresses), &log).ready().await.unwrap();
    super::lines(messages, "another instance names other servers", &log);
}
