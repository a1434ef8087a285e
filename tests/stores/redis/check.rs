//! Redis decides as the pure function does, on real servers.

use std::fmt::Write;
use std::sync::LazyLock;
use std::time::Duration;

use tokio::runtime::Runtime;
use traffik::laws;
use traffik::storage::ErrorKind;
use traffik::{
    Adaptive, All, AsyncLimiter, CostBased, FixedWindow, Gcra, HeapLog, Hours, Label, LeakyBucket,
    LeakyBucketQueue, Priority, QuotaRollover, Rate, Ratio, RedisStorage, SlidingLog, SlidingWindow,
    Strategy, StrictWindow, Tiered, TimeOfDay, TokenBucket, Verdict, rate,
};
use traffik_test_support::limited::admitted_of_a_hot_key;
use traffik_test_support::servers::{Cluster, Redis, Reply};

static SERVER: LazyLock<Redis> = LazyLock::new(Redis::start);

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn storage(namespace: &str) -> RedisStorage {
    RedisStorage::url(&SERVER.url()).unwrap().namespace(namespace).build().unwrap()
}

/// By one call, and by load and swap.
#[test]
fn a_timeout_may_be_as_long_as_there_is() {
    let patient = RedisStorage::url(&SERVER.url()).unwrap().timeout(Duration::MAX).build().unwrap();
    runtime().block_on(async {
        let limiter = AsyncLimiter::new(TokenBucket::new(Rate::per_day(10)), patient);
        assert_eq!(limiter.check("patient").await.unwrap().remaining(), 9);
        assert_eq!(limiter.charge("patient", 1).await.unwrap().remaining(), 8);
    });
}

/// The bytes on the server for a key that needs no escaping.
fn stored(namespace: &str, key: &str) -> Option<Vec<u8>> {
    match SERVER.command(&["GET".to_owned(), format!("{namespace}:{{{key}}}")]) {
        Reply::Bulk(bytes) => Some(bytes),
        _ => None,
    }
}

fn strict(rate: Rate) -> StrictWindow<10> {
    SlidingWindow::strict(rate)
}

/// Every operation, by the limiter's own verbs.
#[test]
fn charges_refunds_and_resets_are_kept() {
    runtime().block_on(async {
        let limiter = AsyncLimiter::new(TokenBucket::new(Rate::per_day(10)), storage("verbs"));
        let taken = limiter.check_n("ann", 4).await.unwrap();
        assert_eq!(taken.remaining(), 6);
        assert_eq!(limiter.peek("ann", 6).await.unwrap().remaining(), 0);
        assert_eq!(limiter.charge("ann", 3).await.unwrap().remaining(), 3);
        assert_eq!(limiter.refund("ann", 4, taken.receipt()).await.unwrap().remaining(), 7);
        assert_eq!(limiter.stat("ann").await.unwrap().tokens, 7);
        assert_eq!(limiter.reset("ann").await.unwrap().remaining(), 10);
        assert_eq!(stored("verbs", "ann"), None);
    });
}

/// How many scripts a server has run.
pub(super) fn calls(server: &Redis) -> u64 {
    let count = |name: &str| {
        let line = server.info(&format!("cmdstat_{name}")).unwrap_or_default();
        let calls = line.split(['=', ',']).nth(1).unwrap_or("0").parse::<u64>();
        calls.unwrap()
    };
    count("evalsha") + count("eval")
}

/// A strategy that no script knows is loaded and swapped: once for all calls for a key at the same time.
#[test]
fn checks_at_the_same_time_are_carried_together() {
    let server = Redis::start();
    runtime().block_on(async {
        let storage = RedisStorage::url(&server.url()).unwrap().build().unwrap();
        let limiter = AsyncLimiter::new(Adaptive::new(Rate::per_day(40)), storage);
        let _ = limiter.check("warm").await.unwrap();
        let before = calls(&server);
        let told = futures_util::future::join_all((0..64).map(|_| limiter.check("key"))).await;
        let remaining: Vec<_> = told.iter().map(|told| told.as_ref().unwrap().remaining()).collect();
        assert!(remaining.is_sorted_by(|one, next| one >= next), "in the order they came");
        assert_eq!(
            (remaining[0], told.iter().filter(|told| told.as_ref().unwrap().is_allowed()).count()),
            (39, 40)
        );
        // The first one is on its way when the others come.
        assert_eq!(calls(&server) - before, 4);
    });
}

/// One call per check of what the server knows, admitted or denied, also of several limits as one.
#[test]
fn a_check_is_one_call() {
    async fn one_each<S: Strategy>(server: &Redis, key: &str, strategy: S) {
        let storage = RedisStorage::url(&server.url()).unwrap().build().unwrap();
        let limiter = AsyncLimiter::new(strategy, storage);
        let _ = limiter.check("warm").await.unwrap();
        let (before, mut denied) = (calls(server), 0);
        for _ in 0..30 {
            denied += u64::from(!limiter.check(key).await.unwrap().outcome().is_allowed());
        }
        assert_eq!(calls(server) - before, 30, "{key}");
        assert!((1..30).contains(&denied), "{key}: {denied} denied");
    }
    let server = Redis::start();
    let rate = Rate::per_week(20);
    let half = Ratio::new(1, 2).unwrap();
    let hours = Hours::new((0, 0), (12, 0), half);
    runtime().block_on(async {
        one_each(&server, "fixed", FixedWindow::new(rate)).await;
        one_each(&server, "sliding", SlidingWindow::new(rate)).await;
        one_each(&server, "strict", strict(rate)).await;
        one_each(&server, "log", HeapLog::new(rate).unwrap()).await;
        one_each(&server, "token", TokenBucket::new(rate).burst(9).unwrap().debt(3).unwrap()).await;
        one_each(&server, "leaky", LeakyBucket::new(rate).capacity(5).unwrap()).await;
        one_each(&server, "queue", LeakyBucketQueue::new(rate).queue(5).unwrap()).await;
        one_each(&server, "gcra", Gcra::new(rate).burst(5).unwrap()).await;
        one_each(&server, "rollover", QuotaRollover::new(Rate::per_week(14))).await;
        one_each(&server, "tiered", Tiered::new(FixedWindow::new(rate), [(Label(1), half)]).unwrap()).await;
        one_each(&server, "hours", TimeOfDay::new(TokenBucket::new(rate), [hours]).unwrap()).await;
        let reserves = [(Label(1), half)];
        one_each(&server, "priority", Priority::new(HeapLog::new(rate).unwrap(), reserves).unwrap()).await;
        one_each(&server, "pair", (TokenBucket::new(rate), FixedWindow::new(Rate::per_day(1_000)))).await;
        one_each(
            &server,
            "all",
            All([HeapLog::new(rate).unwrap(), HeapLog::new(Rate::per_day(90)).unwrap()]),
        )
        .await;
    });
}

/// At most two of anything else, of which a denial writes nothing.
#[test]
fn a_check_of_what_the_server_does_not_know_is_two_calls() {
    let server = Redis::start();
    runtime().block_on(async {
        let storage = RedisStorage::url(&server.url()).unwrap().build().unwrap();
        let unknown = AsyncLimiter::new(CostBased::new(Rate::per_day(25)), storage);
        let _ = unknown.check("warm").await.unwrap();
        let before = calls(&server);
        for hit in 0..50 {
            assert_eq!(unknown.check("bob").await.unwrap().is_allowed(), hit < 25);
        }
        assert_eq!(calls(&server) - before, 25 * 2 + 25);
    });
}

/// All of several keys are charged or none, in one call.
#[test]
fn several_keys_are_one_call() {
    async fn joint<S: Strategy<Cost = u32>>(server: &Redis, namespace: &str, strategy: S) {
        let storage = RedisStorage::url(&server.url()).unwrap().namespace(namespace).build().unwrap();
        let limiter = AsyncLimiter::new(strategy, storage);
        let left = async |key: &str| limiter.peek(key, 5).await.unwrap().outcome().is_allowed();
        let _ = limiter.check_together(["warm", "up"].each_ref(), 1).await.unwrap();
        let _ = limiter.check("warm").await.unwrap();
        let before = calls(server);
        let all = limiter.check_together(["a", "b", "c"].each_ref(), 2).await.unwrap();
        assert!(all.is_allowed() && all.is_atomic());
        assert!(limiter.check_n("b", 2).await.unwrap().outcome().is_allowed());
        let none = limiter.check_together(["a", "b", "c"].each_ref(), 2).await.unwrap();
        assert_eq!(none.verdicts.each_ref().map(|it| it.outcome().is_allowed()), [true, false, true]);
        assert_eq!(calls(server) - before, 3, "{namespace}");
        assert!(!left("a").await && left("d").await);
        // A key that is named twice is charged twice, or not at all: one after another.
        let twice = limiter.check_together(["d", "e", "d"].each_ref(), 3).await.unwrap();
        assert!(!twice.is_allowed() && !twice.is_atomic());
        assert!(left("d").await && left("e").await);
        let none: [&str; 0] = [];
        assert!(limiter.check_together(none.each_ref(), 1).await.unwrap().is_allowed());
    }
    let server = Redis::start();
    let rate = Rate::per_week(5);
    runtime().block_on(async {
        joint(&server, "window", FixedWindow::new(rate)).await;
        joint(&server, "bucket", TokenBucket::new(rate)).await;
        joint(&server, "log", HeapLog::new(rate).unwrap()).await;
        joint(&server, "two", All([TokenBucket::new(rate), TokenBucket::new(Rate::per_day(90))])).await;
    });
}

/// In a cluster those of one slot are; others are charged in turn, and refunded by receipt if a later one
/// denies.
#[test]
fn several_keys_of_a_cluster_are_all_charged_or_none() {
    let cluster = Cluster::start();
    runtime().block_on(async {
        let storage =
            RedisStorage::cluster(cluster.urls()).unwrap().timeout(Duration::from_secs(5)).build().unwrap();
        let limiter = AsyncLimiter::new(TokenBucket::new(Rate::per_week(5)), storage);
        let left = async |key: &str| limiter.peek(key, 0).await.unwrap().remaining();
        let all = limiter.check_together(["a", "b", "c"].each_ref(), 2).await.unwrap();
        assert!(all.is_allowed() && !all.is_atomic());
        assert!(limiter.check_n("c", 2).await.unwrap().is_allowed());
        let none = limiter.check_together(["a", "b", "c"].each_ref(), 2).await.unwrap();
        assert_eq!(none.verdicts.map(|it| it.is_allowed()), [true, true, false]);
        assert_eq!((left("a").await, left("b").await, left("c").await), (3, 3, 1));
        let meets =
            (0..).map(|number: u32| number.to_string()).find(|key| cluster.slot(key) == cluster.slot("a"));
        let meets = meets.unwrap();
        let all = limiter.check_together([&"a", &meets.as_str()], 2).await.unwrap();
        assert!(all.is_allowed() && all.is_atomic());
        assert_eq!((left("a").await, left(&meets).await), (1, 3));
    });
}

/// A denial by a limit of a longer period prolongs what the server keeps, so that the wait it tells is kept:
/// of a limit alone, within a pair, and by the hour.
#[test]
fn a_denial_after_a_change_of_the_period_is_kept_as_long_as_it_says() {
    async fn prolongs<S: Strategy>(namespace: &str, short: S, long: S) {
        let storage = storage(namespace);
        let name = format!("{namespace}:{{k}}");
        let left = || match SERVER.command(&["PTTL", &name]) {
            Reply::Integer(left) => u64::try_from(left).unwrap(),
            other => panic!("{other:?}"),
        };
        let before = AsyncLimiter::new(short, storage.clone());
        while before.check("k").await.unwrap().is_allowed() {}
        let after = AsyncLimiter::new(long, storage);
        let denied = after.check("k").await.unwrap();
        let mut reset = Duration::ZERO;
        denied.for_each(&mut |decision| reset = reset.max(decision.reset_after()));
        let (kept, told) = (left(), reset.as_millis() as u64);
        assert!(!denied.is_allowed(), "{namespace}");
        assert!(kept <= told + 1 && kept + 10_000 > told, "{namespace}: kept {kept} ms of {told}");
        // A state that is kept long enough is left alone.
        assert!(!after.check("k").await.unwrap().is_allowed());
        assert!(left() <= kept, "{namespace}");
    }
    runtime().block_on(async {
        let (short, long) = (rate!("5/min"), rate!("5/9d"));
        prolongs("longer-window", FixedWindow::new(short), FixedWindow::new(long)).await;
        prolongs("longer-sliding", SlidingWindow::new(short), SlidingWindow::new(long)).await;
        prolongs("longer-bucket", TokenBucket::new(short), TokenBucket::new(long)).await;
        let log = |rate| SlidingLog::<8>::new(rate).unwrap();
        prolongs("longer-log", log(short), log(long)).await;
        // More is in use than the new limit has, so it lasts longer than that does from empty to full.
        prolongs("smaller-bucket", TokenBucket::new(rate!("1000/min")), TokenBucket::new(rate!("10/d")))
            .await;
        let pair = |rate| (FixedWindow::new(rate), TokenBucket::new(rate));
        prolongs("longer-pair", pair(short), pair(long)).await;
        let hours = |rate| {
            let hours = Hours::new((9, 0), (17, 0), "1/2".parse().unwrap());
            TimeOfDay::new(FixedWindow::new(rate), [hours]).unwrap()
        };
        prolongs("longer-hours", hours(short), hours(long)).await;
        // No script knows it.
        prolongs("longer-by-swap", CostBased::new(short), CostBased::new(long)).await;
    });
}

/// Closing a storage that is not to be persistent leaves nothing of it behind.
#[test]
fn what_is_not_persistent_goes_when_it_is_closed() {
    runtime().block_on(async {
        let made = |persistent| {
            let builder = RedisStorage::url(&SERVER.url()).unwrap().namespace("brief");
            builder.persistent(persistent).build().unwrap()
        };
        for (persistent, left) in [(true, 9), (false, 10)] {
            let first = made(persistent);
            let limiter = AsyncLimiter::new(FixedWindow::new(Rate::per_week(10)), first.clone());
            assert_eq!(limiter.check("k").await.unwrap().remaining(), 9);
            first.close().await.unwrap();
            assert_eq!(limiter.check("k").await.unwrap_err().kind(), ErrorKind::Closed);
            let again = AsyncLimiter::new(FixedWindow::new(Rate::per_week(10)), made(true));
            assert_eq!(again.peek("k", 0).await.unwrap().remaining(), left);
            SERVER.command(&["DEL", "brief:{k}"]);
        }
    });
}

#[test]
fn whatever_is_no_state_counts_as_a_key_never_seen() {
    runtime().block_on(async {
        let storage = storage("corrupt");
        let bucket = AsyncLimiter::new(TokenBucket::new(Rate::per_day(10)), storage.clone());
        let window = AsyncLimiter::new(strict(Rate::per_day(10)), storage);
        let writes: [&[&str]; 4] = [
            &["SET", "corrupt:{k}", "no state at all"],
            &["SET", "corrupt:{k}", ""],
            &["RPUSH", "corrupt:{k}", "a list"],
            &["SET", "corrupt:{k}", "\u{21}aaaaaaaabbbbbbbbcccccccc"],
        ];
        for write in writes {
            for _ in 0..2 {
                SERVER.command(&["DEL", "corrupt:{k}"]);
                SERVER.command(write);
                if write[2].len() < 20 {
                    assert_eq!(bucket.check("k").await.unwrap().remaining(), 9, "{write:?}");
                } else {
                    assert!(bucket.check("k").await.is_ok(), "{write:?}");
                }
                SERVER.command(&["DEL", "corrupt:{k}"]);
                SERVER.command(write);
                assert_eq!(window.check("k").await.unwrap().remaining(), 9, "{write:?}");
            }
        }
    });
}

/// A time with nothing used at it is no state of a window: it would hold the window at that time.
#[test]
fn a_window_in_which_nothing_was_used_holds_nothing() {
    runtime().block_on(async {
        let mut bytes = vec![0x11];
        bytes.extend_from_slice(&(1u64 << 52).to_le_bytes());
        bytes.extend_from_slice(&0u32.to_le_bytes());
        SERVER.command(&[&b"SET"[..], b"future:{k}", &bytes]);
        let limiter = AsyncLimiter::new(FixedWindow::new(Rate::per_day(10)), storage("future"));
        assert_eq!(limiter.check("k").await.unwrap().remaining(), 9);
        let at = stored("future", "k").unwrap()[1..9].try_into().map(u64::from_le_bytes);
        assert!(at.unwrap() < 1 << 52, "{at:?}");
    });
}

/// Any key is safe, and no two are one.
#[test]
fn hostile_keys_are_told_apart() {
    runtime().block_on(async {
        let limiter = AsyncLimiter::new(FixedWindow::new(Rate::per_day(1)), storage("hostile"));
        let long = "x".repeat(5_000);
        let keys = ["", " ", "a", "a ", "a\r\nFLUSHALL", "{a}", "}", "a*", "%20", "\0", "é", &long];
        for key in keys {
            assert!(limiter.check(key).await.unwrap().is_allowed(), "{key:?}");
        }
        for key in keys {
            assert!(!limiter.check(key).await.unwrap().is_allowed(), "{key:?}");
        }
    });
}

#[test]
fn clear_forgets_a_namespace_and_no_other() {
    runtime().block_on(async {
        let limit = FixedWindow::new(Rate::per_day(1));
        let [one, other, longer] = ["ns", "ns2", "ns:{x"]
            .map(|name| RedisStorage::url(&SERVER.url()).unwrap().namespace(name).build());
        assert_eq!(longer.unwrap_err().kind(), ErrorKind::Invalid);
        let (one, other) = (one.unwrap(), other.unwrap());
        let (a, b) = (AsyncLimiter::new(limit, one.clone()), AsyncLimiter::new(limit, other));
        for key in 0..1_200u32 {
            assert!(a.check(&key).await.unwrap().is_allowed() && b.check(&key).await.unwrap().is_allowed());
        }
        one.clear().await.unwrap();
        for key in 0..1_200u32 {
            assert!(a.check(&key).await.unwrap().is_allowed() && !b.check(&key).await.unwrap().is_allowed());
        }
        one.close().await.unwrap();
        assert_eq!(a.check(&0u32).await.unwrap_err().kind(), ErrorKind::Closed);
    });
}

/// Nothing is left behind for ever, and nothing is forgotten too soon.
#[test]
fn every_key_lives_as_long_as_its_limit_remembers() {
    runtime().block_on(async {
        let storage = storage("ttl");
        let live = |key: &str| SERVER.command(&["PTTL".to_owned(), format!("ttl:{{{key}}}")]).integer();
        let ten = TokenBucket::new(Rate::per_second(10)).burst(100).unwrap();
        let _ = AsyncLimiter::new(ten, storage.clone()).check_n("bucket", 50).await.unwrap();
        assert!((4_000..=5_000).contains(&live("bucket")), "{}", live("bucket"));
        let _ = AsyncLimiter::new(SlidingWindow::new(Rate::per_minute(9)), storage.clone())
            .check_n("slide", 9)
            .await
            .unwrap();
        assert!((53_000..=114_000).contains(&live("slide")), "{}", live("slide"));
        let drainless = TokenBucket::new(Rate::per_second(0)).burst(5).unwrap();
        let _ = AsyncLimiter::new(drainless, storage).check("never").await.unwrap();
        assert!(live("never") > 1_000_000_000, "{}", live("never"));
    });
}

/// The checklist that every storage is held to, on the server's own clock: strategies that it knows, and one
/// it does not.
#[test]
fn redis_keeps_the_duties_of_a_storage() {
    async fn held<S: Strategy>(name: &str, strategy: S) {
        let storage = storage(name);
        laws::awaited::every(&strategy, &storage).await.unwrap();
        let plant = async |key: &[u8], bytes: &[u8]| {
            // Named as the storage does, which escapes what is no letter or digit.
            let escaped: String = key
                .iter()
                .map(|byte| match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b':' | b'_' | b'-' | b'@' | b'/' => {
                        char::from(*byte).to_string()
                    }
                    other => format!("%{other:02x}"),
                })
                .collect();
            SERVER.command(&[&b"SET"[..], format!("{name}:{{{escaped}}}").as_bytes(), bytes]);
        };
        laws::awaited::corrupt_is_never_seen(&strategy, &storage, plant).await.unwrap();
    }
    runtime().block_on(async {
        held("duty-window", FixedWindow::new(Rate::per_hour(7))).await;
        held("duty-token", TokenBucket::new(Rate::per_hour(9))).await;
        held("duty-gcra", Gcra::new(Rate::per_hour(9)).burst(5).unwrap()).await;
        held("duty-sliding", SlidingWindow::new(Rate::per_hour(5))).await;
        held("duty-rollover", QuotaRollover::new(Rate::per_hour(5))).await;
        held("duty-pair", (TokenBucket::new(Rate::per_hour(9)), FixedWindow::new(Rate::per_day(7)))).await;
        held("duty-strict", strict(Rate::per_hour(3))).await;
    });
}

/// Many at once, from four connections, on the server's own clock: exactly the limit.
#[test]
fn a_hot_key_admits_exactly_the_limit() {
    fn hot<S: Strategy<Cost = u32>>(key: &'static str, strategy: S, expected: usize) {
        assert_eq!(admitted_of_a_hot_key((key, 40), strategy, || storage("hot")), expected, "{key}");
    }
    hot("window", FixedWindow::new(Rate::per_week(700)), 700);
    hot("bucket", TokenBucket::new(Rate::per_week(500)), 500);
    hot("gcra", Gcra::new(Rate::per_week(1)).burst(300).unwrap(), 300);
    hot("several", All([TokenBucket::new(Rate::per_week(600)), TokenBucket::new(Rate::per_week(400))]), 400);
}

#[test]
fn bad_input_is_refused_with_what_would_be_right() {
    assert!(RedisStorage::url("http://127.0.0.1").is_err());
    let refused = |storage: Result<RedisStorage, traffik::storage::BackendError>| {
        let mut text = String::new();
        write!(text, "{}", storage.unwrap_err()).unwrap();
        text
    };
    let url = || RedisStorage::url(&SERVER.url()).unwrap();
    assert!(refused(url().namespace("a b").build()).contains("letters, digits"));
    assert!(refused(url().timeout(Duration::ZERO).build()).contains("500 ms"));
}
