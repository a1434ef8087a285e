//! The items on servers: for how long, on which of several, and over how many connections.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use traffik::runtime::{Runtime, Tokio};
use traffik::storage::ErrorKind;
use traffik::{
    AsyncLimiter, Clock, FixedWindow, MemcachedStorage, Rate, SlidingLog, SlidingWindow, Strategy,
    SystemClock, Timer, TokenBucket, Verdict,
};

use super::{SERVER, at, count, run, storage};
use traffik_test_support::servers::Memcached;

/// For how many seconds the server keeps an item; −1 is for ever.
fn kept(server: &Memcached, item: &str) -> i64 {
    let answer = server.command(&format!("mg {item} t"));
    answer.trim_end().strip_prefix("HD t").unwrap().parse().unwrap()
}

#[test]
fn clearing_forgets_a_namespace_and_no_other() {
    run(async {
        let server = Memcached::start();
        let limit = FixedWindow::new(Rate::per_week(5));
        let limiter = |namespace| AsyncLimiter::new(limit, at(&[&server], namespace));
        let (mine, others, peer) = (limiter("mine"), limiter("other"), limiter("mine"));
        server.set("alien", b"kept");
        for limiter in [&mine, &others, &peer] {
            let _ = limiter.check("key").await.unwrap();
        }
        assert_eq!(mine.peek("key", 0).await.unwrap().remaining(), 3);
        for _ in 0..2 {
            mine.storage().clear().await.unwrap();
            assert_eq!(mine.check("key").await.unwrap().remaining(), 4);
        }
        assert_eq!(others.peek("key", 0).await.unwrap().remaining(), 4);
        assert!(server.command("get alien").contains("kept"));
        // Another process notices within a second.
        let notices = async {
            while peer.peek("key", 0).await.unwrap().remaining() != 4 {
                Tokio.sleep(Duration::from_millis(20)).await;
            }
        };
        Tokio.timeout(Duration::from_secs(5), notices).await.unwrap();
        // One that comes later knows from the beginning.
        assert_eq!(limiter("mine").peek("key", 0).await.unwrap().remaining(), 4);
        let brief = MemcachedStorage::servers(Tokio, [server.address().to_string()]).namespace("mine");
        brief.persistent(false).build().unwrap().close().await.unwrap();
        assert_eq!(limiter("mine").peek("key", 0).await.unwrap().remaining(), 5);
        let closed = &mine;
        closed.storage().close().await.unwrap();
        assert_eq!(closed.check("key").await.unwrap_err().kind(), ErrorKind::Closed);
    });
}

#[test]
fn items_are_kept_as_long_as_their_limits_remember() {
    run(async {
        let keep = async |key: &str, limit: Rate| {
            let _ = AsyncLimiter::new(FixedWindow::new(limit), storage("ttl")).check(key).await.unwrap();
            kept(&SERVER, &format!("ttl:{{{key}}}"))
        };
        let every = |seconds: u64| Rate::new(5, Duration::from_secs(seconds)).unwrap();
        // Four seconds longer, so that what is over for one host is there for another until it is over for
        // it.
        assert!((3..=5).contains(&keep("brief", every(1)).await));
        let day = 24 * 3_600;
        assert!((3..=i64::try_from(day).unwrap() + 4).contains(&keep("day", every(day)).await));
        // Windows of 200 days began 1970. A time to live above 30 days is sent as a time, and a day more.
        let rest = 200 * day - SystemClock.now().as_micros() / 1_000_000 % (200 * day);
        let told = u64::try_from(keep("long", every(200 * day)).await).unwrap();
        assert!(told >= rest - 1 && told <= rest + day + 10, "{told} of {rest}");
        // A period of an odd length, and one that does not end before the server's own time.
        assert!((3..=6).contains(&keep("odd", Rate::new(5, Duration::from_millis(1_234)).unwrap()).await));
        assert_eq!(keep("ever", every(100 * 365 * day)).await, -1);
        let bucket = AsyncLimiter::new(TokenBucket::new(Rate::per_hour(60)), storage("ttl"));
        let _ = bucket.check_n("bucket", 2).await.unwrap();
        assert!((122..=125).contains(&kept(&SERVER, "ttl:{bucket}")));
    });
}

/// A denial by a limit of a longer period prolongs what the server keeps, so that the wait it tells is kept.
#[test]
fn a_denial_after_a_change_of_the_period_is_kept_as_long_as_it_says() {
    async fn prolongs<S: Strategy<Cost = u32>>(key: &str, make: impl Fn(Rate) -> S) {
        let before = AsyncLimiter::new(make(Rate::per_minute(5)), storage("longer"));
        while before.check(key).await.unwrap().is_allowed() {}
        let item = format!("longer:{{{key}}}");
        let short = kept(&SERVER, &item);
        assert!(short <= 125, "{key}: {short}");
        let after = AsyncLimiter::new(make(Rate::per_week(5)), storage("longer"));
        for _ in 0..2 {
            let denied = after.check(key).await.unwrap();
            let mut told = 0;
            denied.for_each(&mut |decision| told = told.max(decision.reset_after().as_secs()));
            let long = u64::try_from(kept(&SERVER, &item)).unwrap();
            assert!(!denied.is_allowed() && long >= told && long <= told + 6, "{key}: {long} of {told}");
        }
    }
    run(async {
        prolongs("bucket", TokenBucket::new).await;
        prolongs("sliding", SlidingWindow::new).await;
        prolongs("log", |rate| SlidingLog::<8>::new(rate).unwrap()).await;
    });
}

/// No more than were allowed, however many ask; and no fewer than are to be kept, however long nobody does.
#[test]
fn connections_are_as_many_as_was_said() {
    run(async {
        let server = Memcached::start();
        let open = || count(&server, &["curr_connections"]);
        // An earlier client may not have left yet.
        let mut none = open();
        for _ in 0..50 {
            Tokio.sleep(Duration::from_millis(2)).await;
            none = none.min(open());
        }
        let limiter = |idle: Duration| {
            let storage = MemcachedStorage::servers(Tokio, [server.address().to_string()]);
            let storage =
                storage.max_connections(5).min_idle(2).idle_timeout(idle).timeout(Duration::from_secs(5));
            AsyncLimiter::new(FixedWindow::new(Rate::per_week(1)), storage.build().unwrap())
        };
        let settled = async |expected: u64| {
            let settles = async {
                while open() != none + expected {
                    Tokio.sleep(Duration::from_millis(1)).await;
                }
            };
            Tokio.timeout(Duration::from_secs(5), settles).await.unwrap();
        };
        for (idle, left) in [(Duration::from_secs(60), 5), (Duration::ZERO, 2)] {
            let limiter = limiter(idle);
            limiter.storage().ready().await.unwrap();
            settled(2).await;
            for told in join_all((0..64).map(|_| limiter.check("key"))).await {
                let _ = told.unwrap();
            }
            // A connection that nobody needed for too long is closed when another one is returned.
            let _ = limiter.check("key").await.unwrap();
            settled(left).await;
            limiter.storage().close().await.unwrap();
            settled(0).await;
        }
    });
}

/// A key that the server gave up for want of room counts as one never seen.
#[test]
fn an_evicted_key_starts_afresh() {
    run(async {
        let server = Memcached::options().arguments(&["-m", "2"]).start();
        let limiter = AsyncLimiter::new(FixedWindow::new(Rate::per_week(1)), at(&[&server], "e"));
        assert!(limiter.check("key").await.unwrap().is_allowed());
        assert!(!limiter.check("key").await.unwrap().is_allowed());
        for number in 0..40_000 {
            let _ = limiter.check(&number).await.unwrap();
        }
        assert!(count(&server, &["evictions"]) > 0);
        assert!(limiter.check("key").await.unwrap().is_allowed());
    });
}

#[test]
fn keys_are_spread_over_servers_and_few_move() {
    run(async {
        let servers = [(); 3].map(|()| Memcached::start());
        let [a, b, c] = &servers;
        let limiter = |servers: &[&Memcached]| {
            AsyncLimiter::new(FixedWindow::new(Rate::per_week(1)), at(servers, "spread"))
        };
        // In whatever order they are named.
        let (all, again, two) = (limiter(&[a, b, c]), limiter(&[c, a, b]), limiter(&[a, b]));
        let mut moved = BTreeSet::new();
        for key in 0..300u32 {
            assert!(all.check(&key).await.unwrap().is_allowed());
            assert!(!again.check(&key).await.unwrap().is_allowed());
            if two.check(&key).await.unwrap().is_allowed() {
                moved.insert(key);
            }
        }
        // Each has the items of the generation and of the list of servers besides.
        let items = servers.each_ref().map(|server| count(server, &["curr_items"]) - 2);
        assert!((60..140).contains(&moved.len()), "{} moved", moved.len());
        assert!(items.iter().all(|items| *items > 60), "{items:?}");
        assert_eq!(items[2], moved.len() as u64, "those of the server that went, and no others");
        all.storage().ready().await.unwrap();
    });
}
