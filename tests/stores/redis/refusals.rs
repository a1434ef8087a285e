//! How a Redis server refuses, and what is said of it: kinds that a policy can act on, errors that name
//! server and cause once, and one line for each fault when it begins and when it ends.

use std::error::Error;
use std::net::UdpSocket;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use redis::RedisError;
use traffik::storage::{BackendError, ErrorKind};
use traffik::{Adaptive, AsyncLimiter, FixedWindow, Rate, RedisBuilder, RedisStorage};
use traffik_test_support::limited::{Count, DEADLINE, RECOVERY, recovered, run};
use traffik_test_support::servers::{Client, Cluster, Memcached, Redis, Reply, until};

fn weekly(limit: u32) -> FixedWindow {
    FixedWindow::new(Rate::per_week(limit))
}

/// The lines that a storage writes.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    fn of(&self, builder: RedisBuilder) -> RedisStorage {
        let lines = self.clone();
        let builder = builder.namespace("f").timeout(DEADLINE);
        builder.on_warning(move |line| lines.0.lock().unwrap().push(line.to_owned())).build().unwrap()
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

fn at(url: &str) -> (RedisStorage, Lines) {
    let lines = Lines::default();
    (lines.of(RedisStorage::url(url).unwrap()), lines)
}

/// An error and all that it names as its source, as a program prints it.
fn chain(failure: &BackendError) -> String {
    let mut text = failure.to_string();
    let mut source = failure.source();
    while let Some(error) = source {
        text += &format!(": {error}");
        source = error.source();
    }
    text
}

/// Each check and look is refused with this kind, and these words with the server's address once; there is
/// one line.
async fn refused(url: &str, kind: ErrorKind, words: &[&str]) {
    let (storage, lines) = at(url);
    let (window, adaptive) = (
        AsyncLimiter::new(weekly(9), storage.clone()),
        AsyncLimiter::new(Adaptive::new(Rate::per_week(9)), storage),
    );
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(window.check("k").await.unwrap_err());
        told.push(adaptive.check("k").await.unwrap_err());
        told.push(window.peek("k", 1).await.unwrap_err());
    }
    let host = url.rsplit_once('@').map_or(url, |(_, host)| host).trim_start_matches("redis://");
    let host = host.split('/').next().unwrap();
    for failure in told {
        let text = chain(&failure);
        assert_eq!(failure.kind(), kind, "{text}");
        assert_eq!(text.matches(host).count(), 1, "{text}");
        for words in words {
            assert_eq!(text.matches(words).count(), 1, "{words}: {text}");
        }
    }
    let lines = lines.taken();
    assert!(lines.len() == 1 && lines[0].contains(host) && lines[0].contains(words[0]), "{lines:?}");
    assert!(window.storage().ready().await.is_err());
    let nodes = window.storage().nodes();
    assert!(nodes.len() == 1 && chain(nodes[0].1.as_ref().unwrap()).contains(words[0]), "{nodes:?}");
}

#[test]
fn each_refusal_has_its_kind_and_its_words() {
    run(async {
        let redis = Redis::start();
        let address = redis.address();
        refused(&format!("redis://{address}/99"), ErrorKind::Denied, &["DB index is out of range"]).await;
        let guarded = Redis::options()
            .password("secret")
            .user("reader", "pass", &["~*", "+@read"])
            .user("timeless", "pass", &["~*", "+@all", "-time"])
            .user("elsewhere", "pass", &["~other:*", "+@all"])
            .user("scriptless", "pass", &["~*", "+@all", "-evalsha", "-eval", "-script"])
            .start();
        let open = format!("redis://{}", guarded.address());
        refused(&open, ErrorKind::Denied, &["NOAUTH", "give a password"]).await;
        refused(&guarded.url_as("reader", "wrong"), ErrorKind::Denied, &["authentication failed"]).await;
        for user in ["reader", "scriptless", "timeless", "elsewhere"] {
            refused(&guarded.url_as(user, "pass"), ErrorKind::Denied, &["grant the user", "+evalsha"]).await;
        }
        let mut gone = Redis::start();
        let url = gone.url();
        gone.stop();
        refused(&url, ErrorKind::Unavailable, &["Connection refused"]).await;
        let replica = Redis::options().config(&["replicaof", "127.0.0.1", "1"]).start();
        let stale = "MASTERDOWN";
        replica.command(&["CONFIG", "SET", "replica-serve-stale-data", "no"]);
        refused(&replica.url(), ErrorKind::Unavailable, &[stale]).await;
    });
}

/// Of what cannot be written to, what only looks may go on.
#[test]
fn a_server_that_cannot_write_is_an_outage() {
    run(async {
        let full = Redis::options().config(&["maxmemory", "1mb"]).start();
        for number in 0..2_000 {
            full.command(&["SET".to_owned(), format!("ballast {number}"), "x".repeat(1_000)]);
        }
        let unsaved = Redis::options().config(&["enable-protected-configs", "yes"]).start();
        unsaved.command(&["CONFIG", "SET", "dir", "/proc/self"]);
        unsaved.command(&["CONFIG", "SET", "save", "3600 1"]);
        unsaved.command(&["SET", "a", "b"]);
        unsaved.command(&["BGSAVE"]);
        let lonely = Redis::options().config(&["min-replicas-to-write", "1"]).start();
        for (redis, words) in [(&full, "OOM"), (&unsaved, "MISCONF"), (&lonely, "NOREPLICAS")] {
            let (storage, lines) = at(&redis.url());
            let limiter = AsyncLimiter::new(weekly(9), storage);
            let began = Instant::now();
            while words == "MISCONF" && limiter.storage().ready().await.is_ok() {
                assert!(began.elapsed() < RECOVERY * 10, "the save fails in the end");
            }
            for _ in 0..3 {
                let failure = limiter.check("k").await.unwrap_err();
                assert_eq!(failure.kind(), ErrorKind::Unavailable, "{failure}");
                assert!(chain(&failure).contains(words), "{failure}");
                let unready = limiter.storage().ready().await.unwrap_err();
                assert!(
                    unready.kind() == ErrorKind::Unavailable && chain(&unready).contains(words),
                    "{unready}"
                );
            }
            let lines: Vec<_> =
                lines.taken().into_iter().filter(|line| !line.contains("evicts keys")).collect();
            assert!(lines.len() == 1 && lines[0].contains(words), "{lines:?}");
        }
        lonely.command(&["CONFIG", "SET", "min-replicas-to-write", "0"]);
        let (storage, _) = at(&lonely.url());
        storage.ready().await.unwrap();
    });
}

/// A function of the user's that makes no connection says why, and the failure has its own
/// text.
#[test]
fn the_text_of_a_users_own_error_is_kept() {
    run(async {
        let errors: [(RedisError, &[&str]); 4] = [
            ((redis::ErrorKind::Client, "Redis has just started").into(), &["Redis has just started"]),
            (
                (redis::ErrorKind::Client, "Redis has just started", "wait for 3 s".to_owned()).into(),
                &["Redis has just started", "wait for 3 s"],
            ),
            ((redis::ErrorKind::Io, "no way there").into(), &["no way there"]),
            (std::io::Error::other("the tunnel is closed").into(), &["the tunnel is closed"]),
        ];
        for (error, words) in errors {
            let (lines, made) = (Lines::default(), error.clone());
            let storage = lines.of(RedisStorage::factory(move || std::future::ready(Err(made.clone()))));
            let failure = AsyncLimiter::new(weekly(9), storage).check("k").await.unwrap_err();
            assert_eq!(failure.kind(), ErrorKind::Unavailable, "{failure}");
            let text = chain(&failure);
            assert!(words.iter().all(|words| text.matches(words).count() == 1), "{text}");
            assert!(!text.contains("Client") && !text.contains("client error"), "{text}");
            assert!(lines.taken().iter().any(|line| line.contains(words[0])), "{error}");
        }
    });
}

/// The words of a parser or a server are one line, without what helps nobody.
#[test]
fn what_is_no_server_for_limits_says_so_in_a_line() {
    run(async {
        let memcached = Memcached::start();
        let url = format!("redis://{}", memcached.address());
        refused(&url, ErrorKind::Unavailable, &["does not speak the protocol of Redis"]).await;
        let timeless = Redis::options().user("timeless", "pass", &["~*", "+@all", "-time"]).start();
        let (storage, _) = at(&timeless.url_as("timeless", "pass"));
        let failure = AsyncLimiter::new(weekly(9), storage).check("k").await.unwrap_err();
        assert!(!failure.to_string().contains("user_script"), "{failure}");
        let single = Redis::start();
        let lines = Lines::default();
        let storage = lines.of(RedisStorage::cluster([single.url()]).unwrap());
        let failure = AsyncLimiter::new(weekly(9), storage).check("k").await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Denied, "{failure}");
        assert!(failure.to_string().contains("it is a single server, so use RedisStorage::url"), "{failure}");
        let memcached = lines.of(RedisStorage::url(&url).unwrap());
        assert!(memcached.ready().await.is_err());
        assert!(lines.taken().iter().all(|line| line.lines().count() == 1));
    });
}

/// A server without a password that is reached from another host: here by another address than the
/// loopback's.
#[test]
fn protected_mode_is_told_so() {
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    // Nothing is sent: the system says from where it would be.
    let routed = socket.connect("192.0.2.1:9").and_then(|()| socket.local_addr());
    let Some(address) = routed.ok().filter(|it| !it.ip().is_loopback()) else {
        println!("skipped: this host has no address but the loopback's");
        return;
    };
    run(async {
        let redis = Redis::options().config(&["bind", "0.0.0.0"]).start();
        let url = format!("redis://{}:{}", address.ip(), redis.port());
        refused(&url, ErrorKind::Denied, &["running in protected mode"]).await;
    });
}

/// A script of somebody else's that does not end: the server says that nothing was done.
#[test]
fn a_server_that_is_busy_is_an_outage() {
    run(async {
        let redis = Redis::options().config(&["busy-reply-threshold", "50"]).start();
        let mut other = redis.client();
        let endless = std::thread::spawn(move || other.ask(&["EVAL", "while true do end", "0"]));
        let (storage, lines) = at(&redis.url());
        let (limiter, count) = (AsyncLimiter::new(weekly(9), storage), Count::default());
        until(RECOVERY, "it is busy", || matches!(redis.command(&["PING"]), Reply::Error(_)));
        let failure = limiter.check("k").await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Unavailable, "{failure}");
        assert_eq!(lines.taken().len(), 1);
        redis.command(&["SCRIPT", "KILL"]);
        assert!(endless.join().is_ok());
        recovered(&limiter, &count, "k").await;
    });
}

#[test]
fn too_many_clients_are_told_so() {
    run(async {
        let redis = Redis::options().config(&["maxclients", "40"]).start();
        let mut others = Vec::new();
        // One that is taken is asked, for it may be refused only then.
        while let Ok(mut client) = Client::connect(redis.address())
            && matches!(client.ask(&["PING"]), Ok(Reply::Status(_)))
        {
            others.push(client);
        }
        assert!((30..=40).contains(&others.len()), "{}", others.len());
        let (storage, lines) = at(&redis.url());
        let (limiter, count) = (AsyncLimiter::new(weekly(9), storage), Count::default());
        for _ in 0..3 {
            let failure = limiter.check("k").await.unwrap_err();
            assert_eq!(failure.kind(), ErrorKind::Unavailable, "{failure}");
            assert!(chain(&failure).contains("max number of clients reached; raise maxclients"), "{failure}");
        }
        assert_eq!(lines.taken().len(), 1);
        drop(others);
        recovered(&limiter, &count, "k").await;
    });
}

#[test]
fn a_node_of_a_cluster_is_no_single_server() {
    run(async {
        let cluster = Cluster::start();
        let (storage, lines) = at(&cluster.urls()[0]);
        let limiter = AsyncLimiter::new(weekly(9), storage);
        let mut moved = 0;
        for key in 0..60 {
            if let Err(failure) = limiter.check(&key).await {
                assert_eq!(failure.kind(), ErrorKind::Denied, "{failure}");
                assert!(
                    chain(&failure).contains("it is a node of a cluster, so use RedisStorage::cluster"),
                    "{failure}"
                );
                moved += 1;
            }
        }
        assert!(moved > 0);
        assert_eq!(lines.taken().len(), 1);
        // To a cluster that is named as one it is no fault to be sent on.
        let lines = Lines::default();
        let limiter =
            AsyncLimiter::new(weekly(9), lines.of(RedisStorage::cluster([&*cluster.urls()[0]]).unwrap()));
        let slot = cluster.slot("f:{hot}");
        for turn in 0..6 {
            assert!(limiter.check("hot").await.unwrap().is_allowed());
            cluster.move_slot(slot, turn % 3);
        }
        assert!(lines.taken().is_empty());
    });
}

/// Killed and started again several times, with many calls meanwhile: two lines each time.
#[test]
fn a_fault_has_a_line_when_it_begins_and_one_when_it_has_ended() {
    run(async {
        let mut redis = Redis::options().persistent().start();
        let (storage, lines) = at(&redis.url());
        let (limiter, count) = (AsyncLimiter::new(weekly(100_000), storage), Count::default());
        assert_eq!(count.check(&limiter, "k").await, None);
        for _ in 0..2 {
            redis.kill();
            for _ in 0..500 {
                assert!(count.check(&limiter, "k").await.is_some());
            }
            redis.start_again();
            recovered(&limiter, &count, "k").await;
            let began = Instant::now();
            // It has ended once it is quiet for a second.
            while lines.0.lock().unwrap().len() < 2 && began.elapsed() < Duration::from_secs(10) {
                assert_eq!(count.check(&limiter, "k").await, None);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            let lines = lines.taken();
            let [begins, ends] = &lines[..] else { panic!("{lines:?}") };
            let server = format!("Redis at {}", redis.address());
            assert!(begins.starts_with(&server) && begins.contains("Connection refused"), "{begins}");
            assert!(ends.starts_with(&server) && ends.contains("answers again, after"), "{ends}");
            assert!(limiter.storage().nodes()[0].1.is_none());
        }
    });
}
