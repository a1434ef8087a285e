//! Storages on connections that the user hands in: a function, a shared connection, a pool, a cluster's; and
//! what is weaker there.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::{join, join_all, ready};
use redis::aio::ConnectionManager;
use redis::cluster::ClusterClientBuilder;
use redis::{Client, Cmd};
use traffik::lock::{Lock, Ttl};
use traffik::runtime::{Manual, Smol};
use traffik::storage::ErrorKind;
use traffik::{
    Adaptive, AsyncLimiter, FixedWindow, Gcra, Rate, RedisBuilder, RedisStorage, TokenBucket, laws,
};
use traffik_test_support::limited::{Count, DEADLINE, SLACK, recovered, run};
use traffik_test_support::servers::{Cluster, Proxy, Redis};

fn weekly(limit: u32) -> FixedWindow {
    FixedWindow::new(Rate::per_week(limit))
}

/// Long enough for a busy machine.
const PATIENT: Duration = Duration::from_secs(10);

fn at(builder: RedisBuilder, timeout: Duration) -> RedisStorage {
    builder.namespace("f").timeout(timeout).on_warning(|_| {}).build().unwrap()
}

async fn managed(url: &str) -> RedisBuilder {
    RedisStorage::connection(ConnectionManager::new(Client::open(url).unwrap()).await.unwrap())
}

fn deadpool(url: &str, size: usize) -> RedisBuilder {
    let builder = deadpool_redis::Config::from_url(url).builder().unwrap();
    let pool = builder.max_size(size).runtime(deadpool_redis::Runtime::Tokio1).build().unwrap();
    RedisStorage::pool(move || {
        let pool = pool.clone();
        async move { pool.get().await }
    })
}

async fn bb8(url: &str) -> RedisBuilder {
    let pool = bb8::Pool::builder().max_size(2).build(Client::open(url).unwrap()).await.unwrap();
    RedisStorage::pool(move || {
        let pool = pool.clone();
        async move { pool.get_owned().await }
    })
}

async fn function(url: &str) -> RedisBuilder {
    let connection = Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
    RedisStorage::commands(move |command: Cmd| {
        let mut connection = connection.clone();
        async move { command.query_async(&mut connection).await }
    })
}

/// The connections that can be handed in for a single server.
const KINDS: [&str; 5] = ["function", "connection", "manager", "deadpool", "bb8"];

async fn of(kind: &str, url: &str, timeout: Duration) -> RedisStorage {
    let builder = match kind {
        "function" => function(url).await,
        "manager" => managed(url).await,
        "deadpool" => deadpool(url, 1),
        "bb8" => bb8(url).await,
        _ => {
            let client = Client::open(url).unwrap();
            RedisStorage::connection(client.get_multiplexed_async_connection().await.unwrap())
        }
    };
    at(builder, timeout)
}

/// A pool asks a connection whether it is well before it gives it away.
fn is_pool(kind: &str) -> bool {
    matches!(kind, "deadpool" | "bb8")
}

/// How often a script was run.
fn runs(redis: &Redis) -> u64 {
    let line = redis.info("cmdstat_evalsha").unwrap_or_default();
    line.split(['=', ',']).nth(1).unwrap_or("0").parse().unwrap()
}

#[test]
fn whatever_is_handed_in_keeps_the_duties_of_a_storage() {
    run(async {
        let redis = Redis::start();
        for name in KINDS {
            redis.command(&["FLUSHALL"]);
            redis.command(&["SCRIPT", "FLUSH"]);
            let storage = of(name, &redis.url(), PATIENT).await;
            laws::awaited::every(&weekly(7), &storage).await.unwrap();
            laws::awaited::every(&Gcra::new(Rate::per_hour(9)).burst(5).unwrap(), &storage).await.unwrap();
            // By load and swap.
            laws::awaited::every(&Adaptive::new(Rate::per_week(9)), &storage).await.unwrap();
            // All keys in one call, whatever their slots are.
            let together = AsyncLimiter::new(TokenBucket::new(Rate::per_week(5)), storage.clone());
            let before = runs(&redis);
            assert!(together.check_together([&"a", &"b"], 2).await.unwrap().is_atomic(), "{name}");
            assert_eq!(runs(&redis) - before, 1, "{name}");
            let lock = storage.lock();
            let ttl = Ttl::new(Duration::from_secs(60)).unwrap();
            let grant = lock.try_acquire(b"name", ttl).await.unwrap().expect("it is free");
            assert!(lock.try_acquire(b"name", ttl).await.unwrap().is_none(), "{name}");
            assert!(lock.release(grant).await.unwrap());
            storage.ready().await.unwrap();
            assert_eq!(storage.nodes().len(), 1);
            let corrupt = storage.corrupt();
            redis.command(&["SET", "f:{bad}", "no state"]);
            assert!(together.check("bad").await.unwrap().is_allowed());
            assert_eq!(storage.corrupt() - corrupt, 1, "{name}");
            redis.command(&["SET", "other", "1"]);
            storage.clear().await.unwrap();
            // The lock's token and what is not of the namespace stay.
            let left = redis.command(&["KEYS", "*"]);
            assert!(left.array().iter().all(|key| !key.text().starts_with("f:")), "{name}: {left:?}");
            storage.close().await.unwrap();
            assert_eq!(together.check("a").await.unwrap_err().kind(), ErrorKind::Closed);
            // The connection is the user's, and so is its end.
            assert_eq!(redis.command(&["GET", "other"]).text(), "1");
        }
    });
}

#[test]
fn many_tasks_have_exactly_the_limit_while_scripts_are_forgotten() {
    run(async {
        let redis = Redis::start();
        for name in KINDS {
            redis.command(&["FLUSHALL"]);
            let storage = of(name, &redis.url(), PATIENT).await;
            let (limiter, asked) = (AsyncLimiter::new(weekly(200), storage), AtomicUsize::new(0));
            let admitted = AtomicUsize::new(0);
            let work = (0..8).map(|_| async {
                while asked.fetch_add(1, Ordering::Relaxed) < 400 {
                    let is_allowed = limiter.check("hot").await.unwrap().is_allowed();
                    admitted.fetch_add(usize::from(is_allowed), Ordering::Relaxed);
                }
            });
            let forget = async {
                while asked.load(Ordering::Relaxed) < 400 {
                    redis.command(&["SCRIPT", "FLUSH"]);
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            };
            join(join_all(work), forget).await;
            assert_eq!(admitted.load(Ordering::Relaxed), 200, "{name}");
        }
    });
}

#[test]
fn evictions_are_counted_on_a_connection_of_yours() {
    run(async {
        let redis = Redis::options().config(&["maxmemory-policy", "allkeys-lru"]).start();
        let storage = at(managed(&redis.url()).await, PATIENT);
        storage.ready().await.unwrap();
        assert_eq!(storage.evictions(), 0);
        redis.command(&["CONFIG", "SET", "maxmemory", "3mb"]);
        for number in 0..100 {
            redis.command(&["SET", &format!("large {number}"), &"x".repeat(1 << 16)]);
        }
        let evicted = redis.info("evicted_keys").unwrap().parse::<u64>().unwrap();
        storage.ready().await.unwrap();
        assert!(evicted > 0 && storage.evictions() > 0, "{evicted}");
    });
}

/// A server that does not answer, and a pool that has nothing to give.
#[test]
fn a_call_ends_in_time_and_says_what_it_knows() {
    run(async {
        let mut redis = Redis::start();
        for name in KINDS {
            let limiter = AsyncLimiter::new(weekly(9), of(name, &redis.url(), DEADLINE).await);
            assert!(limiter.check(name).await.unwrap().is_allowed());
            redis.pause();
            let began = Instant::now();
            let failure = limiter.check(name).await.unwrap_err();
            assert!(began.elapsed() < DEADLINE + SLACK, "{name}: {:?}", began.elapsed());
            let expected = if is_pool(name) { ErrorKind::Unavailable } else { ErrorKind::Timeout };
            assert_eq!(failure.kind(), expected, "{name}: {failure}");
            // The outcome of a call that charges nothing is never unknown.
            assert_eq!(limiter.peek(name, 1).await.unwrap_err().kind(), ErrorKind::Unavailable, "{name}");
            redis.resume();
        }
        let builder = deadpool_redis::Config::from_url(redis.url()).builder().unwrap();
        let pool = builder.max_size(1).runtime(deadpool_redis::Runtime::Tokio1).build().unwrap();
        let shared = pool.clone();
        let storage = RedisStorage::pool(move || {
            let pool = shared.clone();
            async move { pool.get().await }
        });
        let limiter = AsyncLimiter::new(weekly(9), at(storage, DEADLINE));
        let held = pool.get().await.unwrap();
        let failure = limiter.check("k").await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Unavailable);
        assert!(
            failure.to_string().contains("the pool returned no connection in time; nothing was sent"),
            "{failure}"
        );
        drop(held);
        assert_eq!(limiter.check("k").await.unwrap().remaining(), 8);
        let broken = RedisStorage::pool(|| ready(Err::<Box<ConnectionManager>, _>("the pool is closed")));
        let failure = AsyncLimiter::new(weekly(9), at(broken, DEADLINE)).check("k").await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Unavailable);
        assert!(failure.to_string().contains("the pool is closed; nothing was sent"), "{failure}");
    });
}

/// Its answer is lost: the hit counts, and is not sent again. The next calls are served, but on a connection
/// that nobody makes anew.
#[test]
fn a_call_whose_connection_breaks_is_unknown_and_not_sent_again() {
    run(async {
        let redis = Redis::start();
        let proxy = Proxy::to(redis.address());
        for name in KINDS {
            redis.command(&["FLUSHALL"]);
            let storage = of(name, &proxy.url(), DEADLINE).await;
            let (limiter, count) = (AsyncLimiter::new(weekly(1_000), storage), Count::default());
            assert_eq!(count.check(&limiter, "k").await, None, "{name}");
            let (before, lost) = (runs(&redis), proxy.bytes().lost);
            proxy.drop_replies(true);
            let (told, ()) = join(limiter.check("k"), async {
                while proxy.bytes().lost == lost {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                proxy.cut();
                proxy.drop_replies(false);
            })
            .await;
            if is_pool(name) {
                // It asked its connection first whether it is well, and goes on with another one.
                assert!(runs(&redis) - before <= 1, "{name}: {told:?}");
            } else {
                assert_eq!(told.unwrap_err().kind(), ErrorKind::Timeout, "{name}");
                assert_eq!(runs(&redis) - before, 1, "{name}");
            }
            if name == "manager" || is_pool(name) {
                recovered(&limiter, &count, "k").await;
            } else {
                assert_eq!(count.check(&limiter, "k").await, Some(ErrorKind::Timeout), "{name}");
            }
        }
    });
}

/// Several nodes behind one connection: each key is counted, in one call of several keys if they are in one
/// slot, else one after another.
#[test]
fn a_clusters_connection_counts_keys_of_all_nodes() {
    run(async {
        let cluster = Cluster::start();
        let client = ClusterClientBuilder::new(cluster.urls()).build().unwrap();
        let storage = at(RedisStorage::connection(client.get_async_connection().await.unwrap()), PATIENT);
        let limiter = AsyncLimiter::new(TokenBucket::new(Rate::per_week(5)), storage.clone());
        let adaptive = AsyncLimiter::new(Adaptive::new(Rate::per_week(5)), storage.clone());
        storage.ready().await.unwrap();
        let keys: Vec<String> = (0..50).map(|key| key.to_string()).collect();
        for key in &keys {
            assert_eq!(limiter.check(key.as_str()).await.unwrap().remaining(), 4);
            assert!(adaptive.check(&(key.as_str(), 7u32)).await.unwrap().is_allowed());
        }
        for node in &cluster.nodes {
            assert!(node.command(&["DBSIZE"]).integer() > 10);
            node.command(&["SCRIPT", "FLUSH"]);
        }
        let some = ["1", "2", "3"];
        for _ in 0..2 {
            let told = limiter.check_together(some.each_ref(), 2).await.unwrap();
            assert!(told.is_allowed() && !told.is_atomic());
        }
        for key in some {
            assert_eq!(limiter.peek(key, 0).await.unwrap().remaining(), 0);
        }
        let before: i64 = cluster.nodes.iter().map(|node| node.command(&["DBSIZE"]).integer()).sum();
        let failure = storage.clear().await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Invalid);
        assert!(failure.to_string().contains("RedisStorage::cluster"), "{failure}");
        let after: i64 = cluster.nodes.iter().map(|node| node.command(&["DBSIZE"]).integer()).sum();
        assert_eq!(before, after, "nothing was cleared by halves");
        // A slot that moves is followed.
        let slot = cluster.slot("f:{7}");
        cluster.move_slot(slot, (cluster.owner(slot) + 1) % 3);
        assert_eq!(limiter.check("7").await.unwrap().remaining(), 3);
    });
}

/// The resending that the docs warn of, and how it is turned off.
#[test]
fn a_clusters_connection_sends_again_by_itself_unless_told_not_to() {
    run(async {
        let cluster = Cluster::of(1, 1);
        let proxy = Proxy::to(cluster.nodes[0].address());
        cluster.reach_through(0, &proxy);
        for (retries, sent) in [(None, 2), (Some(0), 1)] {
            let builder = ClusterClientBuilder::new([proxy.url()]);
            let builder = match retries {
                None => builder,
                Some(retries) => builder.retries(retries),
            };
            let connection = builder.build().unwrap().get_async_connection().await.unwrap();
            let storage = RedisStorage::connection(connection).timeout(Duration::from_secs(5));
            let limiter = AsyncLimiter::new(weekly(100), storage.namespace("f").build().unwrap());
            let before = limiter.check("k").await.unwrap().remaining();
            // The server has done it, and the answer is lost.
            proxy.cut_after(0);
            let told = limiter.check("k").await;
            if sent == 1 {
                assert_eq!(told.unwrap_err().kind(), ErrorKind::Timeout);
            }
            let own =
                AsyncLimiter::new(weekly(100), at(RedisStorage::cluster(cluster.urls()).unwrap(), PATIENT));
            assert_eq!(before - own.peek("k", 0).await.unwrap().remaining(), sent, "{retries:?}");
        }
    });
}

/// On no runtime of ours: the deadline is by a timer that was handed in, here on virtual time.
#[test]
fn a_timer_of_yours_ends_calls() {
    let manual = Manual::new();
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let storage = RedisStorage::commands(move |_| {
        counted.fetch_add(1, Ordering::Relaxed);
        std::future::pending()
    });
    let storage = storage.timer(manual.clone()).timeout(Duration::from_secs(3_600)).on_warning(|_| {});
    let limiter = AsyncLimiter::new(weekly(9), storage.build().unwrap());
    let failure = manual.run(limiter.check("k")).unwrap().unwrap_err();
    // The check, and a look for evictions beside it.
    assert_eq!((failure.kind(), asked.load(Ordering::Relaxed)), (ErrorKind::Timeout, 2));
}

/// A function says itself whether it sent anything.
#[test]
fn a_function_that_sent_nothing_says_so() {
    run(async {
        let is_sent = Arc::new(AtomicBool::new(false));
        let says = Arc::clone(&is_sent);
        let storage = RedisStorage::commands(move |_| {
            ready(Err(if says.load(Ordering::Relaxed) {
                io::Error::from(io::ErrorKind::BrokenPipe).into()
            } else {
                (redis::ErrorKind::Client, "the pool is empty").into()
            }))
        });
        let limiter = AsyncLimiter::new(weekly(9), at(storage, DEADLINE));
        assert_eq!(limiter.check("k").await.unwrap_err().kind(), ErrorKind::Unavailable);
        is_sent.store(true, Ordering::Relaxed);
        assert_eq!(limiter.check("k").await.unwrap_err().kind(), ErrorKind::Timeout);
    });
}

#[test]
fn what_is_of_no_use_is_refused() {
    let refused = |builder: RedisBuilder| builder.build().unwrap_err().to_string();
    let own = RedisStorage::url("redis://127.0.0.1").unwrap().timer(Smol::new());
    assert!(refused(own).contains("remove RedisBuilder::timer"));
    let roots = rustls::RootCertStore::empty();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let tls = tls.unwrap().with_root_certificates(roots).with_no_client_auth();
    let handed = RedisStorage::commands(|_| std::future::pending()).tls(tls.clone());
    assert!(refused(handed).contains("remove RedisBuilder::tls"));
    let plain = RedisStorage::cluster(["redis://127.0.0.1"]).unwrap().tls(tls);
    assert!(refused(plain).contains("write rediss://HOST"));
}
