//! Memcached decides as the pure function does, on real servers.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test that panics has failed")]

mod servers;

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures_util::future::join_all;
use servers::Memcached;
use traffik::laws;
use traffik::runtime::{Runtime, Tokio};
use traffik::storage::ErrorKind;
use traffik::strategy::{ErasedStrategy, Single};
use traffik::{
    Adaptive, All, AsyncLimiter, Class, Clock, CostBased, Decision, FairShare, FixedWindow, Gcra, HeapLog,
    Hit, Hours, Label, LeakyBucket, LeakyBucketQueue, MemcachedStorage, Priority, QuotaRollover, Rate, Ratio,
    Receipt, Regions, SlidingLog, SlidingWindow, Strategy, StrictWindow, SystemClock, Tiered, TimeOfDay,
    Timer, Timestamp, TokenBucket, Verdict,
};

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

fn counted(server: &Memcached) -> u64 {
    // What makes the item is no hit.
    count(server, &["decr_hits", "total_items"])
}

fn others(server: &Memcached) -> u64 {
    count(server, &["cmd_get", "cmd_set", "cas_hits", "cas_badval", "cas_misses", "delete_hits", "incr_hits"])
}

/// For how many seconds the server keeps an item; −1 is for ever.
fn kept(server: &Memcached, item: &str) -> i64 {
    let answer = server.command(&format!("mg {item} t"));
    answer.trim_end().strip_prefix("HD t").unwrap().parse().unwrap()
}

#[test]
fn memcached_keeps_the_duties_of_a_storage() {
    async fn held<S: Strategy>(name: &str, limit: S) {
        let storage = storage(name);
        laws::awaited::every(&limit, &storage).await.unwrap();
        let plant = async |key: &[u8], bytes: &[u8]| {
            let escaped: String = key
                .iter()
                .map(|byte| match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b':' | b'_' | b'-' | b'@' | b'/' => {
                        char::from(*byte).to_string()
                    }
                    other => format!("%{other:02x}"),
                })
                .collect();
            SERVER.set(&format!("{name}:{{{escaped}}}"), bytes);
        };
        laws::awaited::corrupt_is_never_seen(&limit, &storage, plant).await.unwrap();
    }
    run(async {
        let rate = Rate::per_hour(7);
        held("duty-window", FixedWindow::new(rate)).await;
        held("duty-tiers", Tiered::new(FixedWindow::new(rate), [(Label(1), Ratio::ONE)]).unwrap()).await;
        held("duty-hours", by_hour(FixedWindow::new(rate))).await;
        held("duty-token", TokenBucket::new(rate)).await;
        held("duty-gcra", Gcra::new(rate).burst(5).unwrap()).await;
        held("duty-queue", LeakyBucketQueue::new(rate)).await;
        held("duty-sliding", SlidingWindow::new(rate)).await;
        held("duty-strict", strict(rate)).await;
        held("duty-log", SlidingLog::<8>::new(rate).unwrap()).await;
        held("duty-heap", HeapLog::new(rate).unwrap()).await;
        held("duty-rollover", QuotaRollover::new(rate)).await;
        held("duty-costs", CostBased::new(rate)).await;
        held("duty-adaptive", Adaptive::new(rate)).await;
        held("duty-leaky", LeakyBucket::new(rate).capacity(5).unwrap()).await;
        let quarter = Ratio::new(1, 4).unwrap();
        held("duty-priority", Priority::new(FixedWindow::new(rate), [(Label(1), quarter)]).unwrap()).await;
        held("duty-fair", FairShare::<4>::new(rate)).await;
        held("duty-regions", Regions::<2>::new(rate, &[(Label(0), Ratio::ONE)]).unwrap()).await;
        held("duty-own", Own(TokenBucket::new(rate))).await;
        held("duty-pair", (TokenBucket::new(rate), FixedWindow::new(Rate::per_day(9)))).await;
    });
}

/// A strategy of a user's own, of which no store knows more than that.
#[derive(Clone)]
struct Own(TokenBucket);

impl Strategy for Own {
    type State = <TokenBucket as Strategy>::State;
    type Cost = u32;
    type Verdict = Decision;
    type Stat = ();

    fn decide(&self, state: &mut Self::State, hit: &Hit, now: Timestamp) -> Decision {
        self.0.decide(state, hit, now)
    }

    fn charge(&self, state: &mut Self::State, hit: &Hit, now: Timestamp) {
        self.0.charge(state, hit, now);
    }

    fn refund(&self, state: &mut Self::State, hit: &Hit, receipt: Receipt, now: Timestamp) {
        self.0.refund(state, hit, receipt, now);
    }

    fn fresh_at(&self, state: &Self::State, class: Class) -> Timestamp {
        self.0.fresh_at(state, class)
    }

    fn horizon(&self) -> u64 {
        self.0.horizon()
    }

    fn stat(&self, _: &Self::State, _: Class, _: Timestamp) {}
}

fn by_hour(limit: FixedWindow) -> TimeOfDay<FixedWindow, 1> {
    TimeOfDay::new(limit, [Hours::new((0, 0), (12, 0), Ratio::ONE)]).unwrap()
}

/// One round trip per check of cost 1, admitted or denied, whatever the window is wrapped in, and nothing is written for a
/// denial; two for whatever else.
#[test]
fn a_check_of_a_window_is_one_call() {
    async fn calls<S: Strategy>(server: &Memcached, key: &str, limit: S) -> (u64, u64, usize) {
        let limiter = AsyncLimiter::new(limit, at(&[server], "calls"));
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
        type Chosen = Single<Arc<dyn ErasedStrategy<64>>, 64>;
        let chosen: All<Chosen, 2> =
            All([Single::new(Arc::new(window)), Single::new(Arc::new(Gcra::new(Rate::UNLIMITED)))]);
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

/// However many are denied in one window, and however many ask at the same time, they do not count down into anything else.
#[test]
fn a_flood_of_denials_changes_nothing() {
    run(async {
        let limiter = || AsyncLimiter::new(FixedWindow::new(Rate::per_week(1)), storage("flood"));
        let processes = [limiter(), limiter(), limiter(), limiter()];
        assert!(processes[0].check("key").await.unwrap().is_allowed());
        let left =
            || String::from_utf8(SERVER.get("flood:{key}").unwrap()).unwrap().trim_end().parse::<u64>();
        let empty = left().unwrap() - 1;
        // As many as bring the count half-way to the end of what it is told in.
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
        // The first alone, with a get and an add; the others together, with a get and a swap, which counts twice.
        assert!(others(&server) - before <= 6, "{}", others(&server) - before);
    });
}

/// Many at once, from four storages, each strategy: exactly the limit.
#[test]
fn a_hot_key_admits_exactly_the_limit() {
    fn hot<S: Strategy<Cost = u32>>(key: &'static str, limit: S, expected: usize) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let admitted = runtime.unwrap().block_on(async {
            let mut tasks = Vec::new();
            for _ in 0..4 {
                let limiter = Arc::new(AsyncLimiter::new(limit.clone(), storage("hot")));
                for _ in 0..8 {
                    let limiter = limiter.clone();
                    tasks.push(tokio::spawn(async move {
                        let mut admitted = 0;
                        for _ in 0..25 {
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
    let rate = Rate::per_week(300);
    hot("window", FixedWindow::new(rate), 300);
    hot("token", TokenBucket::new(rate), 300);
    hot("gcra", Gcra::new(rate).burst(300).unwrap(), 300);
    hot("sliding", SlidingWindow::new(rate), 300);
    hot("strict", strict(rate), 300);
    hot("log", HeapLog::new(rate).unwrap(), 300);
    // What the week before left over comes on top.
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
        assert!((0..=3).contains(&keep("brief", every(1)).await));
        let day = 24 * 3_600;
        assert!((0..=i64::try_from(day).unwrap() + 2).contains(&keep("day", every(day)).await));
        // Windows of 200 days began 1970; more than 30 days are told as a time, and a day more.
        let rest = 200 * day - SystemClock.now().as_micros() / 1_000_000 % (200 * day);
        let told = u64::try_from(keep("long", every(200 * day)).await).unwrap();
        assert!(told >= rest - 1 && told <= rest + day + 10, "{told} of {rest}");
        // A period of an odd length, and one that does not end before the server's own time.
        assert!((0..=3).contains(&keep("odd", Rate::new(5, Duration::from_millis(1_234)).unwrap()).await));
        assert_eq!(keep("ever", every(100 * 365 * day)).await, -1);
        let bucket = AsyncLimiter::new(TokenBucket::new(Rate::per_hour(60)), storage("ttl"));
        let _ = bucket.check_n("bucket", 2).await.unwrap();
        assert!((119..=123).contains(&kept(&SERVER, "ttl:{bucket}")));
    });
}

/// No more than were allowed, however many ask; and no fewer than are to be kept, however long nobody does.
#[test]
fn connections_are_as_many_as_was_said() {
    run(async {
        let server = Memcached::start();
        let open = || count(&server, &["curr_connections"]);
        // Whoever asked before may not have left yet.
        let none = (0..50).map(|_| open()).min().unwrap();
        let limiter = |idle: Duration| {
            let storage = MemcachedStorage::servers(Tokio, [server.address().to_string()]);
            let storage = storage.connections(5).kept(2).idle(idle).timeout(Duration::from_secs(5));
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
            // What nobody needed for too long is given up when another one comes back.
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
        let items = servers.each_ref().map(|server| count(server, &["curr_items"]));
        assert!((60..140).contains(&moved.len()), "{} moved", moved.len());
        assert!(items.iter().all(|items| *items > 60), "{items:?}");
        assert_eq!(items[2], moved.len() as u64, "those of the server that went, and no others");
        all.storage().ready().await.unwrap();
    });
}

/// A host's clock that is off.
struct Off(i64);

impl Clock for Off {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros(SystemClock.now().as_micros().saturating_add_signed(self.0))
    }
}

/// What hosts whose clocks differ admit together is at most what the limit admits in a span that is longer by as much.
#[test]
fn clocks_that_differ_add_what_drains_meanwhile() {
    fn together<S: Strategy<Cost = u32> + traffik::strategy::Bounds>(name: &str, limit: S) {
        const SKEW: i64 = 5_000_000;
        let at = |off: i64| {
            let storage = MemcachedStorage::servers(Tokio, [SERVER.address().to_string()]);
            let storage = storage.namespace("skew").clock(Off(off)).timeout(Duration::from_secs(5));
            AsyncLimiter::new(limit.clone(), storage.build().unwrap())
        };
        run(async {
            let hosts = [at(-SKEW / 2), at(0), at(SKEW / 2)];
            let first = SystemClock.now();
            let mut admitted = 0u128;
            for turn in 0..600 {
                let told = hosts[turn % 3].check(name).await.unwrap();
                admitted += u128::from(told.outcome().is_allowed());
            }
            let (first, last) = (first.as_micros(), SystemClock.now().as_micros());
            let half = SKEW.unsigned_abs() / 2;
            let most = limit.most(Timestamp::from_micros(first - half), Timestamp::from_micros(last + half));
            let least = limit.most(Timestamp::from_micros(first), Timestamp::from_micros(first));
            assert!((least..=most).contains(&admitted), "{name}: {admitted} of {least} to {most}");
        });
    }
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
        (of(&["a"]).namespace("a b").build(), "1 to 64 letters"),
        (of(&["a"]).timeout(Duration::ZERO).build(), "500 ms"),
        (of(&["a"]).connections(2).kept(3).build(), "3 connections cannot be kept of at most 2"),
        (of(&["a"]).connections(0).kept(0).build(), "take 1 of 16"),
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
