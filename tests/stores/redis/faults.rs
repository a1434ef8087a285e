//! Faults between a limiter and its Redis, on real servers: how much is admitted all the same, how long a
//! call takes to report the fault, and how soon all is well again.

use std::time::{Duration, Instant};

use traffik::storage::{BackendError, ErrorKind};
use traffik::{
    Adaptive, AsyncLimiter, FixedWindow, Rate, RedisStorage, SlidingWindow, Strategy, TokenBucket,
};
use traffik_test_support::limited::{Count, DEADLINE, RECOVERY, recovered, run, under_load};
use traffik_test_support::servers::{Cluster, Proxy, Redis, Sentinel, until};

fn at(url: &str) -> RedisStorage {
    RedisStorage::url(url).unwrap().namespace("f").timeout(DEADLINE).build().unwrap()
}

fn weekly(limit: u32) -> FixedWindow {
    FixedWindow::new(Rate::per_week(limit))
}

/// Nothing on the server lives for ever.
fn assert_all_expire(redis: &Redis) {
    for key in redis.command(&["KEYS", "*"]).array() {
        let key = key.text().to_owned();
        assert!(redis.command(&["PTTL", key.as_str()]).integer() > 0, "{key} has no time to live");
    }
}

#[test]
fn scripts_that_the_server_forgot_are_sent_again() {
    run(async {
        let redis = Redis::start();
        let (limiter, count) = (AsyncLimiter::new(weekly(2_000), at(&redis.url())), Count::default());
        under_load(&limiter, &count, 2_000, |_| drop(redis.command(&["SCRIPT", "FLUSH"]))).await;
        let [admitted, _, unknown, failed] = count.get();
        assert_eq!((admitted, unknown, failed), (2_000, 0, 0));
        assert_all_expire(&redis);
    });
}

/// A caller that waits while the connection is closed gets an unknown outcome; the next caller is served.
#[test]
fn a_killed_connection_is_made_anew() {
    run(async {
        let redis = Redis::start();
        let (limiter, count) = (AsyncLimiter::new(weekly(2_000), at(&redis.url())), Count::default());
        under_load(&limiter, &count, 2_000, |_| drop(redis.command(&["CLIENT", "KILL", "TYPE", "normal"])))
            .await;
        recovered(&limiter, &count, "other").await;
        let [_, _, unknown, failed] = count.get();
        assert!(unknown <= 8 * 10, "{unknown} unknown of eight tasks and ten kills");
        assert_eq!(failed, 0);
        count.assert_exact(2_000 + 1);
    });
}

#[test]
fn a_server_that_comes_back_goes_on_with_what_it_kept() {
    run(async {
        let mut redis = Redis::options().persistent().start();
        let (limiter, count) = (AsyncLimiter::new(weekly(10), at(&redis.url())), Count::default());
        for _ in 0..4 {
            count.check(&limiter, "k").await;
        }
        redis.stop();
        for _ in 0..5 {
            // The first may find the connection closed under it.
            let kind = count.check(&limiter, "k").await.unwrap();
            assert!(matches!(kind, ErrorKind::Unavailable | ErrorKind::Timeout), "{kind:?}");
        }
        assert!(count.get()[2] <= 1);
        redis.start_again();
        recovered(&limiter, &count, "k").await;
        for _ in 0..20 {
            count.check(&limiter, "k").await;
        }
        assert_eq!(count.get()[0], 10);
        assert_all_expire(&redis);
    });
}

/// Without its data a server has forgotten what was used: the limit is had once more, and no more than that.
#[test]
fn a_server_that_comes_back_empty_grants_one_limit_more() {
    run(async {
        let mut redis = Redis::start();
        let (limiter, count) = (AsyncLimiter::new(weekly(10), at(&redis.url())), Count::default());
        for _ in 0..20 {
            count.check(&limiter, "k").await;
        }
        redis.kill();
        redis.start_again();
        recovered(&limiter, &count, "k").await;
        for _ in 0..20 {
            count.check(&limiter, "k").await;
        }
        let [admitted, _, unknown, _] = count.get();
        assert!((20 - unknown..=20).contains(&admitted), "{admitted} admitted, {unknown} unknown");
    });
}

/// No answer in time is no denial: the hit may have been charged, and is not sent again.
#[test]
fn a_paused_server_is_a_timeout_and_then_well_again() {
    run(async {
        let redis = Redis::start();
        let (limiter, count) = (AsyncLimiter::new(weekly(100), at(&redis.url())), Count::default());
        count.check(&limiter, "k").await;
        redis.command(&["CLIENT", "PAUSE", "900"]);
        let paused = Instant::now();
        assert_eq!(count.check(&limiter, "k").await, Some(ErrorKind::Timeout));
        while paused.elapsed() < Duration::from_millis(900) {
            assert!(
                count.check(&limiter, "k").await.is_some() || paused.elapsed() > Duration::from_millis(890)
            );
        }
        recovered(&limiter, &count, "k").await;
        for _ in 0..150 {
            count.check(&limiter, "k").await;
        }
        count.assert_exact(100);
    });
}

/// The answer is lost, the charge is not.
#[test]
fn a_lost_answer_is_an_unknown_outcome() {
    run(async {
        let redis = Redis::start();
        let proxy = Proxy::to(redis.address());
        let (limiter, count) = (AsyncLimiter::new(weekly(10), at(&proxy.url())), Count::default());
        count.check(&limiter, "k").await;
        proxy.drop_replies(true);
        assert_eq!(count.check(&limiter, "k").await, Some(ErrorKind::Timeout));
        proxy.drop_replies(false);
        recovered(&limiter, &count, "k").await;
        // Three were charged, one of them to nobody's knowledge.
        let direct = AsyncLimiter::new(weekly(10), at(&redis.url()));
        assert_eq!(direct.peek("k", 0).await.unwrap().remaining(), 7);
    });
}

#[test]
fn a_network_that_swallows_everything_or_cuts_replies_short_is_bounded() {
    run(async {
        let redis = Redis::start();
        let proxy = Proxy::to(redis.address());
        let (limiter, count) = (AsyncLimiter::new(weekly(1_000), at(&proxy.url())), Count::default());
        count.check(&limiter, "k").await;
        proxy.black_hole(true);
        for _ in 0..3 {
            assert!(count.check(&limiter, "k").await.is_some());
        }
        proxy.black_hole(false);
        recovered(&limiter, &count, "k").await;
        proxy.cut_after(7);
        assert_eq!(count.check(&limiter, "k").await, Some(ErrorKind::Timeout));
        recovered(&limiter, &count, "k").await;
        proxy.refuse(true);
        proxy.cut();
        assert!(count.check(&limiter, "k").await.is_some());
        proxy.refuse(false);
        recovered(&limiter, &count, "k").await;
        proxy.delay(Duration::from_millis(40));
        assert_eq!(count.check(&limiter, "k").await, None);
    });
}

/// A check that nobody waits for any more does not answer the next one.
#[test]
fn a_dropped_check_disturbs_no_other() {
    run(async {
        let redis = Redis::start();
        let proxy = Proxy::to(redis.address());
        let limiter = AsyncLimiter::new(weekly(1_000), at(&proxy.url()));
        let sliding = AsyncLimiter::new(SlidingWindow::strict::<10>(Rate::per_week(1_000)), at(&proxy.url()));
        let _ = limiter.check_n("a", 1).await.unwrap();
        let _ = sliding.check_n("a'", 1).await.unwrap();
        proxy.delay(Duration::from_millis(20));
        for turn in 0..10u32 {
            let wait = Duration::from_millis(u64::from(turn) * 8);
            let dropped = tokio::time::timeout(wait, limiter.check_n("dropped", 1)).await;
            assert!(turn > 3 || dropped.is_err());
            let _ = tokio::time::timeout(wait, sliding.check_n("dropped'", 1)).await;
            let (key, cost) = (format!("key {turn}"), turn + 2);
            assert_eq!(limiter.check_n(&key, cost).await.unwrap().remaining(), 1_000 - cost);
            assert_eq!(sliding.check_n(&format!("{key}'"), cost).await.unwrap().remaining(), 1_000 - cost);
        }
    });
}

#[test]
fn a_server_that_is_full_or_refuses_this_client_says_so() {
    run(async {
        let full = Redis::options().config(&["maxmemory", "1mb"]).start();
        for number in 0..2_000 {
            full.command(&["SET".to_owned(), format!("ballast {number}"), "x".repeat(1_000)]);
        }
        let count = Count::default();
        let known = AsyncLimiter::new(weekly(5), at(&full.url()));
        let unknown = AsyncLimiter::new(SlidingWindow::strict::<10>(Rate::per_week(5)), at(&full.url()));
        // It cannot count for anybody, so a breaker is to leave it alone.
        assert_eq!(count.check(&known, "k").await, Some(ErrorKind::Unavailable));
        assert_eq!(count.check(&unknown, "l").await, Some(ErrorKind::Unavailable));
        full.command(&["CONFIG", "SET", "maxmemory", "0"]);
        assert_eq!(count.check(&known, "k").await, None);
        assert_eq!(known.peek("k", 0).await.unwrap().remaining(), 4);

        let guarded = Redis::options().password("secret").user("reader", "pass", &["~*", "+@read"]).start();
        let reader = AsyncLimiter::new(weekly(5), at(&guarded.url_as("reader", "pass")));
        assert_eq!(count.check(&reader, "k").await, Some(ErrorKind::Denied));
        let stranger = AsyncLimiter::new(weekly(5), at(&guarded.url_as("reader", "wrong")));
        assert_eq!(count.check(&stranger, "k").await, Some(ErrorKind::Denied));
        assert_eq!(count.check(&AsyncLimiter::new(weekly(5), at(&guarded.url())), "k").await, None);
    });
}

#[test]
fn a_server_that_was_never_there_is_told_at_once() {
    run(async {
        let mut redis = Redis::start();
        let url = redis.url();
        redis.stop();
        let limiter = AsyncLimiter::new(weekly(5), at(&url));
        let began = Instant::now();
        for _ in 0..1_000 {
            let failure: BackendError = limiter.check("k").await.unwrap_err();
            assert_eq!(failure.kind(), ErrorKind::Unavailable, "{failure}");
        }
        assert!(began.elapsed() < RECOVERY, "a thousand refusals took {:?}", began.elapsed());
        redis.start_again();
        recovered(&limiter, &Count::default(), "k").await;
    });
}

/// The sentinel is asked for the master whenever a connection is made; the old one, once a replica, is not
/// written to.
#[test]
fn a_promoted_replica_is_found() {
    run(async {
        let mut sentinel = Sentinel::start();
        let storage =
            RedisStorage::sentinel([sentinel.url()], format!("redis://{}", Sentinel::NAME)).unwrap();
        let storage = storage.namespace("f").timeout(DEADLINE).build().unwrap();
        let (limiter, count) =
            (AsyncLimiter::new(TokenBucket::new(Rate::per_week(10)), storage), Count::default());
        for _ in 0..4 {
            assert_eq!(count.check(&limiter, "k").await, None);
        }
        // A write that has not reached the replica would be granted again: replication is asynchronous.
        let held = |redis: &Redis| redis.command(&["GET", "f:{k}"]);
        until(RECOVERY, "the replica has the state", || held(sentinel.master()) == held(sentinel.replica()));
        sentinel.kill_master();
        recovered(&limiter, &count, "k").await;
        for _ in 0..20 {
            count.check(&limiter, "k").await;
        }
        count.assert_exact(10);
    });
}

/// While a slot moves from node to node with the key in it, not one admission is lost or made twice.
#[test]
fn a_slot_that_moves_takes_its_limits_with_it() {
    run(async {
        let cluster = Cluster::start();
        let storage =
            RedisStorage::cluster(cluster.urls()).unwrap().namespace("f").timeout(DEADLINE).build().unwrap();
        let (limiter, count) = (AsyncLimiter::new(weekly(2_000), storage), Count::default());
        let slot = cluster.slot("f:{hot}");
        under_load(&limiter, &count, 2_000, |time| {
            if time % 3 == 0 {
                let to = (cluster.owner(slot) + 1) % cluster.nodes.len();
                cluster.move_slot(slot, to);
            }
        })
        .await;
        let [_, _, unknown, failed] = count.get();
        assert!(unknown + failed < 200, "{unknown} unknown, {failed} failed");
        count.assert_exact(2_000);
    });
}

/// The keys of a namespace are on all nodes.
#[test]
fn a_cluster_is_cleared_on_every_node() {
    run(async {
        let cluster = Cluster::start();
        let of = |name: &str| RedisStorage::cluster(cluster.urls()).unwrap().namespace(name).build().unwrap();
        let (one, other) =
            (AsyncLimiter::new(weekly(1), of("one")), AsyncLimiter::new(weekly(1), of("other")));
        for key in 0..60u32 {
            assert!(
                one.check(&key).await.unwrap().is_allowed() && other.check(&key).await.unwrap().is_allowed()
            );
        }
        one.storage().clear().await.unwrap();
        for key in 0..60u32 {
            assert!(
                one.check(&key).await.unwrap().is_allowed() && !other.check(&key).await.unwrap().is_allowed()
            );
        }
    });
}

/// A call has one deadline, however many answers it has to wait for.
#[test]
fn a_call_of_two_steps_has_the_deadline_of_one() {
    let redis = Redis::start();
    let proxy = Proxy::to(redis.address());
    let slow = async |key: &str| {
        let limiter = AsyncLimiter::new(Adaptive::new(Rate::per_week(10)), at(&proxy.url()));
        proxy.delay(Duration::ZERO);
        let taken = limiter.check(key).await.unwrap();
        // Each step's answer comes in time, and the second's too late for both.
        proxy.delay(DEADLINE * 2 / 5);
        let count = Count::default();
        let told = count.check(&limiter, key).await;
        assert!(matches!(told, Some(ErrorKind::Timeout | ErrorKind::Unavailable)), "{told:?}");
        let refund = limiter.refund(key, 1, taken.receipt()).await.unwrap_err().kind();
        assert!(matches!(refund, ErrorKind::Timeout | ErrorKind::Unavailable), "{refund:?}");
        // A call that only reads is answered in one step, or has charged nothing.
        proxy.delay(DEADLINE);
        assert_eq!(limiter.peek(key, 1).await.unwrap_err().kind(), ErrorKind::Unavailable);
    };
    run(slow("on tokio"));
    smol::block_on(slow("on smol"));
}

/// A connection that has gone dead is replaced within a deadline, also where nobody waits for one.
#[test]
fn a_silent_connection_is_replaced_though_nobody_waits_for_long() {
    async fn replaced<S: Strategy>(redis: &Redis, strategy: S) {
        let proxy = Proxy::to(redis.address());
        let limiter = AsyncLimiter::new(strategy, at(&proxy.url()));
        let _ = limiter.check("k").await.unwrap();
        proxy.silence();
        let began = Instant::now();
        let mut vain = 0;
        while tokio::time::timeout(DEADLINE / 10, limiter.check("k")).await.is_err() {
            vain += 1;
            assert!(began.elapsed() < DEADLINE + RECOVERY, "{vain} in vain");
        }
        assert!(vain > 0 && proxy.connections() > 1);
    }
    run(async {
        let redis = Redis::start();
        replaced(&redis, weekly(100)).await;
        replaced(&redis, Adaptive::new(Rate::per_week(100))).await;
    });
}
