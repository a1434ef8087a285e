//! One server of several that fails, on real servers: which one it is, why, and that no other is concerned.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use traffik::runtime::{Runtime, Tokio};
use traffik::storage::{AsyncStorage, ErrorKind};
use traffik::{AsyncLimiter, FixedWindow, MemcachedBuilder, MemcachedStorage, Rate, Timer, TokenBucket};
use traffik_test_support::limited::{Count, recovered, run};
use traffik_test_support::servers::Memcached;

/// The lines that a storage wrote.
#[derive(Clone, Default)]
pub(super) struct Lines(Arc<Mutex<Vec<String>>>);

impl Lines {
    pub(super) fn of<R>(&self, storage: MemcachedBuilder<R>) -> MemcachedStorage<R>
    where
        R: traffik::runtime::Connect,
    {
        let lines = self.clone();
        storage.on_warning(move |line| lines.0.lock().unwrap().push(line.to_owned())).build().unwrap()
    }

    pub(super) fn get(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

fn weekly() -> FixedWindow {
    FixedWindow::new(Rate::per_week(100_000))
}

fn node(storage: &MemcachedStorage<Tokio>, key: u32) -> Option<Arc<str>> {
    AsyncStorage::<FixedWindow>::node(storage, &key)
}

#[test]
fn the_server_of_a_key_fails_alone_and_is_named() {
    run(async {
        let mut servers = [(); 3].map(|()| Memcached::start());
        let addresses = servers.each_ref().map(|server| server.address().to_string());
        let lines = Lines::default();
        let builder = MemcachedStorage::servers(Tokio, addresses.clone()).namespace("n");
        let storage = lines.of(builder.timeout(Duration::from_secs(5)));
        let limiter = AsyncLimiter::new(weekly(), storage.clone());
        for key in 0..90u32 {
            let node = node(&storage, key).unwrap();
            assert!(addresses.contains(&node.to_string()));
            assert!(Arc::ptr_eq(&node, &self::node(&storage.clone(), key).unwrap()), "one handle");
            assert!(limiter.check(&key).await.unwrap().is_allowed());
        }
        assert!(storage.nodes().iter().all(|(_, cause)| cause.is_none()));
        servers[1].kill();
        let told =
            format!("memcached at {}: Connection refused (os error 111); nothing was charged", addresses[1]);
        let mut failed = 0;
        for key in 0..3_000u32 {
            let is_down = *node(&storage, key).unwrap() == *addresses[1];
            match limiter.check(&key).await {
                Ok(_) => assert!(!is_down, "{key} was kept there"),
                Err(failure) => {
                    assert!(is_down, "{key}: {failure}");
                    assert_eq!((failure.kind(), failure.to_string()), (ErrorKind::Unavailable, told.clone()));
                    failed += 1;
                }
            }
        }
        assert!(failed > 500, "{failed}");
        for (name, cause) in storage.nodes() {
            let expected = (*name == *addresses[1]).then(|| told.clone());
            assert_eq!(cause.map(|cause| cause.to_string()), expected);
        }
        assert_eq!(lines.get(), [format!("{told}; a line follows when it answers again")]);
        assert_eq!(storage.ready().await.unwrap_err().to_string(), told);
        servers[1].start_again();
        let key = (0..).find(|key| *node(&storage, *key).unwrap() == *addresses[1]).unwrap();
        let well = async {
            while lines.get().len() < 2 {
                let _ = limiter.check(&key).await;
                Tokio.sleep(Duration::from_millis(10)).await;
            }
        };
        Tokio.timeout(Duration::from_secs(10), well).await.unwrap();
        let last = lines.get().pop().unwrap();
        assert!(last.starts_with(&format!("memcached at {} answers again, after ", addresses[1])), "{last}");
        assert!(storage.nodes().iter().all(|(_, cause)| cause.is_none()));
        storage.ready().await.unwrap();
    });
}

#[test]
fn a_single_server_is_no_node() {
    let storage = MemcachedStorage::servers(Tokio, ["cache-a=LOCALHOST"]).build().unwrap();
    assert_eq!(node(&storage, 7), None);
    let nodes: Vec<_> = storage.nodes().into_iter().map(|(name, _)| name.to_string()).collect();
    assert_eq!(nodes, ["cache-a"]);
}

/// The failure of a paused server names it, in however many steps a call is made.
#[test]
fn a_server_that_does_not_answer_is_named() {
    run(async {
        let mut server = Memcached::start();
        let builder = MemcachedStorage::servers(Tokio, [format!("a={}", server.address())]);
        let storage = Lines::default().of(builder.timeout(Duration::from_millis(200)));
        let windows = AsyncLimiter::new(weekly(), storage.clone());
        let buckets = AsyncLimiter::new(TokenBucket::new(Rate::per_week(5)), storage.clone());
        recovered(&windows, &Count::default(), "k").await;
        server.pause();
        let title = format!("memcached a at {}", server.address());
        let failure = windows.check("k").await.unwrap_err();
        assert_eq!(failure.to_string(), format!("{title}: no answer in time; the hit may have been charged"));
        for _ in 0..2 {
            let failure = buckets.check("k").await.unwrap_err();
            assert_eq!(failure.kind(), ErrorKind::Unavailable);
            assert!(failure.to_string().starts_with(&title), "{failure}");
            assert!(failure.to_string().ends_with("in time; nothing was charged"), "{failure}");
        }
        assert_eq!(storage.nodes()[0].1.as_ref().map(|cause| cause.kind()), Some(ErrorKind::Unavailable));
        server.resume();
    });
}

/// The first server of two that is down keeps nobody from asking the second one, in whatever order they are.
#[test]
fn all_servers_are_asked_though_one_is_down() {
    run(async {
        let mut servers = [Memcached::start(), Memcached::start()];
        let addresses = servers.each_ref().map(|server| server.address().to_string());
        for down in [0, 1] {
            let up = 1 - down;
            let builder = MemcachedStorage::servers(Tokio, addresses.clone()).namespace("all");
            let storage = Lines::default().of(builder.timeout(Duration::from_secs(5)));
            let limiter = AsyncLimiter::new(FixedWindow::new(Rate::per_week(1)), storage.clone());
            let key = (0..).find(|key| *node(&storage, *key).unwrap() == *addresses[up]).unwrap();
            let faults = || storage.nodes().iter().filter(|(_, cause)| cause.is_some()).count();
            assert!(limiter.check(&key).await.unwrap().is_allowed());
            servers[down].kill();
            storage.clear().await.unwrap_err();
            assert!(limiter.check(&key).await.unwrap().is_allowed(), "its server was not cleared");
            servers[up].kill();
            storage.ready().await.unwrap_err();
            assert_eq!(faults(), 2);
            // One that is well again is found so by nothing else than this.
            servers[up].start_again();
            let found = async {
                while faults() > 1 {
                    storage.ready().await.unwrap_err();
                    Tokio.sleep(Duration::from_millis(50)).await;
                }
            };
            Tokio.timeout(Duration::from_secs(10), found).await.unwrap();
            servers[down].start_again();
        }
    });
}

/// A server that answers and cannot write is not ready, and is named; its kind is that of its calls.
#[test]
fn a_server_that_cannot_write_is_not_ready() {
    run(async {
        let well = Memcached::start();
        let full = Memcached::options().arguments(&["-M", "-m", "2"]).start();
        let addresses = [&well, &full].map(|server| server.address().to_string());
        let storage = Lines::default().of(MemcachedStorage::servers(Tokio, addresses.clone()).namespace("f"));
        storage.ready().await.unwrap();
        let limiter = AsyncLimiter::new(weekly(), storage.clone());
        let mut told = None;
        for key in 0..100_000u32 {
            told = limiter.check(&key).await.err();
            if told.is_some() {
                break;
            }
        }
        let told = told.unwrap();
        let connections = || super::count(&full, &["total_connections"]);
        let before = connections();
        for _ in 0..20 {
            let failure = storage.ready().await.unwrap_err();
            assert_eq!((failure.kind(), told.kind()), (ErrorKind::Full, ErrorKind::Full));
            let title = format!("memcached at {}: SERVER_ERROR ", addresses[1]);
            assert!(
                [&failure, &told].iter().all(|it| it.to_string().starts_with(&title)),
                "{failure}; {told}"
            );
        }
        assert!(connections() - before < 5, "a refusal costs no connection");
    });
}
