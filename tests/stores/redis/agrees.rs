//! Redis decides as the pure function does, on a real server: random sequences of hits, with clocks that step
//! back, limits that change, and bytes that were damaged.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use traffik::strategy::{Erased, ErasedScale, ErasedStrategy, decode};
use traffik::{
    All, AsyncLimiter, Clock, FixedWindow, Gcra, HeapLog, Hit, Label, LeakyBucket, LeakyBucketQueue,
    ManualClock, Priority, QuotaRollover, Rate, Ratio, RedisStorage, SlidingLog, SlidingWindow, Strategy,
    StrictWindow, Tiered, Timestamp, TokenBucket,
};
use traffik_test_support::agree::{
    Compared, SEQUENCES, START, Shared, Tested, by_hour, bytes_of, other, rate, runtime,
};
use traffik_test_support::servers::{Redis, Reply};

static SERVER: LazyLock<Redis> = LazyLock::new(Redis::start);

/// For how long an answer is waited for: what is said in it is tried here, and not when.
const PATIENCE: Duration = Duration::from_secs(20);

/// The bytes on the server for a key that needs no escaping.
fn stored(namespace: &str, key: &str) -> Option<Vec<u8>> {
    match SERVER.command(&["GET".to_owned(), format!("{namespace}:{{{key}}}")]) {
        Reply::Bulk(bytes) => Some(bytes),
        _ => None,
    }
}

/// Runs each sequence on the server and through the pure function.
fn agrees<S: Strategy<Cost = u32>>(name: &str, sequences: u32, limits: impl Fn(u32, u64) -> [S; 2]) {
    agrees_in(name, (sequences, Compared::Bytes), limits);
}

/// The same for states that can be written in several ways: the script leaves a log's entries where they are.
fn agrees_as_states<S: Strategy<Cost = u32>>(
    name: &str,
    sequences: u32,
    limits: impl Fn(u32, u64) -> [S; 2],
) {
    agrees_in(name, (sequences, Compared::States), limits);
}

fn agrees_in<S: Strategy<Cost = u32>>(name: &str, how: (u32, Compared), limits: impl Fn(u32, u64) -> [S; 2]) {
    let clock = Shared::default();
    let storage = RedisStorage::url(&SERVER.url()).unwrap();
    let storage = &storage.namespace(name).clock(clock.clone()).timeout(PATIENCE).build().unwrap();
    let put = |key: &str, bytes: Option<&[u8]>| {
        let name = format!("{name}:{{{key}}}").into_bytes();
        SERVER.command(&[&b"SET"[..], &name, bytes.unwrap_or_default()]);
    };
    let tested = Tested { storage, clock: &clock, stored: &|key| stored(name, key), put: &put };
    traffik_test_support::agree::agrees(tested, how, limits);
}

#[test]
fn every_strategy_agrees() {
    macro_rules! each {
        ($name:ident, $spelling:literal, $kind:ident, $make:expr) => {
            let make: fn(Rate) -> Option<_> = $make;
            let name = concat!("every-", stringify!($name));
            // The script leaves a log's entries where they are.
            let compared = if name.contains("log") { Compared::States } else { Compared::Bytes };
            agrees_in(name, (SEQUENCES / 10, compared), |l, p| {
                [rate(l, p), other(l, p)].map(|it| make(it).unwrap())
            });
        };
    }
    traffik::every_strategy!(each);
}

#[test]
fn windows_agree() {
    let anchor = |rate: Rate| FixedWindow::new(rate).anchor(Duration::from_micros(777));
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
    type Chosen = Erased<Arc<dyn ErasedStrategy<64>>, 64>;
    let chosen = |rate: Rate| -> All<Chosen, 3> {
        All([
            Erased::new(Arc::new(TokenBucket::new(rate))),
            Erased::new(Arc::new(FixedWindow::new(rate.scaled(Ratio::new(2, 1).unwrap())))),
            Erased::new(Arc::new(FixedWindow::new(Rate::UNLIMITED))),
        ])
    };
    agrees("chosen", SEQUENCES / 10, |l, p| [chosen(rate(l, p)), chosen(other(l, p))]);
    // The state of another strategy counts as a key never seen, and stays unless a charge overwrites it.
    let changed = |rate: Rate| -> All<Chosen, 2> {
        All([Erased::new(Arc::new(TokenBucket::new(rate))), Erased::new(Arc::new(FixedWindow::new(rate)))])
    };
    let changes = |rate: Rate| -> All<Chosen, 2> {
        All([
            Erased::new(Arc::new(FixedWindow::new(rate))),
            Erased::new(Arc::new(FixedWindow::new(Rate::UNLIMITED))),
        ])
    };
    agrees("changed", SEQUENCES / 10, |l, p| [changed(rate(l, p)), changes(other(l, p))]);
}

/// Two limits that count in different ways, at different costs.
#[test]
fn a_pair_agrees() {
    let runtime = runtime();
    let clock = Shared(Arc::new(ManualClock::new(Timestamp::from_micros(START))));
    let storage = RedisStorage::url(&SERVER.url())
        .unwrap()
        .namespace("pair")
        .clock(clock.clone())
        .timeout(PATIENCE)
        .build()
        .unwrap();
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

fn strict(rate: Rate) -> StrictWindow<10> {
    SlidingWindow::strict(rate)
}

#[test]
fn strict_windows_agree() {
    let few = |rate: Rate, buckets: u64| strict(rate).buckets(1 + (buckets % 10) as u32).unwrap();
    agrees("buckets", SEQUENCES / 10, |l, p| [few(rate(l, p), p), few(rate(l, p), p / 7)]);
}

#[test]
fn logs_agree() {
    agrees_as_states("log", SEQUENCES / 10, |l, p| {
        [SlidingLog::<40>::new(rate(l, p)).unwrap(), SlidingLog::new(other(l, p)).unwrap()]
    });
    agrees_as_states("heap", SEQUENCES / 10, |l, p| {
        [HeapLog::new(rate(l, p)).unwrap(), HeapLog::new(other(l, p)).unwrap()]
    });
    let both = |rate: Rate| {
        let other = rate.scaled(Ratio::new(3, 1).unwrap());
        All([SlidingLog::<128>::new(rate).unwrap(), SlidingLog::new(other).unwrap()])
    };
    agrees_as_states("logs", SEQUENCES / 10, |l, p| [both(rate(l, p)), both(other(l, p))]);
    let reserved = |rate: Rate| {
        let quarter = Ratio::new(1, 4).unwrap();
        Priority::new(HeapLog::new(rate).unwrap(), [(Label(1), quarter)]).unwrap()
    };
    agrees_as_states("log-priority", SEQUENCES / 20, |l, p| {
        [reserved(rate(l + 4, p)), reserved(other(l + 4, p))]
    });
}

/// Long runs of one log: its ring goes round, grows, and is halved for what has to go.
#[test]
fn a_long_log_agrees() {
    let runtime = runtime();
    let clock = Shared(Arc::new(ManualClock::new(Timestamp::from_micros(START))));
    let storage = RedisStorage::url(&SERVER.url())
        .unwrap()
        .namespace("long")
        .clock(clock.clone())
        .timeout(PATIENCE)
        .build()
        .unwrap();
    let limiter = AsyncLimiter::new(HeapLog::new(Rate::per_second(300)).unwrap(), storage);
    let mut state = Default::default();
    for step in 0..3_000u64 {
        clock.0.advance(Duration::from_micros(step * 7_919 % 9_000));
        let cost = (step * 31 % 97 / 32 + step / 700 % 2 * 40) as u32;
        let told = runtime.block_on(limiter.check_n("log", cost)).unwrap();
        assert_eq!(told, limiter.strategy().decide(&mut state, &Hit::new(cost), clock.now()), "step {step}");
    }
    let left = decode(&stored("long", "log").unwrap());
    assert_eq!(left, Ok(state));
}

#[test]
fn hours_agree() {
    let window = |rate: Rate| by_hour(FixedWindow::new(rate));
    agrees("hour-window", SEQUENCES / 10, |l, p| [window(rate(l, p)), window(other(l, p))]);
    let bucket = |rate: Rate| by_hour(TokenBucket::new(rate).burst(9).unwrap());
    agrees("hour-bucket", SEQUENCES / 10, |l, p| [bucket(rate(l, p)), bucket(other(l, p))]);
    let slow = |rate: Rate| by_hour(Gcra::new(rate).burst(5).unwrap());
    agrees("hour-gcra", SEQUENCES / 10, |l, p| [slow(rate(l, p * 4_000)), slow(other(l, p * 4_000))]);
    let sliding = |rate: Rate| by_hour(SlidingWindow::new(rate));
    agrees("hour-sliding", SEQUENCES / 20, |l, p| [sliding(rate(l, p)), sliding(other(l, p))]);
    let rollover = |rate: Rate| by_hour(QuotaRollover::new(rate));
    agrees("hour-rollover", SEQUENCES / 20, |l, p| [rollover(rate(l, p)), rollover(other(l, p))]);
    let buckets = |rate: Rate| by_hour(strict(rate));
    agrees("hour-strict", SEQUENCES / 20, |l, p| [buckets(rate(l, p)), buckets(other(l, p))]);
    let log = |rate: Rate| by_hour(HeapLog::new(rate).unwrap());
    agrees_as_states("hour-log", SEQUENCES / 20, |l, p| [log(rate(l, p)), log(other(l, p))]);
}

/// One in the other, as the gateway has them.
#[test]
fn wrappers_chosen_at_run_time_agree() {
    type Innermost = Erased<Arc<dyn ErasedScale<64>>, 64>;
    type Inner = Erased<Arc<dyn ErasedScale<80>>, 80>;
    type Outer = Erased<Arc<dyn ErasedStrategy<96>>, 96>;
    let innermost = |limit: Arc<dyn ErasedScale<64>>| -> Innermost { Erased::new(limit) };
    let tiered = |rate: Rate| -> Outer {
        let half = Ratio::new(1, 2).unwrap();
        let tiers = Tiered::new(innermost(Arc::new(Gcra::new(rate))), [(Label(1), half)]).unwrap();
        let inner: Inner = Erased::new(Arc::new(tiers));
        Erased::new(Arc::new(inner))
    };
    agrees("nested-tiers", SEQUENCES / 10, |l, p| [All([tiered(rate(l, p))]), All([tiered(other(l, p))])]);
    let hours = |rate: Rate| -> Outer {
        let inner: Inner = Erased::new(Arc::new(by_hour(innermost(Arc::new(TokenBucket::new(rate))))));
        let quarter = Ratio::new(1, 4).unwrap();
        Erased::new(Arc::new(Priority::new(inner, [(Label(1), quarter)]).unwrap()))
    };
    agrees("nested-hours", SEQUENCES / 10, |l, p| {
        [
            All([hours(rate(l + 9, p)), hours(rate(l + 14, p))]),
            All([hours(other(l + 9, p)), hours(rate(l + 9, p))]),
        ]
    });
    let unlimited = |rate: Rate| by_hour(innermost(Arc::new(TokenBucket::new(rate))));
    agrees("hours-of-inline", SEQUENCES / 20, |l, p| [unlimited(rate(l, p)), unlimited(Rate::UNLIMITED)]);
}

#[test]
fn a_rollover_agrees() {
    let rollover =
        |rate: Rate| QuotaRollover::new(rate).share(Ratio::new(2, 3).unwrap()).unwrap().max_rollover(9);
    agrees("rollover", SEQUENCES / 10, |l, p| [rollover(rate(l, p)), rollover(other(l, p))]);
}

/// Numbers that no double holds run through load and swap.
#[test]
fn numbers_too_wide_for_the_server_agree() {
    let wide = |rate: Rate| TokenBucket::new(rate).burst(4_000_000).unwrap();
    agrees("wide", 150, |l, _| [wide(rate(l, 30_000_000_001)), wide(rate(l, 29_999_999_999))]);
}
