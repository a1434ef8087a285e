//! Redis decides as the pure function does, on real servers.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

mod servers;

use std::fmt::Write;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use proptest::prelude::*;
use proptest::strategy::Strategy as Generator;
use proptest::test_runner::{Config, TestRunner};
use servers::{Redis, Reply};
use tokio::runtime::Runtime;
use traffik::laws;
use traffik::storage::{AsyncStorage, ErrorKind};
use traffik::strategy::{ErasedStrategy, Single, State, decode, encode};
use traffik::{
    Adaptive, All, AsyncLimiter, Class, Clock, FixedWindow, Gcra, Hit, Label, LeakyBucket, LeakyBucketQueue,
    ManualClock, Op, Priority, QuotaRollover, Rate, Ratio, RedisStorage, SlidingWindow, Strategy,
    StrictWindow, Tiered, Timestamp, TokenBucket, Verdict,
};

static SERVER: LazyLock<Redis> = LazyLock::new(Redis::start);

const START: u64 = 1_800_000_000_000_000;

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn storage(namespace: &str) -> RedisStorage {
    RedisStorage::url(&SERVER.url()).unwrap().namespace(namespace).build().unwrap()
}

/// What the server holds for a key that needs no escaping.
fn stored(namespace: &str, key: &str) -> Option<Vec<u8>> {
    match SERVER.command(&["GET".to_owned(), format!("{namespace}:{{{key}}}")]) {
        Reply::Bulk(bytes) => Some(bytes),
        _ => None,
    }
}

fn bytes_of<T: State>(state: &T) -> Vec<u8> {
    let mut bytes = vec![0; T::MAX_LEN];
    let length = encode(state, &mut bytes).unwrap();
    bytes.truncate(length);
    bytes
}

/// The clock of a test, shared with its storage.
#[derive(Clone)]
struct Shared(Arc<ManualClock>);

impl Clock for Shared {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

/// A step of a run: microseconds until it, back if negative, and half periods; its cost; whether it is of the low class;
/// and what happens before it to the bytes that are stored, if something does.
type Step = ((i64, u64), u32, bool, Option<(usize, u8)>);

/// Other bytes: one changed, some cut off, or one more.
fn damaged(mut bytes: Vec<u8>, (at, change): (usize, u8)) -> Vec<u8> {
    match change % 4 {
        0 => bytes.truncate(at % (bytes.len() + 1)),
        1 => bytes.push(change),
        _ if bytes.is_empty() => {}
        _ => {
            let at = at % bytes.len();
            bytes[at] ^= change;
        }
    }
    bytes
}

fn class(low: bool) -> Class {
    let mut class = Class::default();
    class.tier = Label(u32::from(low));
    class.priority = Label(u32::from(low));
    class
}

/// Runs each sequence on the server and through the pure function: all they say and leave behind is the same.
fn agrees<S: Strategy<Cost = u32>>(name: &str, sequences: u32, limits: impl Fn(u32, u64) -> [S; 2]) {
    let runtime = runtime();
    let clock = Shared(Arc::new(ManualClock::default()));
    let storage = RedisStorage::url(&SERVER.url()).unwrap();
    let storage = storage.namespace(name).clock(clock.clone()).build().unwrap();
    let gap = prop_oneof![
        4 => Just((0, 0)),
        8 => Generator::prop_map(0..2_000_000i64, |gap| (gap, 0)),
        4 => (-1..2i64, 1..5u64),
        1 => Generator::prop_map(-3_000_000..0i64, |gap| (gap, 0)),
        1 => Generator::prop_map(0..1i64 << 40, |gap| (gap, 0)),
    ];
    let cost = prop_oneof![8 => 1..4u32, 1 => Just(0), 1 => 0..40u32, 1 => Just(u32::MAX)];
    let damage = prop::option::weighted(0.05, (any::<usize>(), any::<u8>()));
    let steps = prop::collection::vec((gap, cost, any::<bool>(), damage), 1..12);
    let run = (1..30u32, 1..20_000_000u64, steps);
    let number = std::cell::Cell::new(0);
    let mut runner =
        TestRunner::new(Config { cases: sequences, failure_persistence: None, ..Config::default() });
    let ran = runner.run(&run, |(limit, period, steps): (u32, u64, Vec<Step>)| {
        number.set(number.get() + 1);
        let key = format!("k{}", number.get());
        // Half of the runs begin with a window.
        let (mut state, mut now) = (S::State::default(), START - START % period * (period % 2));
        let (mut kept, limits) = (None::<Vec<u8>>, limits(limit, period));
        for (at, ((gap, halves), cost, low, damage)) in steps.into_iter().enumerate() {
            now = (now + halves * period / 2).saturating_add_signed(gap);
            clock.0.set(Timestamp::from_micros(now));
            if let (Some(damage), Some(bytes)) = (damage, &kept) {
                let bytes = damaged(bytes.clone(), damage);
                let name = format!("{name}:{{{key}}}").into_bytes();
                SERVER.command(&[&b"SET"[..], &name, &bytes]);
                state = decode(&bytes).unwrap_or_default();
                kept = Some(bytes);
            }
            // The limit changes half-way, to another of the same kind.
            let limit = &limits[at / 6 % 2];
            let op = Op::Check(Hit::new(cost).with_class(class(low)));
            let told = runtime.block_on(AsyncStorage::apply(&storage, limit, &key.as_str(), &op)).unwrap();
            let (expected, writes) = op.apply(limit, &mut state, Timestamp::from_micros(now));
            if writes {
                kept = Some(bytes_of(&state));
            }
            prop_assert_eq!(told, expected, "step {} of {}", at, key);
            prop_assert_eq!(&stored(name, &key), &kept, "step {} of {}", at, key);
        }
        Ok(())
    });
    assert!(ran.is_ok(), "{name}: {}", ran.unwrap_err());
}

fn rate(limit: u32, period: u64) -> Rate {
    Rate::new(limit, Duration::from_micros(period)).unwrap()
}

fn other(limit: u32, period: u64) -> Rate {
    rate(limit + 3, period / 2 + 1)
}

/// Sequences in all: each of the built-in strategies has a share.
const SEQUENCES: u32 = 5_000;

#[test]
fn windows_agree() {
    let anchor = |rate: Rate| FixedWindow::new(rate).anchor(Duration::from_micros(777));
    agrees("fixed", SEQUENCES / 10, |l, p| [FixedWindow::new(rate(l, p)), FixedWindow::new(other(l, p))]);
    agrees("anchored", SEQUENCES / 10, |l, p| [anchor(rate(l, p)), anchor(other(l, p))]);
}

#[test]
fn buckets_agree() {
    let bucket = |rate: Rate| TokenBucket::new(rate).burst(7).unwrap().debt(2).unwrap();
    agrees("token", SEQUENCES / 10, |l, p| [bucket(rate(l, p)), bucket(other(l, p))]);
    let leaky = |rate: Rate| LeakyBucket::new(rate).capacity(3).unwrap();
    agrees("leaky", SEQUENCES / 10, |l, p| [leaky(rate(l, p)), leaky(other(l, p))]);
    let queue = |rate: Rate| LeakyBucketQueue::new(rate).queue(4).unwrap();
    agrees("queue", SEQUENCES / 10, |l, p| [queue(rate(l, p)), queue(other(l, p))]);
    let gcra = |rate: Rate| Gcra::new(rate).tolerance(Duration::from_micros(123_457)).unwrap();
    agrees("gcra", SEQUENCES / 10, |l, p| [gcra(rate(l, p)), gcra(other(l, p))]);
}

#[test]
fn wrappers_and_composites_agree() {
    let half =
        |rate: Rate| Tiered::new(TokenBucket::new(rate), [(Label(1), Ratio::new(1, 2).unwrap())]).unwrap();
    agrees("tiered", SEQUENCES / 10, |l, p| [half(rate(l, p)), half(other(l, p))]);
    let reserved = |rate: Rate| {
        let quarter = Ratio::new(1, 4).unwrap();
        Priority::new(FixedWindow::new(rate), [(Label(1), quarter)]).unwrap()
    };
    agrees("priority", SEQUENCES / 10, |l, p| [reserved(rate(l + 4, p)), reserved(other(l + 4, p))]);
    let several = |rate: Rate| All([Gcra::new(rate), Gcra::new(rate.scaled(Ratio::new(3, 1).unwrap()))]);
    agrees("several", SEQUENCES / 10, |l, p| [several(rate(l, p)), several(other(l, p))]);
}

/// As the gateway has them: chosen at run time, and the unused ones unlimited.
#[test]
fn limits_chosen_at_run_time_agree() {
    type Chosen = Single<Arc<dyn ErasedStrategy<64>>, 64>;
    let chosen = |rate: Rate| -> All<Chosen, 3> {
        All([
            Single::new(Arc::new(TokenBucket::new(rate))),
            Single::new(Arc::new(FixedWindow::new(rate.scaled(Ratio::new(2, 1).unwrap())))),
            Single::new(Arc::new(FixedWindow::new(Rate::UNLIMITED))),
        ])
    };
    agrees("chosen", SEQUENCES / 10, |l, p| [chosen(rate(l, p)), chosen(other(l, p))]);
    // What another strategy left behind counts as a key never seen, and stays where nothing is booked over it.
    let changed = |rate: Rate| -> All<Chosen, 2> {
        All([Single::new(Arc::new(TokenBucket::new(rate))), Single::new(Arc::new(FixedWindow::new(rate)))])
    };
    let changes = |rate: Rate| -> All<Chosen, 2> {
        All([
            Single::new(Arc::new(FixedWindow::new(rate))),
            Single::new(Arc::new(FixedWindow::new(Rate::UNLIMITED))),
        ])
    };
    agrees("changed", SEQUENCES / 10, |l, p| [changed(rate(l, p)), changes(other(l, p))]);
}

/// Two limits that count in different ways, at different costs.
#[test]
fn a_pair_agrees() {
    let runtime = runtime();
    let clock = Shared(Arc::new(ManualClock::new(Timestamp::from_micros(START))));
    let storage =
        RedisStorage::url(&SERVER.url()).unwrap().namespace("pair").clock(clock.clone()).build().unwrap();
    let limit = (TokenBucket::new(Rate::per_second(5)), FixedWindow::new(Rate::per_minute(1_000)));
    let limiter = AsyncLimiter::new(limit, storage);
    let mut state = Default::default();
    for step in 0..SEQUENCES / 10 {
        clock.0.advance(Duration::from_millis(u64::from(step * 37 % 400)));
        let cost = (step % 3, step * 29 % 200);
        let told = runtime.block_on(limiter.check_n("pair", cost)).unwrap();
        assert_eq!(told, limit.decide(&mut state, &Hit::new(cost), clock.now()));
        let expected = (state != Default::default()).then(|| bytes_of(&state));
        assert_eq!(stored("pair", "pair"), expected);
    }
}

/// One that the server does not know.
fn strict(rate: Rate) -> StrictWindow<10> {
    SlidingWindow::strict(rate)
}

#[test]
fn counts_of_two_windows_agree() {
    agrees("sliding", SEQUENCES / 10, |l, p| {
        [SlidingWindow::new(rate(l, p)), SlidingWindow::new(other(l, p))]
    });
    let rollover =
        |rate: Rate| QuotaRollover::new(rate).share(Ratio::new(2, 3).unwrap()).unwrap().max_rollover(9);
    agrees("rollover", SEQUENCES / 10, |l, p| [rollover(rate(l, p)), rollover(other(l, p))]);
}

/// Strategies that the server does not know run through load and swap.
#[test]
fn other_strategies_agree() {
    let long = |period: u64| period + 100;
    agrees("strict", 150, |l, p| [strict(rate(l, long(p))), strict(other(l, long(p)))]);
    agrees("adaptive", 150, |l, p| [Adaptive::new(rate(l, p)), Adaptive::new(other(l, p))]);
    // Numbers that no double holds.
    let wide = |rate: Rate| TokenBucket::new(rate).burst(4_000_000).unwrap();
    agrees("wide", 150, |l, _| [wide(rate(l, 30_000_000_001)), wide(rate(l, 29_999_999_999))]);
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

/// One call per check of what the server knows, also of several limits as one; at most two of anything else.
#[test]
fn a_check_is_one_call() {
    let server = Redis::start();
    let storage = RedisStorage::url(&server.url()).unwrap().build().unwrap();
    let calls = || {
        let count = |name: &str| {
            let line = server.info(&format!("cmdstat_{name}")).unwrap_or_default();
            let calls = line.split(['=', ',']).nth(1).unwrap_or("0").parse::<u64>();
            calls.unwrap()
        };
        count("evalsha") + count("eval")
    };
    runtime().block_on(async {
        storage.ready().await.unwrap();
        let both = (TokenBucket::new(Rate::per_second(1_000)), FixedWindow::new(Rate::per_day(1_000)));
        let known = AsyncLimiter::new(both, storage.clone());
        let _ = known.check("warm").await.unwrap();
        let before = calls();
        for _ in 0..50 {
            assert!(known.check("ann").await.unwrap().is_allowed());
        }
        assert_eq!(calls() - before, 50);
        let unknown = AsyncLimiter::new(strict(Rate::per_day(25)), storage);
        let _ = unknown.check("warm").await.unwrap();
        let before = calls();
        for hit in 0..50 {
            assert_eq!(unknown.check("bob").await.unwrap().is_allowed(), hit < 25);
        }
        // A denial writes nothing.
        assert_eq!(calls() - before, 25 * 2 + 25);
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
        one.close();
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
            .check("slide")
            .await
            .unwrap();
        assert!((60_000..=120_000).contains(&live("slide")), "{}", live("slide"));
        let drainless = TokenBucket::new(Rate::per_second(0)).burst(5).unwrap();
        let _ = AsyncLimiter::new(drainless, storage).check("never").await.unwrap();
        assert!(live("never") > 1_000_000_000, "{}", live("never"));
    });
}

/// The checklist that every storage is held to, on the server's own clock: strategies that it knows, and one it does not.
#[test]
fn redis_keeps_the_duties_of_a_storage() {
    async fn held<S: Strategy>(name: &str, limit: S) {
        let storage = storage(name);
        laws::awaited::every(&limit, &storage).await.unwrap();
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
        laws::awaited::corrupt_is_never_seen(&limit, &storage, plant).await.unwrap();
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
    fn hot<S: Strategy<Cost = u32>>(key: &'static str, limit: S, expected: usize) {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let admitted = runtime.block_on(async {
            let mut tasks = Vec::new();
            for _ in 0..4 {
                let limiter = Arc::new(AsyncLimiter::new(limit.clone(), storage("hot")));
                for _ in 0..8 {
                    let limiter = limiter.clone();
                    tasks.push(tokio::spawn(async move {
                        let mut admitted = 0;
                        for _ in 0..40 {
                            admitted += usize::from(limiter.check(key).await.unwrap().outcome().is_allowed());
                        }
                        admitted
                    }));
                }
            }
            let mut admitted = 0;
            for task in tasks {
                admitted += task.await.unwrap();
            }
            admitted
        });
        assert_eq!(admitted, expected, "{key}");
    }
    hot("window", FixedWindow::new(Rate::per_week(700)), 700);
    hot("bucket", TokenBucket::new(Rate::per_week(500)), 500);
    hot("gcra", Gcra::new(Rate::per_week(1)).burst(300).unwrap(), 300);
    hot("several", All([TokenBucket::new(Rate::per_week(600)), TokenBucket::new(Rate::per_week(400))]), 400);
}

#[test]
fn bad_input_is_refused_with_what_would_be_right() {
    assert!(RedisStorage::url("http://127.0.0.1").is_err());
    let refused = |storage: Result<RedisStorage, traffik::storage::Failure>| {
        let mut text = String::new();
        write!(text, "{}", storage.unwrap_err()).unwrap();
        text
    };
    let url = || RedisStorage::url(&SERVER.url()).unwrap();
    assert!(refused(url().namespace("a b").build()).contains("letters, digits"));
    assert!(refused(url().timeout(Duration::ZERO).build()).contains("500 ms"));
}
