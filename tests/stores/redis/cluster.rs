//! Faults between a limiter and a cluster: nothing is charged twice, and one node does not hold up the
//! others.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use traffik::storage::ErrorKind;
use traffik::{AsyncLimiter, FixedWindow, Rate, RedisStorage};
use traffik_test_support::limited::{Count, DEADLINE, RECOVERY, recovered, run};
use traffik_test_support::servers::{Cluster, Proxy, Redis, until};

type Limiter = AsyncLimiter<FixedWindow, RedisStorage>;

fn at<I: IntoIterator<Item = String>>(urls: I) -> Limiter {
    let storage = RedisStorage::cluster(urls).unwrap().namespace("f").timeout(DEADLINE).build().unwrap();
    AsyncLimiter::new(FixedWindow::new(Rate::per_week(100)), storage)
}

/// The cost charged to a key, by a node's own account.
async fn charged(redis: &Redis, key: &str) -> u32 {
    100 - at([redis.url()]).peek(key, 0).await.unwrap().remaining()
}

/// A cluster of one node that is reached through a proxy.
fn behind_a_proxy() -> (Cluster, Proxy) {
    let cluster = Cluster::of(1, 1);
    let proxy = Proxy::to(cluster.nodes[0].address());
    cluster.reach_through(0, &proxy);
    (cluster, proxy)
}

/// How often a script was run.
fn runs(redis: &Redis) -> u64 {
    let line = redis.info("cmdstat_evalsha").unwrap_or_default();
    line.split(['=', ',']).nth(1).unwrap_or("0").parse().unwrap()
}

#[test]
fn what_may_have_been_done_is_not_asked_again() {
    run(async {
        let (cluster, proxy) = behind_a_proxy();
        let redis = &cluster.nodes[0];
        let (limiter, count) = (at([proxy.url()]), Count::default());
        assert_eq!(count.check(&limiter, "k").await, None);
        // The server has done it, the answer is lost, and new connections work.
        let before = runs(redis);
        proxy.cut_after(0);
        assert_eq!(count.check(&limiter, "k").await, Some(ErrorKind::Timeout));
        assert_eq!(runs(redis) - before, 1);
        recovered(&limiter, &count, "k").await;
        // The same, and nobody can connect any more.
        let before = runs(redis);
        proxy.drop_replies(true);
        let (told, ()) = futures_util::future::join(limiter.check("k"), async {
            while proxy.bytes().lost == 0 {
                tokio::task::yield_now().await;
            }
            drop(proxy);
        })
        .await;
        assert_eq!(told.unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(runs(redis) - before, 1);
        // Nothing is sent where nobody is.
        assert_eq!(count.check(&limiter, "k").await, Some(ErrorKind::Unavailable));
        assert_eq!(runs(redis) - before, 1);
    });
}

/// Other keys are served all the while.
#[test]
fn a_node_that_does_not_answer_holds_up_its_own_keys_only() {
    run(async {
        let cluster = Cluster::start();
        let proxy = Proxy::to(cluster.nodes[0].address());
        cluster.reach_through(0, &proxy);
        let (limiter, count) = (at(cluster.urls()), Count::default());
        let of = |node| {
            let mut keys = (0..).map(|key: u32| key.to_string());
            keys.find(|key| cluster.owner(cluster.slot(&format!("f:{{{key}}}"))) == node).unwrap()
        };
        let [hung, other] = [0, 1].map(of);
        for key in [&hung, &other] {
            assert_eq!(count.check(&limiter, key).await, None);
        }
        proxy.black_hole(true);
        for _ in 0..3 {
            assert!(count.check(&limiter, &hung).await.is_some());
            assert_eq!(count.check(&limiter, &other).await, None);
        }
        proxy.black_hole(false);
        recovered(&limiter, &count, &hung).await;
    });
}

/// A key on its way to a node that has no slots yet is asked for there, each time once.
#[test]
fn a_slot_that_moves_to_a_new_node_is_followed() {
    run(async {
        let cluster = Cluster::of(2, 1);
        let (limiter, count) = (at([cluster.nodes[0].url()]), Count::default());
        assert_eq!(count.check(&limiter, "k").await, None);
        let slot = cluster.slot("f:{k}");
        cluster.start_move(slot, 1);
        for _ in 0..3 {
            assert_eq!(count.check(&limiter, "k").await, None);
        }
        cluster.finish_move(slot, 1);
        for _ in 0..3 {
            assert_eq!(count.check(&limiter, "k").await, None);
        }
        assert_eq!(charged(&cluster.nodes[1], "k").await, 7);
    });
}

/// A master of which its replica has what there is, and four are charged.
async fn replicated(cluster: &Cluster, limiter: &Limiter, count: &Count) {
    cluster.replicate(1, 0);
    for _ in 0..4 {
        assert_eq!(count.check(limiter, "k").await, None);
    }
    // A write that has not reached the replica would be granted again: replication is asynchronous.
    let offset = |redis: &Redis| redis.info("master_repl_offset");
    until(RECOVERY, "the replica has the state", || offset(&cluster.nodes[0]) == offset(&cluster.nodes[1]));
}

#[test]
fn a_replica_that_is_promoted_is_found() {
    run(async {
        let mut cluster = Cluster::of(2, 1);
        let (limiter, count) = (at(cluster.urls()), Count::default());
        replicated(&cluster, &limiter, &count).await;
        cluster.nodes[0].kill();
        let told = count.check(&limiter, "k").await;
        assert!(matches!(told, Some(ErrorKind::Timeout | ErrorKind::Unavailable)), "{told:?}");
        // Nobody has taken over yet: nothing is sent.
        assert_eq!(count.check(&limiter, "k").await, Some(ErrorKind::Unavailable));
        cluster.promote(1);
        recovered(&limiter, &count, "k").await;
        assert_eq!(charged(&cluster.nodes[1], "k").await, 5);
    });
}

/// Replicas are named among the seeds, and asked who serves what: over a connection that is kept. One that is
/// down is one fault, however often it is asked, and none of a node that keeps keys.
#[test]
fn a_seed_that_serves_no_keys_is_asked_over_one_connection_and_has_one_fault() {
    run(async {
        let mut cluster = Cluster::of(2, 1);
        cluster.replicate(1, 0);
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let written = Arc::clone(&lines);
        let storage = RedisStorage::cluster(cluster.urls()).unwrap().namespace("f").timeout(DEADLINE);
        let storage = storage.on_warning(move |line| written.lock().unwrap().push(line.to_owned()));
        let storage = storage.build().unwrap();
        let asked = async || {
            for _ in 0..10 {
                storage.ready().await.unwrap();
                // Until it counts as long ago that somebody asked who serves what.
                tokio::time::sleep(Duration::from_millis(60)).await;
            }
        };
        storage.ready().await.unwrap();
        let received =
            |redis: &Redis| redis.info("total_connections_received").unwrap().parse::<u32>().unwrap();
        let before = received(&cluster.nodes[1]);
        asked().await;
        // One of them may be this storage's first, the other is of who counts.
        let made = received(&cluster.nodes[1]) - before;
        assert!(made <= 2, "{made} connections to a replica");
        assert!(lines.lock().unwrap().is_empty(), "{lines:?}");
        cluster.nodes[1].kill();
        asked().await;
        assert_eq!(lines.lock().unwrap().len(), 1, "{lines:?}");
        let nodes = storage.nodes();
        assert!(nodes.len() == 1 && nodes[0].1.is_none(), "{nodes:?}");
        cluster.nodes[1].start_again();
        let began = Instant::now();
        while lines.lock().unwrap().len() < 2 {
            assert!(began.elapsed() < RECOVERY * 2, "{lines:?}");
            asked().await;
        }
        assert!(lines.lock().unwrap()[1].contains("answers again"), "{lines:?}");
    });
}

/// The same where nothing is heard of the master any more, not even that connections to it have ended.
#[test]
fn a_replica_of_a_master_that_does_not_answer_is_found() {
    run(async {
        let cluster = Cluster::of(2, 1);
        let proxy = Proxy::to(cluster.nodes[0].address());
        cluster.reach_through(0, &proxy);
        let (limiter, count) = (at([proxy.url(), cluster.nodes[1].url()]), Count::default());
        replicated(&cluster, &limiter, &count).await;
        proxy.black_hole(true);
        // An answer to the first call might be on its way yet when the second one is made.
        for kind in [ErrorKind::Timeout, ErrorKind::Timeout, ErrorKind::Unavailable] {
            assert_eq!(count.check(&limiter, "k").await, Some(kind));
        }
        cluster.promote(1);
        recovered(&limiter, &count, "k").await;
        assert!(charged(&cluster.nodes[1], "k").await >= 5);
    });
}
