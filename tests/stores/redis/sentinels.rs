//! The master that sentinels name, when another becomes it while both run, and when sentinels do not answer.

use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use traffik::storage::ErrorKind;
use traffik::{AsyncLimiter, FixedWindow, Rate, RedisStorage};
use traffik_test_support::limited::{Count, DEADLINE, RECOVERY, recovered, run};
use traffik_test_support::servers::{Redis, Sentinel, until};

fn weekly(limit: u32) -> FixedWindow {
    FixedWindow::new(Rate::per_week(limit))
}

fn by(sentinels: Vec<String>) -> RedisStorage {
    let storage = RedisStorage::sentinel(sentinels, format!("redis://{}", Sentinel::NAME)).unwrap();
    storage.namespace("f").timeout(DEADLINE).on_warning(|_| {}).build().unwrap()
}

/// How often scripts were run on a server.
fn runs(redis: &Redis) -> u64 {
    let line = redis.info("cmdstat_evalsha").unwrap_or_default();
    line.split(['=', ',']).nth(1).unwrap_or("0").parse().unwrap()
}

/// The use of the hot key, by a server's own account.
async fn used(redis: &Redis, limit: u32) -> u64 {
    let storage = RedisStorage::url(&redis.url()).unwrap().namespace("f").build().unwrap();
    u64::from(limit - AsyncLimiter::new(weekly(limit), storage).peek("hot", 0).await.unwrap().remaining())
}

/// The former master goes on as one for ten seconds, and takes writes that are lost. So what is admitted
/// beyond the limit is what it took between the switch and the moment at which the new master is found.
#[test]
fn a_master_that_was_demoted_is_left_as_soon_as_its_sentinels_know() {
    const LIMIT: u32 = 3_000;
    run(async {
        let sentinel = Sentinel::start();
        let (former, next) = (sentinel.master_index(), 1 - sentinel.master_index());
        let limiter = Arc::new(AsyncLimiter::new(weekly(LIMIT), by(vec![sentinel.url()])));
        let (count, ended) = (Arc::new(Count::default()), Arc::new(AtomicBool::new(false)));
        let tasks = (0..8).map(|_| {
            let (limiter, count, ended) = (limiter.clone(), count.clone(), ended.clone());
            tokio::spawn(async move {
                while !ended.load(Ordering::Relaxed) {
                    count.check(&limiter, "hot").await;
                    // Slow enough that the limit is not used up before the switch.
                    tokio::time::sleep(Duration::from_millis(8)).await;
                }
            })
        });
        let tasks: Vec<_> = tasks.collect();
        tokio::task::block_in_place(|| {
            until(RECOVERY, "the former master is asked", || runs(&sentinel.nodes[former]) > 50);
            let before = runs(&sentinel.nodes[next]);
            sentinel.fail_over();
            let at = Instant::now();
            until(RECOVERY, "the new master is asked", || runs(&sentinel.nodes[next]) > before);
            println!("the new master was asked {:?} after its sentinel named it", at.elapsed());
            // Nobody asks the former one any more, which still is a master by its own account.
            std::thread::sleep(DEADLINE);
            let late = runs(&sentinel.nodes[former]);
            std::thread::sleep(DEADLINE);
            assert_eq!(runs(&sentinel.nodes[former]), late);
        });
        ended.store(true, Ordering::Relaxed);
        join_all(tasks).await;
        let [admitted, denied, unknown, failed] = count.get();
        let (lost, kept) =
            (used(&sentinel.nodes[former], LIMIT).await, used(&sentinel.nodes[next], LIMIT).await);
        assert_eq!((denied, unknown), (0, 0), "{failed} failed");
        // The two accounts begin alike, and each admission is in one of them: the new master has all but what
        // the former one took after the switch.
        assert!(admitted >= kept && admitted <= kept + lost, "{admitted} of {kept} kept and {lost} lost");
        // A sentinel hears within a second of the promotion that it ordered, and is asked four times a
        // second.
        let beyond = admitted - kept;
        assert!(beyond <= 2 * 1_000, "{beyond} admitted beyond what is kept, at 1000 a second");
    });
}

/// The first sentinel in the list takes connections and never answers.
#[test]
fn a_silent_sentinel_holds_nobody_up() {
    run(async {
        let sentinel = Sentinel::start();
        let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let urls = vec![format!("redis://{}", silent.local_addr().unwrap()), sentinel.url()];
        let (limiter, count) = (AsyncLimiter::new(weekly(9), by(urls)), Count::default());
        assert_eq!(count.check(&limiter, "k").await, None);
        tokio::task::block_in_place(|| sentinel.fail_over());
        let before = runs(sentinel.master());
        let began = Instant::now();
        while runs(sentinel.master()) == before {
            assert!(began.elapsed() < RECOVERY, "the new master is not asked");
            count.check(&limiter, "k").await;
        }
    });
}

/// Sentinels that are down are no reason to leave a master that is not; and none at all is an outage that is
/// told.
#[test]
fn a_master_goes_on_without_its_sentinels() {
    run(async {
        let mut sentinel = Sentinel::start();
        let url = sentinel.url();
        let (limiter, count) = (AsyncLimiter::new(weekly(100), by(vec![url.clone()])), Count::default());
        assert_eq!(count.check(&limiter, "k").await, None);
        sentinel.sentinel.stop();
        let began = Instant::now();
        while began.elapsed() < RECOVERY / 2 {
            assert_eq!(count.check(&limiter, "k").await, None);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let unknown = AsyncLimiter::new(weekly(9), by(vec![url]));
        let failure = unknown.check("k").await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Unavailable);
        let text = failure.to_string();
        assert!(
            text.contains(&sentinel.sentinel.address().to_string()) && text.contains("refused"),
            "{text}"
        );
        sentinel.sentinel.start_again();
        recovered(&unknown, &count, "k").await;
    });
}

#[test]
fn a_name_that_no_sentinel_knows_is_told() {
    run(async {
        let sentinel = Sentinel::start();
        let storage = RedisStorage::sentinel([sentinel.url()], "redis://another").unwrap();
        let storage = storage.on_warning(|_| {}).build().unwrap();
        let failure = AsyncLimiter::new(weekly(9), storage).check("k").await.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Unavailable);
        assert!(failure.to_string().contains("the sentinel knows no master named another"), "{failure}");
    });
    let refused = |builder: traffik::RedisBuilder| builder.build().unwrap_err().kind();
    let nobody: [&str; 0] = [];
    assert_eq!(refused(RedisStorage::sentinel(nobody, "redis://mymaster").unwrap()), ErrorKind::Invalid);
    assert_eq!(refused(RedisStorage::sentinel(["redis://a"], "unix:///b").unwrap()), ErrorKind::Invalid);
}
