//! One node of several is down, on real servers: keys on all others are served as before, and keys there get
//! the policy.

use std::time::Duration;

use traffik::layer::{Breaker, BreakerState, CircuitBreaker, Failover};
use traffik::runtime::Tokio;
use traffik::storage::{AsyncStorage, Local};
use traffik::{AsyncLimiter, Decision, FixedWindow, MemcachedStorage, Memory, Origin, Rate, RedisStorage};
use traffik_test_support::limited::{DEADLINE, run};
use traffik_test_support::servers::{Cluster, Memcached};

/// How many requests for keys on nodes that are well go in a closed loop.
const REQUESTS: u32 = 10_000;

fn weekly() -> FixedWindow {
    FixedWindow::new(Rate::per_week(100_000))
}

/// How the answer to a request ended: refused, or decided by whom.
fn ended(answer: Result<Decision, traffik::storage::BackendError>) -> Option<Origin> {
    answer.ok().map(|decision| decision.origin())
}

/// Asks for keys in turn, each `(key, whether its node is well)`. Returns how many were asked for, and how
/// many of them refused: on nodes that are well, and on others.
async fn asked<M: AsyncStorage<FixedWindow>>(
    limiter: &AsyncLimiter<FixedWindow, M>,
    keys: &[(String, bool)],
    requests: u32,
    pause: Duration,
) -> [[u32; 2]; 2] {
    let mut counts = [[0; 2]; 2];
    for turn in 0.. {
        let (key, is_well) = &keys[turn % keys.len()];
        let origin = ended(limiter.check(key).await);
        let [asked, refused] = &mut counts[usize::from(!is_well)];
        (*asked, *refused) = (*asked + 1, *refused + u32::from(origin.is_none()));
        if counts[0][0] >= requests {
            break;
        }
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
    }
    counts
}

/// Holds any store of several nodes of which one is down to what it promises.
async fn holds<M>(storage: M, keys: &[(String, bool)], dead: &str)
where
    M: AsyncStorage<FixedWindow> + Clone + 'static,
{
    let breaker = Breaker::builder("store").open_for(Duration::from_millis(250)).build().unwrap();
    let guarded = CircuitBreaker::new(storage, &breaker);
    let limiter = AsyncLimiter::new(weekly(), guarded.clone());
    // As many a second as go, 300 and 20.
    for (requests, pause) in [(REQUESTS, 0), (300, 3), (20, 50)] {
        let counts = asked(&limiter, keys, requests, Duration::from_millis(pause)).await;
        let [[well, refused], [ill, failed]] = counts;
        println!(
            "{dead}, {pause} ms apart: {refused} of {well} refused on live nodes, {failed} of {ill} on it"
        );
        assert_eq!(refused, 0, "{counts:?}");
        assert!(ill > 0 && failed == ill, "{counts:?}");
    }
    // It is left alone by itself.
    for (node, state, cause) in breaker.nodes() {
        let (node, is_closed) = (node.expect("it has several"), state == BreakerState::Closed);
        assert_eq!(is_closed, *node != *dead, "{node}: {state}");
        assert_eq!(cause.is_none(), is_closed, "{node}: {cause:?}");
    }
    // And a fallback decides on its keys alone.
    let failover = Failover::builder(guarded, Local(Memory::new(1_000))).after_timeouts().build();
    let limiter = AsyncLimiter::new(weekly(), failover);
    for (key, is_well) in keys {
        let origin = ended(limiter.check(key).await);
        assert_eq!(origin, Some(if *is_well { Origin::Store } else { Origin::Fallback }), "{key}");
    }
}

#[test]
fn one_master_of_three_takes_nothing_from_the_others() {
    run(async {
        let mut cluster = Cluster::start();
        let storage = RedisStorage::cluster(cluster.urls()).unwrap().namespace("f").timeout(DEADLINE);
        let storage = storage.on_warning(|_| {}).build().unwrap();
        let keys: Vec<_> = (0..60).map(|number| format!("key {number}")).collect();
        let owners =
            keys.iter().map(|key| cluster.owner(cluster.slot(&format!("f:{{{}}}", key.replace(' ', "%20")))));
        let owners: Vec<_> = owners.collect();
        // Known by now, as those of a program are that has run for a while.
        storage.ready().await.unwrap();
        let dead = cluster.nodes[1].address().to_string();
        let keys: Vec<_> = keys.into_iter().zip(owners).map(|(key, owner)| (key, owner != 1)).collect();
        cluster.nodes[1].kill();
        holds(storage.clone(), &keys, &dead).await;
        let nodes = storage.nodes();
        let ill: Vec<_> =
            nodes.iter().filter(|(_, fault)| fault.is_some()).map(|(node, _)| &**node).collect();
        assert_eq!(ill, [&*dead], "{nodes:?}");
    });
}

#[test]
fn a_master_of_three_that_hangs_takes_nothing_from_the_others() {
    run(async {
        let mut cluster = Cluster::start();
        let storage = RedisStorage::cluster(cluster.urls()).unwrap().namespace("f").timeout(DEADLINE / 6);
        let storage = storage.on_warning(|_| {}).build().unwrap();
        let keys: Vec<_> = (0..60u32).map(|number| number.to_string()).collect();
        let owners: Vec<_> =
            keys.iter().map(|key| cluster.owner(cluster.slot(&format!("f:{{{key}}}")))).collect();
        storage.ready().await.unwrap();
        let dead = cluster.nodes[1].address().to_string();
        let keys: Vec<_> = keys.into_iter().zip(owners).map(|(key, owner)| (key, owner != 1)).collect();
        cluster.nodes[1].pause();
        holds(storage, &keys, &dead).await;
    });
}

#[test]
fn one_memcached_server_of_two_takes_nothing_from_the_other() {
    run(async {
        let mut servers = [Memcached::start(), Memcached::start()];
        let names = servers.each_ref().map(|server| server.address().to_string());
        let storage = MemcachedStorage::servers(Tokio, names.clone()).namespace("f").timeout(DEADLINE);
        let storage = storage.on_warning(|_| {}).build().unwrap();
        storage.ready().await.unwrap();
        let node = |key: &String| AsyncStorage::<FixedWindow>::node(&storage, key).expect("it has several");
        let keys = (0..60u32).map(|number| number.to_string());
        let keys: Vec<_> = keys.map(|key| (key.clone(), *node(&key) != *names[1])).collect();
        servers[1].kill();
        holds(storage, &keys, &names[1]).await;
    });
}
