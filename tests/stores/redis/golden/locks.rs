//! The commands for locks, on the server's own clock: of times, only that they are right.

use std::time::{Duration, SystemTime};

use super::talk::{Call, Item};
use super::{Scene, compare, runtime};
use traffik::Redlock;
use traffik::lock::{Grant, Lock};
use traffik_test_support::granting::ttl;
use traffik_test_support::servers::Reply;

/// The server's time in microseconds, as far as this host can tell.
fn now() -> u64 {
    u64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros()).unwrap()
}

/// Whether a number is about that time.
fn is_about(told: u64, time: u64) -> bool {
    told.abs_diff(time) < u64::try_from(Duration::from_secs(60).as_micros()).unwrap()
}

fn number(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes.try_into().unwrap())
}

/// Calls without what differs each time: the owner's bytes and the token, which is the time.
fn told(calls: &[Call], owner: &[u8]) -> Vec<String> {
    let replace = |item: &Item| match item {
        Item::Bytes(bytes) if bytes == owner => Item::Status("{owner}".to_owned()),
        Item::Bytes(bytes) if is_token(bytes) => Item::Status("{token}".to_owned()),
        Item::Number(number) if is_about(number.unsigned_abs(), now()) => Item::Status("{token}".to_owned()),
        item => item.clone(),
    };
    let lines = calls.iter().flat_map(|call| {
        let words = call.words.iter().map(replace).collect();
        let call = Call { words, answer: replace(&call.answer) };
        [format!("  {}", call.text()), format!("    {}", call.answered())]
    });
    lines.collect()
}

fn is_token(bytes: &[u8]) -> bool {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    text.parse().is_ok_and(|token| is_about(token, now()))
}

impl Scene {
    fn told(&mut self, title: &str, owner: &[u8]) {
        self.line(title);
        for line in told(&self.made(), owner) {
            self.line(line);
        }
    }

    /// Writes what is kept for a name: who holds it, the token, and until when.
    fn held(&mut self, key: &str, grant: &Grant, live: u64) {
        let Reply::Bulk(bytes) = self.server.command(&["GET", key]) else { panic!("{key} is kept") };
        let owner = match &bytes[..16] {
            owner if owner == grant.owner().as_bytes() => "{owner}",
            owner if owner == [0; 16] => "nobody",
            owner => panic!("{owner:?} holds it"),
        };
        assert_eq!((bytes.len(), number(&bytes[16..24])), (32, grant.fencing()));
        assert!(is_about(number(&bytes[24..]), now() + live * 1_000));
        let minutes = self.server.command(&["PTTL", key]).integer().cast_unsigned().div_ceil(60_000);
        self.line(format_args!("  {key} {owner} {{token}} until {live} ms from now, for {minutes} min"));
    }
}

#[test]
fn locks_are_asked_for_as_ever() {
    const LIVE: u64 = 315_500;
    let mut scene = Scene::new();
    runtime().block_on(async {
        let (lock, other) = (scene.storage("app").lock(), scene.storage("app").lock());
        let grant = lock.try_acquire(b"a name", ttl(LIVE)).await.unwrap().unwrap();
        let owner = *grant.owner().as_bytes();
        scene.told("acquire", &owner);
        scene.held("app#lock:{a%20name}", &grant, LIVE);
        assert!(lock.renew(&grant, ttl(2 * LIVE)).await.unwrap());
        scene.told("renew", &owner);
        scene.held("app#lock:{a%20name}", &grant, 2 * LIVE);
        assert!(lock.release(grant.clone()).await.unwrap());
        scene.told("release", &owner);
        scene.held("app#lock:{a%20name}", &grant, 2 * LIVE);
        assert!(!lock.release(grant.clone()).await.unwrap());
        scene.told("release again", &owner);
        assert!(!lock.renew(&grant, ttl(LIVE)).await.unwrap());
        scene.told("renew what was released", &owner);
        let next = lock.try_acquire(b"a name", ttl(LIVE)).await.unwrap().unwrap();
        scene.told("acquire again", next.owner().as_bytes());
        assert!(other.try_acquire(b"a name", ttl(LIVE)).await.unwrap().is_none());
        let denied = scene.made();
        let owner = denied.last().unwrap().words[5].bytes().to_vec();
        scene.line("acquire what is held");
        told(&denied, &owner).into_iter().for_each(|line| scene.line(line));
    });
    compare(&scene, "locks");
}

/// Waits until all servers have answered: of the tasks those alone are left that keep a connection each.
async fn answered(connections: usize) {
    let metrics = tokio::runtime::Handle::current().metrics();
    while metrics.num_alive_tasks() > connections {
        tokio::task::yield_now().await;
    }
}

#[test]
fn locks_on_several_servers_are_asked_for_as_ever() {
    let mut scenes: [Scene; 3] = std::array::from_fn(|_| Scene::new());
    runtime().block_on(async {
        let lock = Redlock::new(scenes.iter().map(|scene| scene.storage("app").lock())).unwrap();
        let grant = lock.try_acquire(b"n", ttl(300_000)).await.unwrap().unwrap();
        let owner = *grant.owner().as_bytes();
        answered(scenes.len()).await;
        scenes.iter_mut().for_each(|scene| scene.told("acquire", &owner));
        assert!(lock.renew(&grant, ttl(600_000)).await.unwrap());
        answered(scenes.len()).await;
        scenes.iter_mut().for_each(|scene| scene.told("renew", &owner));
        assert!(lock.release(grant).await.unwrap());
        answered(scenes.len()).await;
        scenes.iter_mut().for_each(|scene| scene.told("release", &owner));
    });
    for scene in &scenes {
        compare(scene, "redlock");
    }
}
