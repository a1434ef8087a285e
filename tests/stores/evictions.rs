//! Servers that give up keys for want of room, on real ones: seen, counted and warned of once.

use std::io::{self, BufRead, BufReader, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use futures_util::future::join_all;
use traffik::runtime::Tokio;
use traffik::storage::AsyncStorage;
use traffik::{AsyncLimiter, FixedWindow, MemcachedStorage, Rate, RedisStorage};
use traffik_test_support::servers::{Client, Cluster, Memcached, Redis};

use crate::lines::Lines;

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

fn weekly<M: AsyncStorage<FixedWindow>>(storage: M) -> AsyncLimiter<FixedWindow, M> {
    AsyncLimiter::new(FixedWindow::new(Rate::per_week(1)), storage)
}

fn redis(url: &str, lines: &Lines) -> RedisStorage {
    let storage = RedisStorage::url(url).unwrap().timeout(Duration::from_secs(5));
    storage.on_warning(lines.writer()).build().unwrap()
}

fn memcached(address: impl ToString, lines: &Lines) -> MemcachedStorage<Tokio> {
    let storage = MemcachedStorage::servers(Tokio, [address.to_string()]).timeout(Duration::from_secs(5));
    storage.on_warning(lines.writer()).build().unwrap()
}

/// Asks for so many keys, some at a time, and expects an answer to each.
async fn flood<M: AsyncStorage<FixedWindow>>(limiter: &AsyncLimiter<FixedWindow, M>, keys: u32) {
    for first in (0..keys).step_by(100) {
        for told in join_all((first..first + 100).map(async |key| limiter.check(&key).await)).await {
            let _ = told.unwrap();
        }
    }
}

#[test]
fn a_redis_that_may_evict_is_warned_of_before_it_does() {
    run(async {
        let server = Redis::options()
            .config(&["maxmemory", "2mb"])
            .config(&["maxmemory-policy", "allkeys-lru"])
            .start();
        let lines = Lines::default();
        let limiter = weekly(redis(&server.url(), &lines));
        let _ = limiter.check("k").await.unwrap();
        let address = server.address().to_string();
        lines.assert_one(&[&address, "maxmemory-policy allkeys-lru", "noeviction"]);
        flood(&limiter, 30_000).await;
        limiter.storage().ready().await.unwrap();
        let evicted: u64 = server.info("evicted_keys").unwrap().parse().unwrap();
        assert!(evicted > 0 && limiter.storage().evictions() > 0);
        assert!(limiter.storage().evictions() <= evicted);
        assert!(limiter.check("k").await.unwrap().is_allowed(), "its limit is granted anew");
        assert_eq!(lines.get().len(), 1);
        // Another storage warns as well, and counts what it sees itself.
        let lines = Lines::default();
        let other = redis(&server.url(), &lines);
        other.ready().await.unwrap();
        assert!(other.evictions() < limiter.storage().evictions());
        assert_eq!(lines.get().len(), 1);
    });
}

#[test]
fn a_redis_that_keeps_all_is_not_warned_of() {
    run(async {
        for config in [["maxmemory-policy", "noeviction"], ["maxmemory", "0"]] {
            let server =
                Redis::options().config(&["maxmemory", "20mb"]).config(&["maxmemory-policy", "allkeys-lru"]);
            let (server, lines) = (server.config(&config).start(), Lines::default());
            let limiter = weekly(redis(&server.url(), &lines));
            let _ = limiter.check("k").await.unwrap();
            limiter.storage().ready().await.unwrap();
            assert_eq!((limiter.storage().evictions(), lines.get().len()), (0, 0));
        }
    });
}

/// A client that may not look checks all the same.
#[test]
fn a_look_that_is_refused_fails_no_call() {
    run(async {
        let lines = Lines::default();
        let rules = ["~*", "+@all", "-info", "-@dangerous"];
        let server = Redis::options().user("limits", "secret", &rules).start();
        let limiter = weekly(redis(&server.url_as("limits", "secret"), &lines));
        for key in 0..20 {
            assert!(limiter.check(&key).await.unwrap().is_allowed());
        }
        limiter.storage().ready().await.unwrap();
        assert_eq!((limiter.storage().evictions(), lines.get().len()), (0, 0));
    });
}

#[test]
fn each_node_of_a_cluster_is_looked_at_and_one_line_is_written() {
    run(async {
        let cluster = Cluster::start();
        for url in cluster.urls() {
            let mut client = Client::connect(url.trim_start_matches("redis://").parse().unwrap()).unwrap();
            for (name, value) in [("maxmemory", "20mb"), ("maxmemory-policy", "volatile-ttl")] {
                client.ask(&["CONFIG", "SET", name, value]).unwrap();
            }
        }
        let lines = Lines::default();
        let storage = RedisStorage::cluster(cluster.urls()).unwrap().timeout(Duration::from_secs(5));
        let limiter = weekly(storage.on_warning(lines.writer()).build().unwrap());
        for key in 0..50 {
            let _ = limiter.check(&key).await.unwrap();
        }
        limiter.storage().ready().await.unwrap();
        lines.assert_one(&["maxmemory-policy volatile-ttl"]);
    });
}

#[test]
fn a_memcached_that_gives_items_up_is_warned_of_once() {
    run(async {
        let server = Memcached::options().arguments(&["-m", "2"]).start();
        let (lines, address) = (Lines::default(), server.address().to_string());
        let limiter = weekly(memcached(&address, &lines));
        assert!(limiter.check("k").await.unwrap().is_allowed());
        assert_eq!((limiter.storage().evictions(), lines.get().len()), (0, 0));
        let mut seen = 0;
        for _ in 0..2 {
            flood(&limiter, 40_000).await;
            limiter.storage().ready().await.unwrap();
            assert!(limiter.storage().evictions() > seen);
            seen = limiter.storage().evictions();
            lines.assert_one(&[&address, "-m", "whole limit again"]);
        }
        assert!(limiter.check("k").await.unwrap().is_allowed(), "its limit is granted anew");
    });
}

/// A server that swallows `stats`: passes on all else to a real one.
fn tight_lipped(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let (client, mut server) = (client.unwrap(), TcpStream::connect(server).unwrap());
            let (mut answers, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            thread::spawn(move || io::copy(&mut answers, &mut back));
            thread::spawn(move || {
                for line in
                    BufReader::new(client).lines().map_while(Result::ok).filter(|line| line != "stats")
                {
                    server.write_all(format!("{line}\r\n").as_bytes()).unwrap();
                }
                let _ = server.shutdown(Shutdown::Both);
            });
        }
    });
    address
}

#[test]
fn a_look_that_is_not_answered_fails_no_call() {
    run(async {
        let (server, lines) = (Memcached::start(), Lines::default());
        let limiter = weekly(memcached(tight_lipped(server.address()), &lines));
        for key in 0..20 {
            assert!(limiter.check(&key).await.unwrap().is_allowed());
            assert!(!limiter.check(&key).await.unwrap().is_allowed());
        }
        assert_eq!((limiter.storage().evictions(), lines.get().len()), (0, 0));
    });
}
