//! Instances that name other servers notice it, on real ones.

use traffik::MemcachedStorage;
use traffik::runtime::Tokio;
use traffik_test_support::servers::Memcached;

use super::nodes::Lines;
use super::run;

fn storage(servers: &[Memcached], lines: &Lines) -> MemcachedStorage<Tokio> {
    let addresses = servers.iter().map(|server| server.address().to_string());
    lines.of(MemcachedStorage::servers(Tokio, addresses).namespace("list"))
}

#[test]
fn instances_that_name_other_servers_warn_once_each() {
    run(async {
        let servers = [(); 4].map(|()| Memcached::start());
        let [three, four, same] = [(); 3].map(|()| Lines::default());
        let instances = [storage(&servers[..3], &three), storage(&servers, &four)];
        for _ in 0..3 {
            for instance in &instances {
                instance.ready().await.unwrap();
            }
        }
        let names = |servers: &[Memcached]| {
            let mut names: Vec<_> = servers.iter().map(|server| server.address().to_string()).collect();
            names.sort();
            names.join(",")
        };
        let (named_three, named_four) = (names(&servers[..3]), names(&servers));
        for (lines, ours, theirs) in [(&three, &named_three, &named_four), (&four, &named_four, &named_three)]
        {
            let lines = lines.get();
            let words = format!("here {ours}, there {theirs};");
            assert!(lines.len() == 1 && lines[0].contains(&words), "{lines:?}");
        }
        // Equal lists, in whatever order: nothing is to be said.
        let mut servers = servers;
        servers.reverse();
        let equal = storage(&servers, &same);
        equal.ready().await.unwrap();
        instances[1].ready().await.unwrap();
        assert_eq!((same.get().len(), four.get().len()), (0, 1));
        // Clearing leaves the list alone, and so does a list that was given up by its time to live.
        equal.clear().await.unwrap();
        assert!(servers.iter().all(|server| server.get("list#servers{}").is_some()));
        for server in &servers {
            server.command("md list#servers{}");
        }
        equal.ready().await.unwrap();
        assert_eq!(same.get().len(), 0);
        assert!(servers.iter().all(|server| server.command("mg list#servers{} t").starts_with("HD t")));
    });
}

/// A check looks as well, when it first connects; a list that was put by hand is noticed, and replaced.
#[test]
fn a_check_notices_another_list() {
    use std::time::Duration;
    use traffik::runtime::Runtime;
    use traffik::{AsyncLimiter, FixedWindow, Rate, Timer};

    run(async {
        let (server, lines) = ([Memcached::start()], Lines::default());
        server[0].set("list#servers{}", b"0123456789abcdef a:1,b:1");
        let limiter = AsyncLimiter::new(FixedWindow::new(Rate::per_week(5)), storage(&server, &lines));
        assert!(limiter.check("k").await.unwrap().is_allowed());
        let own = server[0].address().to_string();
        let replaced = async {
            let is_own = |list: Vec<u8>| String::from_utf8(list).unwrap().ends_with(&own);
            while !server[0].get("list#servers{}").is_some_and(is_own) {
                Tokio.sleep(Duration::from_millis(5)).await;
            }
        };
        Tokio.timeout(Duration::from_secs(5), replaced).await.unwrap();
        let lines = lines.get();
        assert!(lines.len() == 1 && lines[0].contains("there a:1,b:1;"), "{lines:?}");
    });
}
