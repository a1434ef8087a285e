//! Memcached decides as the pure function does, on real servers.

mod agrees;
mod client;
mod clocks;
pub(crate) mod connections;
mod duties;
mod faults;
mod golden;
mod items;
mod lists;
mod locks;
mod nodes;

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures_util::future::join_all;
use traffik::runtime::Tokio;
use traffik::storage::ErrorKind;
use traffik::strategy::{Erased, ErasedStrategy};
use traffik::{
    Adaptive, All, AsyncLimiter, Clock, FixedWindow, Gcra, HeapLog, Hours, Label, MemcachedStorage,
    QuotaRollover, Rate, Ratio, SlidingWindow, Strategy, StrictWindow, SystemClock, Tiered, TimeOfDay,
    Timestamp, TokenBucket, Verdict,
};
use traffik_test_support::limited::admitted_of_a_hot_key;
use traffik_test_support::servers::Memcached;

static SERVER: LazyLock<Memcached> = LazyLock::new(Memcached::start);

type Storage = MemcachedStorage<Tokio>;

fn run<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(test)
}

fn at(servers: &[&Memcached], namespace: &str) -> Storage {
    let addresses = servers.iter().map(|server| server.address().to_string());
    let storage = MemcachedStorage::servers(Tokio, addresses).namespace(namespace);
    storage.timeout(Duration::from_secs(5)).build().unwrap()
}

fn storage(namespace: &str) -> Storage {
    at(&[&SERVER], namespace)
}

fn strict(rate: Rate) -> StrictWindow<10> {
    SlidingWindow::strict(rate)
}

/// A number among the server's statistics.
fn count(server: &Memcached, names: &[&str]) -> u64 {
    let stats = server.command("stats");
    let of = |name: &&str| {
        let line = stats.lines().find_map(|line| line.strip_prefix(&format!("STAT {name} ")));
        line.unwrap().parse::<u64>().unwrap()
    };
    names.iter().map(of).sum()
}

/// The same, over a connection that is there.
fn count_over(mut stream: &TcpStream, name: &str) -> u64 {
    stream.write_all(b"stats\r\n").unwrap();
    let lines = BufReader::new(stream).lines().map(Result::unwrap).take_while(|line| line != "END");
    let lines: Vec<_> = lines.collect();
    let told = lines.iter().find_map(|line| line.strip_prefix(&format!("STAT {name} ")));
    told.unwrap().parse().unwrap()
}

fn counted(server: &Memcached) -> u64 {
    // The call that creates the item is no hit.
    count(server, &["decr_hits", "total_items"])
}

fn others(server: &Memcached) -> u64 {
    count(server, &["cmd_get", "cmd_set", "cas_hits", "cas_badval", "cas_misses", "delete_hits", "incr_hits"])
}

fn by_hour(limit: FixedWindow) -> TimeOfDay<FixedWindow, 1> {
    TimeOfDay::new(limit, [Hours::new((0, 0), (12, 0), Ratio::ONE)]).unwrap()
}

/// One round trip per check of cost 1, admitted or denied, whatever the window is wrapped in, and nothing is
/// written for a denial; two for whatever else.
#[test]
fn a_check_of_a_window_is_one_call() {
    async fn calls<S: Strategy>(server: &Memcached, key: &str, strategy: S) -> (u64, u64, usize) {
        let limiter = AsyncLimiter::new(strategy, at(&[server], "calls"));
        limiter.storage().ready().await.unwrap();
        let _ = limiter.check("warm").await.unwrap();
        let before = (counted(server), others(server));
        let mut denied = 0;
        for _ in 0..30 {
            denied += usize::from(!limiter.check(key).await.unwrap().outcome().is_allowed());
        }
        (counted(server) - before.0, others(server) - before.1, denied)
    }
    let server = Memcached::start();
    let rate = Rate::per_week(20);
    let window = FixedWindow::new(rate);
    run(async {
        let once = (30, 0, 10);
        assert_eq!(calls(&server, "plain", window).await, once);
        assert_eq!(calls(&server, "anchored", window.anchor(Duration::from_secs(777))).await, once);
        let tiered = Tiered::new(window, [(Label(1), Ratio::ONE)]).unwrap();
        assert_eq!(calls(&server, "tiered", tiered).await, once);
        assert_eq!(calls(&server, "hours", by_hour(window)).await, once);
        type Chosen = Erased<Arc<dyn ErasedStrategy<64>>, 64>;
        let chosen: All<Chosen, 2> =
            All([Erased::new(Arc::new(window)), Erased::new(Arc::new(Gcra::new(Rate::UNLIMITED)))]);
        assert_eq!(calls(&server, "chosen", chosen).await, once);
        // A get each, and for what is admitted an add once and then swaps, which count twice.
        let (_, others, denied) = calls(&server, "token", TokenBucket::new(rate)).await;
        assert_eq!((others, denied), (30 + 20 + 19, 10));
    });
}

#[test]
fn a_limit_that_changes_stays_exact() {
    fn window(limit: u32) -> FixedWindow {
        FixedWindow::new(Rate::per_week(limit))
    }
    run(async {
        let storage = storage("changes");
        let limiter = |limit: u32| AsyncLimiter::new(window(limit), storage.clone());
        let told = async |limit: u32| {
            let told = limiter(limit).check("key").await.unwrap();
            (told.is_allowed(), told.remaining())
        };
        for remaining in [4, 3, 2] {
            assert_eq!(told(5).await, (true, remaining));
        }
        // Three are used.
        assert_eq!(told(3).await, (false, 0));
        assert_eq!(told(2).await, (false, 0));
        assert_eq!(told(10).await, (true, 6));
        assert_eq!(told(4).await, (false, 0));
        assert_eq!(told(5).await, (true, 0));
        assert_eq!(told(5).await, (false, 0));
        // A limit that the server cannot count.
        assert_eq!(told(1_000_000).await, (true, 999_994));
        assert_eq!(told(1_000).await, (true, 993));
        assert_eq!(limiter(1_000).peek("key", 0).await.unwrap().remaining(), 993);
        // Another period: the week may have begun before the day, so what was used in it counts.
        let daily = AsyncLimiter::new(FixedWindow::new(Rate::per_day(10)), storage.clone());
        assert_eq!(daily.check("key").await.unwrap().remaining(), 2);
        assert_eq!(daily.check("key").await.unwrap().remaining(), 1);
    });
}

#[test]
fn other_costs_refunds_and_charges_meet_on_the_same_count() {
    run(async {
        let limiter = AsyncLimiter::new(FixedWindow::new(Rate::per_week(10)), storage("verbs"));
        let first = limiter.check("key").await.unwrap();
        assert_eq!(limiter.check_n("key", 4).await.unwrap().remaining(), 5);
        assert_eq!(limiter.check("key").await.unwrap().remaining(), 4);
        assert_eq!(limiter.refund("key", 1, first.receipt()).await.unwrap().remaining(), 5);
        assert!(!limiter.check_n("key", 6).await.unwrap().is_allowed());
        assert_eq!(limiter.charge("key", 9).await.unwrap().remaining(), 0);
        // Four more than there are: as many have to be given back before one is admitted again.
        for _ in 0..4 {
            assert!(!limiter.check("key").await.unwrap().is_allowed());
            assert_eq!(limiter.refund("key", 1, first.receipt()).await.unwrap().remaining(), 0);
        }
        assert_eq!(limiter.refund("key", 2, first.receipt()).await.unwrap().remaining(), 2);
        let told = [limiter.check("key").await, limiter.check("key").await, limiter.check("key").await];
        assert_eq!(told.map(|told| told.unwrap().is_allowed()), [true, true, false]);
        assert_eq!(limiter.stat("key").await.unwrap().current_count, 10);
        // A refund when nothing is left gives back one, not two.
        assert_eq!(limiter.refund("key", 1, first.receipt()).await.unwrap().remaining(), 1);
        assert_eq!(limiter.reset("key").await.unwrap().remaining(), 10);
        assert_eq!(limiter.check("key").await.unwrap().remaining(), 9);
    });
}

/// However many are denied in one window, and however many ask at the same time, they do not count down into
/// anything else.
#[test]
fn a_flood_of_denials_changes_nothing() {
    run(async {
        let limiter = || AsyncLimiter::new(FixedWindow::new(Rate::per_week(1)), storage("flood"));
        let processes = [limiter(), limiter(), limiter(), limiter()];
        assert!(processes[0].check("key").await.unwrap().is_allowed());
        let left =
            || String::from_utf8(SERVER.get("flood:{key}").unwrap()).unwrap().trim_end().parse::<u64>();
        let empty = left().unwrap() - 1;
        // Enough to bring the count half-way to the end of its numbers.
        SERVER.command("ma flood:{key} MD D262100");
        for _ in 0..20 {
            let told = join_all((0..64).map(|number| processes[number % 4].check("key"))).await;
            assert!(told.into_iter().all(|told| !told.unwrap().is_allowed()));
        }
        assert!(empty - left().unwrap() < 2_000, "{} below", empty - left().unwrap());
        assert_eq!(processes[0].peek("key", 0).await.unwrap().limit(), 1);
    });
}

#[test]
fn checks_at_the_same_time_are_carried_together() {
    let server = Memcached::start();
    run(async {
        let limiter = AsyncLimiter::new(Gcra::new(Rate::per_day(40)).burst(40).unwrap(), at(&[&server], "c"));
        let _ = limiter.check("warm").await.unwrap();
        let before = others(&server);
        let told = join_all((0..64).map(|_| limiter.check("key"))).await;
        let remaining: Vec<_> = told.iter().map(|told| told.as_ref().unwrap().remaining()).collect();
        assert!(remaining.is_sorted_by(|one, next| one >= next), "in the order they came");
        assert_eq!(told.iter().filter(|told| told.as_ref().unwrap().is_allowed()).count(), 40);
        // The first alone, with a get and an add; the others together, with a get and a swap, which counts
        // twice.
        assert!(others(&server) - before <= 6, "{}", others(&server) - before);
    });
}

/// Many at once, from four storages, each strategy: exactly the limit.
#[test]
fn a_hot_key_admits_exactly_the_limit() {
    fn hot<S: Strategy<Cost = u32>>(key: &'static str, strategy: S, expected: usize) {
        assert_eq!(admitted_of_a_hot_key((key, 25), strategy, || storage("hot")), expected, "{key}");
    }
    let rate = Rate::per_week(300);
    hot("window", FixedWindow::new(rate), 300);
    hot("token", TokenBucket::new(rate), 300);
    hot("gcra", Gcra::new(rate).burst(300).unwrap(), 300);
    hot("sliding", SlidingWindow::new(rate), 300);
    hot("strict", strict(rate), 300);
    hot("log", HeapLog::new(rate).unwrap(), 300);
    // The rest of the week before is added.
    hot("rollover", QuotaRollover::new(rate), 450);
    hot("adaptive", Adaptive::new(rate), 300);
}

#[test]
fn any_key_is_safe() {
    run(async {
        let limiter = AsyncLimiter::new(FixedWindow::new(Rate::per_week(1)), storage("keys"));
        let keys: Vec<Vec<u8>> =
            [&b""[..], b" ", b"a\r\nflush_all\r\n", b"a b", b"\0", &[0xff; 10], b"%20", b"{}"]
                .into_iter()
                .map(<[u8]>::to_vec)
                .chain([
                    vec![b'k'; 249],
                    vec![b'k'; 250],
                    vec![b'k'; 251],
                    vec![b' '; 10_000],
                    vec![b'k'; 1 << 20],
                ])
                .collect();
        for allowed in [true, false] {
            for key in &keys {
                assert_eq!(
                    limiter.check(&key[..]).await.unwrap().is_allowed(),
                    allowed,
                    "{:?}",
                    &key[..key.len().min(20)]
                );
            }
        }
    });
}

/// A host's clock that is off.
struct Off(i64);

impl Clock for Off {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(SystemClock.now().as_micros().saturating_add_signed(self.0))
    }
}

/// Storages by clocks of their own that differ admit together at most what the limit admits in a span that
/// is longer by as much.
#[test]
fn clocks_that_differ_add_what_drains_meanwhile() {
    fn apart<S: Strategy<Cost = u32> + traffik::strategy::Bounds>(
        name: &str,
        strategy: S,
        skew: i64,
        turns: usize,
    ) {
        let at = |off: i64| {
            let storage = MemcachedStorage::servers(Tokio, [SERVER.address().to_string()]);
            let storage = storage.namespace("skew").clock(Off(off)).timeout(Duration::from_secs(5));
            AsyncLimiter::new(strategy.clone(), storage.build().unwrap())
        };
        run(async {
            let hosts = [at(-skew / 2), at(0), at(skew / 2)];
            let first = SystemClock.now();
            let mut admitted = 0u128;
            for turn in 0..turns {
                let told = hosts[turn % 3].check(name).await.unwrap();
                admitted += u128::from(told.outcome().is_allowed());
            }
            let (first, last) = (first.as_micros(), SystemClock.now().as_micros());
            let half = skew.unsigned_abs() / 2;
            let most =
                strategy.most(Timestamp::from_micros(first - half), Timestamp::from_micros(last + half));
            let least = strategy.most(Timestamp::from_micros(first), Timestamp::from_micros(first));
            assert!((least..=most).contains(&admitted), "{name}: {admitted} of {least} to {most}");
        });
    }
    fn together<S: Strategy<Cost = u32> + traffik::strategy::Bounds>(name: &str, strategy: S) {
        apart(name, strategy, 5_000_000, 600);
    }
    // More windows than a count tells apart as its own and those to come, by fewer bits than it has.
    apart("windows", FixedWindow::new(Rate::per_second(1)), 300_000_000, 1_200);
    let rate = Rate::new(20, Duration::from_secs(2)).unwrap();
    together("window", FixedWindow::new(rate));
    together("token", TokenBucket::new(rate));
    together("gcra", Gcra::new(rate).burst(7).unwrap());
    together("sliding", SlidingWindow::new(rate));
    together("log", HeapLog::new(rate).unwrap());
}

#[test]
fn what_cannot_be_is_told_before_anything_is_asked() {
    let of = |servers: &[&str]| MemcachedStorage::servers(Tokio, servers.iter().copied());
    for (wrong, words) in [
        (of(&[]).build(), "no server is named"),
        (of(&["a", "a:11211"]).build(), "named twice"),
        (of(&["localhost", "127.0.0.1"]).build(), "127.0.0.1:11211 is named twice"),
        (of(&["one=a", "other=A."]).build(), "a:11211 is named twice"),
        (of(&["one=a", "one=b"]).build(), "two servers are named one"),
        (of(&["a:99999"]).build(), "1 to 65535"),
        (of(&["a"]).connect_timeout(Duration::ZERO).build(), "5 s"),
        (of(&["a"]).namespace("a b").build(), "1 to 64 letters"),
        (of(&["a"]).timeout(Duration::ZERO).build(), "500 ms"),
        (
            of(&["a"]).max_connections(2).min_idle(3).build(),
            "a min_idle of 3 is above the max_connections of 2",
        ),
        (of(&["a"]).max_connections(0).min_idle(0).build(), "a max_connections of 0 serves no call"),
    ] {
        let failure = wrong.unwrap_err();
        assert_eq!(failure.kind(), ErrorKind::Invalid);
        assert!(failure.to_string().contains(words), "{failure}");
    }
    for wrong in ["redis://a", "memcached://", "memcached://a/0", "memcached://user@a"] {
        let failure = MemcachedStorage::url(Tokio, wrong).unwrap_err();
        assert!(failure.to_string().contains("memcached://HOST:PORT"), "{failure}");
    }
    assert!(MemcachedStorage::url(Tokio, "memcached://a,b:7/").unwrap().build().is_ok());
}
