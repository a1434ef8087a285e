//! Memcached decides as the pure function does, on a real server: random sequences of hits, with clocks that
//! step back, limits that change, and bytes that were damaged.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use traffik::runtime::Tokio;
use traffik::strategy::{Erased, ErasedStrategy};
use traffik::{
    All, FixedWindow, Gcra, HeapLog, Label, LeakyBucket, LeakyBucketQueue, MemcachedStorage, Priority, Rate,
    Ratio, Strategy, Tiered, TokenBucket,
};
use traffik_test_support::agree::{Compared, SEQUENCES, Shared, Tested, by_hour, other, rate};
use traffik_test_support::servers::Memcached;

static SERVER: LazyLock<Memcached> = LazyLock::new(Memcached::start);

fn agrees_in<S: Strategy<Cost = u32>>(name: &str, how: (u32, Compared), limits: impl Fn(u32, u64) -> [S; 2]) {
    let clock = Shared::default();
    let storage = MemcachedStorage::servers(Tokio, [SERVER.address().to_string()]).namespace(name);
    let storage = &storage.clock(clock.clone()).timeout(Duration::from_secs(5)).build().unwrap();
    let item = |key: &str| format!("{name}:{{{key}}}");
    let put = |key: &str, bytes: Option<&[u8]>| match bytes {
        Some(bytes) => SERVER.set(&item(key), bytes),
        None => drop(SERVER.command(&format!("delete {}", item(key)))),
    };
    let stored = |key: &str| SERVER.get(&item(key));
    traffik_test_support::agree::agrees(
        Tested { storage, clock: &clock, stored: &stored, put: &put },
        how,
        limits,
    );
}

fn agrees<S: Strategy<Cost = u32>>(name: &str, limits: impl Fn(u32, u64) -> [S; 2]) {
    agrees_in(name, (SEQUENCES / 20, Compared::Bytes), limits);
}

/// A period that the server counts for, and one that it does not.
fn whole(limit: u32, period: u64) -> Rate {
    rate(limit, if period.is_multiple_of(5) { period } else { 1_000_000 * (1 + period % 20) })
}

/// Limits that are counted: the client gets the same answers, from several limits, in every class.
#[test]
fn windows_agree() {
    let how = (SEQUENCES / 10, Compared::Figures);
    let window = |rate: Rate| FixedWindow::new(rate);
    let anchored = |rate: Rate| FixedWindow::new(rate).anchor(Duration::from_micros(777_777));
    agrees_in("anchored", how, |l, p| [anchored(whole(l, p)), anchored(whole(l + 3, p))]);
    let tiered = |rate: Rate| {
        Tiered::new(window(rate), [(Label(1), Ratio::new(1, 2).unwrap()), (Label(0), Ratio::ONE)]).unwrap()
    };
    agrees_in("tiered", how, |l, p| [tiered(whole(l, p)), tiered(whole(l + 3, p))]);
    let hours = |rate: Rate| by_hour(window(rate));
    agrees_in("hours", (how.0, Compared::Forward), |l, p| [hours(whole(l, p)), hours(whole(l + 3, p))]);
    let reserved = |rate: Rate| Priority::new(window(rate), [(Label(1), Ratio::new(1, 4).unwrap())]).unwrap();
    agrees_in("priority", how, |l, p| [reserved(whole(l + 4, p)), reserved(whole(l + 7, p))]);
    type Chosen = Erased<Arc<dyn ErasedStrategy<64>>, 64>;
    let chosen = |rate: Rate| -> All<Chosen, 3> {
        All([
            Erased::new(Arc::new(TokenBucket::new(Rate::UNLIMITED))),
            Erased::new(Arc::new(window(rate))),
            Erased::new(Arc::new(window(Rate::UNLIMITED))),
        ])
    };
    agrees_in("chosen", how, |l, p| [chosen(whole(l, p)), chosen(whole(l + 3, p))]);
}

/// When in its window the last hit was is not noted, so with another period it counts if it can have been in
/// the new window.
#[test]
fn another_period_admits_nothing_more() {
    let how = (SEQUENCES / 10, Compared::Bound);
    let window = |rate: Rate| FixedWindow::new(rate);
    agrees_in("periods", how, |l, p| [window(whole(l, p)), window(whole(l + 3, p / 7 + 1))]);
}

/// Fixed windows are counted, see above; all others are kept as bytes.
#[test]
fn every_strategy_agrees() {
    macro_rules! each {
        ($name:ident, $spelling:literal, $kind:ident, $make:expr) => {
            let make: fn(Rate) -> Option<_> = $make;
            let (name, made) = (concat!("every-", stringify!($name)), |rate| make(rate).unwrap());
            if name == "every-fixed_window" {
                let how = (SEQUENCES / 10, Compared::Figures);
                agrees_in(name, how, |l, p| [made(whole(l, p)), made(whole(l + 3, p))]);
            } else {
                agrees(name, |l, p| [made(rate(l, p)), made(other(l, p))]);
            }
        };
    }
    traffik::every_strategy!(each);
}

#[test]
fn strategies_with_parameters_agree() {
    let bucket = |rate: Rate| TokenBucket::new(rate).burst(7).unwrap().debt(2).unwrap();
    agrees("token", |l, p| [bucket(rate(l, p)), bucket(other(l, p))]);
    let leaky = |rate: Rate| LeakyBucket::new(rate).capacity(3).unwrap();
    agrees("leaky", |l, p| [leaky(rate(l, p)), leaky(other(l, p))]);
    let queue = |rate: Rate| LeakyBucketQueue::new(rate).queue(4).unwrap();
    agrees("queue", |l, p| [queue(rate(l, p)), queue(other(l, p))]);
    let gcra = |rate: Rate| Gcra::new(rate).tolerance(Duration::from_micros(123_457)).unwrap();
    agrees("gcra-tolerance", |l, p| [gcra(rate(l, p)), gcra(other(l, p))]);
    agrees("hour-bucket", |l, p| [by_hour(bucket(rate(l, p))), by_hour(bucket(other(l, p)))]);
    let several = |rate: Rate| All([Gcra::new(rate), Gcra::new(rate.scaled(Ratio::new(3, 1).unwrap()))]);
    agrees("several", |l, p| [several(rate(l, p)), several(other(l, p))]);
    agrees("heap", |l, p| [HeapLog::new(rate(l, p)).unwrap(), HeapLog::new(other(l, p)).unwrap()]);
}
