//! Faults between a limiter and its Memcached, on real servers: how much is admitted all the same, how long a
//! call takes to report the fault, and how soon all is well again.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use traffik::runtime::Tokio;
use traffik::storage::ErrorKind;
use traffik::{AsyncLimiter, FixedWindow, Gcra, HeapLog, MemcachedStorage, Rate, Strategy, TokenBucket};
use traffik_test_support::limited::{Count, DEADLINE, RECOVERY, recovered, run, under_load};
use traffik_test_support::servers::{Memcached, Proxy};

fn at(addresses: &[SocketAddr]) -> MemcachedStorage<Tokio> {
    let servers = MemcachedStorage::servers(Tokio, addresses.iter().map(ToString::to_string));
    servers.namespace("f").timeout(DEADLINE).build().unwrap()
}

fn weekly(limit: u32) -> FixedWindow {
    FixedWindow::new(Rate::per_week(limit))
}

fn bucket(limit: u32) -> TokenBucket {
    TokenBucket::new(Rate::per_week(limit))
}

/// Asked often enough, nobody is admitted above the limit, and nothing of it is lost but what nobody knows
/// of.
async fn asked_to_the_end<S: Strategy<Cost = u32>>(
    limiter: &AsyncLimiter<S, MemcachedStorage<Tokio>>,
    count: &Count,
    limit: u64,
) {
    for _ in 0..limit + 20 {
        count.check(limiter, "k").await;
    }
    count.assert_exact(limit);
}

#[test]
fn a_network_that_cuts_connections_is_bounded_and_exact() {
    async fn cut<S: Strategy<Cost = u32>>(strategy: S) {
        let memcached = Memcached::start();
        let proxy = Proxy::to(memcached.address());
        let (limiter, count) = (AsyncLimiter::new(strategy, at(&[proxy.address()])), Count::default());
        under_load(&limiter, &count, 2_000, |_| proxy.cut()).await;
        recovered(&limiter, &count, "other").await;
        count.assert_exact(2_000 + 1);
    }
    run(async {
        cut(weekly(2_000)).await;
        cut(bucket(2_000)).await;
    });
}

/// Without its data a server has forgotten what was used: the limit is had once more, and no more than that.
#[test]
fn a_server_that_comes_back_empty_grants_one_limit_more() {
    run(async {
        let mut memcached = Memcached::start();
        let (limiter, count) = (AsyncLimiter::new(weekly(10), at(&[memcached.address()])), Count::default());
        for _ in 0..20 {
            count.check(&limiter, "k").await;
        }
        memcached.kill();
        for _ in 0..5 {
            let kind = count.check(&limiter, "k").await.unwrap();
            assert!(matches!(kind, ErrorKind::Unavailable | ErrorKind::Timeout), "{kind:?}");
        }
        memcached.start_again();
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
    async fn paused<S: Strategy<Cost = u32>>(strategy: S, told: [ErrorKind; 2]) {
        let mut memcached = Memcached::start();
        let (limiter, count) = (AsyncLimiter::new(strategy, at(&[memcached.address()])), Count::default());
        count.check(&limiter, "k").await;
        memcached.pause();
        let kinds = [count.check(&limiter, "k").await, count.check(&limiter, "k").await];
        assert_eq!(kinds, told.map(Some));
        memcached.resume();
        recovered(&limiter, &count, "k").await;
        asked_to_the_end(&limiter, &count, 100).await;
    }
    run(async {
        // The second one had no connection that answered, and so was not sent.
        paused(weekly(100), [ErrorKind::Timeout, ErrorKind::Unavailable]).await;
        // A load charges nothing, so it is known what became of it.
        paused(bucket(100), [ErrorKind::Unavailable; 2]).await;
    });
}

/// The answer is lost, the charge is not; and the connection is not used again.
#[test]
fn a_lost_answer_is_an_unknown_outcome() {
    run(async {
        let memcached = Memcached::start();
        let proxy = Proxy::to(memcached.address());
        let (limiter, count) = (AsyncLimiter::new(weekly(10), at(&[proxy.address()])), Count::default());
        count.check(&limiter, "k").await;
        proxy.drop_replies(true);
        assert_eq!(count.check(&limiter, "k").await, Some(ErrorKind::Timeout));
        proxy.drop_replies(false);
        recovered(&limiter, &count, "k").await;
        // Three were charged, one of them to nobody's knowledge.
        let direct = AsyncLimiter::new(weekly(10), at(&[memcached.address()]));
        assert_eq!(direct.peek("k", 0).await.unwrap().remaining(), 7);
    });
}

#[test]
fn a_network_that_swallows_everything_or_cuts_replies_short_is_bounded() {
    async fn swallowed<S: Strategy<Cost = u32>>(strategy: S) {
        let memcached = Memcached::start();
        let proxy = Proxy::to(memcached.address());
        let (limiter, count) = (AsyncLimiter::new(strategy, at(&[proxy.address()])), Count::default());
        count.check(&limiter, "k").await;
        proxy.black_hole(true);
        for _ in 0..3 {
            assert!(count.check(&limiter, "k").await.is_some());
        }
        proxy.black_hole(false);
        recovered(&limiter, &count, "k").await;
        for bytes in [1, 7, 20] {
            proxy.cut_after(bytes);
            let _ = count.check(&limiter, "k").await;
            recovered(&limiter, &count, "k").await;
        }
        proxy.refuse(true);
        proxy.cut();
        assert!(count.check(&limiter, "k").await.is_some());
        proxy.refuse(false);
        recovered(&limiter, &count, "k").await;
        proxy.delay(Duration::from_millis(20));
        assert_eq!(count.check(&limiter, "k").await, None);
        proxy.delay(Duration::ZERO);
        asked_to_the_end(&limiter, &count, 100).await;
    }
    run(async {
        swallowed(weekly(100)).await;
        swallowed(bucket(100)).await;
    });
}

/// An abandoned check does not answer the next one: each asks for a cost of its own, and gets the rest that
/// this leaves.
#[test]
fn a_dropped_check_disturbs_no_other() {
    run(async {
        let memcached = Memcached::start();
        let proxy = Proxy::to(memcached.address());
        let windows = AsyncLimiter::new(weekly(1_000), at(&[proxy.address()]));
        let buckets = AsyncLimiter::new(bucket(1_000), at(&[proxy.address()]));
        let _ = (windows.check("a").await.unwrap(), buckets.check("a'").await.unwrap());
        proxy.delay(Duration::from_millis(10));
        for turn in 0..12u32 {
            let wait = Duration::from_millis(u64::from(turn) * 6);
            let _ = tokio::time::timeout(wait, windows.check("dropped")).await;
            let _ = tokio::time::timeout(wait, buckets.check("dropped'")).await;
            let (key, cost) = (format!("key {turn}"), turn + 2);
            assert_eq!(windows.check_n(&key, cost).await.unwrap().remaining(), 1_000 - cost);
            assert_eq!(windows.check(&key).await.unwrap().remaining(), 1_000 - cost - 1);
            assert_eq!(buckets.check_n(&format!("{key}'"), cost).await.unwrap().remaining(), 1_000 - cost);
        }
    });
}

#[test]
fn a_full_server_says_so_or_gives_up_the_oldest() {
    run(async {
        // One that may not give anything up for it.
        let full = Memcached::options().arguments(&["-M", "-m", "2"]).start();
        let (limiter, count) = (AsyncLimiter::new(weekly(5), at(&[full.address()])), Count::default());
        let mut told = None;
        for key in 0..60_000 {
            told = count.check(&limiter, &format!("key {key}")).await;
            if told.is_some() {
                break;
            }
        }
        assert_eq!(told, Some(ErrorKind::Full));
        // A state that is there is still counted.
        assert_eq!(limiter.check("key 0").await.unwrap().remaining(), 3);

        let small = Memcached::options().arguments(&["-m", "2"]).start();
        let limiter =
            AsyncLimiter::new(Gcra::new(Rate::per_week(5)).burst(5).unwrap(), at(&[small.address()]));
        for key in 0..40_000 {
            assert_eq!(count.check(&limiter, &format!("key {key}")).await, None);
        }
        // A state that no item can hold is refused, and what was there stays.
        let little =
            Memcached::options().arguments(&["-I", "16k", "-m", "8", "-o", "slab_chunk_max=16384"]).start();
        let large = AsyncLimiter::new(HeapLog::new(Rate::per_week(60_000)).unwrap(), at(&[little.address()]));
        let (mut admitted, mut refused) = (0, None);
        while refused.is_none() && admitted < 10_000 {
            match large.check("k").await {
                Ok(told) => admitted += u32::from(told.is_allowed()),
                Err(failure) => refused = Some(failure.kind()),
            }
        }
        assert_eq!(refused, Some(ErrorKind::Full));
        assert_eq!(large.peek("k", 0).await.unwrap().remaining(), 60_000 - admitted);
    });
}

#[test]
fn a_server_that_was_never_there_is_told_at_once() {
    run(async {
        let mut memcached = Memcached::start();
        memcached.stop();
        let limiter = AsyncLimiter::new(weekly(5), at(&[memcached.address()]));
        let began = Instant::now();
        for _ in 0..1_000 {
            let failure = limiter.check("k").await.unwrap_err();
            assert_eq!(failure.kind(), ErrorKind::Unavailable, "{failure}");
        }
        assert!(began.elapsed() < RECOVERY, "a thousand refusals took {:?}", began.elapsed());
        memcached.start_again();
        recovered(&limiter, &Count::default(), "k").await;
    });
}

/// The keys of the others go on, and only theirs.
#[test]
fn one_of_three_servers_is_gone() {
    run(async {
        let mut servers = [(); 3].map(|()| Memcached::start());
        let addresses = servers.each_ref().map(Memcached::address);
        let (limiter, count) = (AsyncLimiter::new(weekly(2), at(&addresses)), Count::default());
        for key in 0..90u32 {
            assert_eq!(count.check(&limiter, &key.to_string()).await, None);
        }
        servers[1].kill();
        let mut gone = 0;
        for key in 0..90u32 {
            match count.check(&limiter, &key.to_string()).await {
                None => {}
                Some(ErrorKind::Unavailable | ErrorKind::Timeout) => gone += 1,
                Some(other) => unreachable!("{other:?}"),
            }
        }
        assert!((10..60).contains(&gone), "{gone} of 90");
        servers[1].start_again();
        for key in 0..90u32 {
            recovered(&limiter, &count, &key.to_string()).await;
        }
    });
}

/// A server that answers nonsense, or what was not asked: no answer of it is believed, and no connection used
/// again.
#[test]
fn garbage_is_no_answer() {
    const ANSWERS: [&str; 9] = [
        "\r\n",
        "VA 3 O1\r\n12\r\n",
        "VA 20 c5 O999\r\n00000000000000000001\r\n",
        "HD\r\n",
        "END\r\nEND\r\nEND\r\n",
        "VALUE other 0 5 9\r\nhello\r\nEND\r\n",
        "STORED?\r\n",
        "SERVER_ERROR busy\r\n",
        "\u{0}\u{1}\u{2}",
    ];
    static USED_AGAIN: AtomicBool = AtomicBool::new(false);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Ends with the process: each connection gets the next answer to its first command, and no further one.
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                if lines.read_line(&mut line).unwrap_or(0) > 0 {
                    let _ = stream.write_all(ANSWERS[number % ANSWERS.len()].as_bytes());
                }
                // The rest of what was asked may come yet.
                while lines.read_line(&mut line).unwrap_or(0) > 0 {}
                let mut asked = line.lines().filter(|line| line.starts_with(['m', 'g', 'c', 'a']));
                // The question about the namespace goes out with the first call.
                USED_AGAIN.fetch_or(asked.any(|line| !line.contains('#')), Ordering::Relaxed);
            });
        }
    });
    run(async {
        let (windows, buckets) =
            (AsyncLimiter::new(weekly(5), at(&[address])), AsyncLimiter::new(bucket(5), at(&[address])));
        let count = Count::default();
        for _ in 0..18 {
            assert!(count.check(&windows, "k").await.is_some());
            assert!(count.check(&buckets, "k").await.is_some());
        }
        assert_eq!(count.get()[..2], [0, 0]);
        assert!(!USED_AGAIN.load(Ordering::Relaxed));
    });
}
