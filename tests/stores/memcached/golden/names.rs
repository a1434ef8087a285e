//! The names of items: those of keys, of a cleared namespace, and of locks.

use std::time::SystemTime;

use super::talk::{Call, Message, calls};
use super::{START, Scene, compare, hit, runtime};
use crate::every_key::every_key;
use traffik::lock::Lock;
use traffik::storage::AsyncStorage;
use traffik::{FixedWindow, Op, Rate, TokenBucket};
use traffik_test_support::granting::ttl;

/// A message in which `hidden` is a word of its own, or part of one, and has this name.
fn masked(message: &Message, hidden: &[(String, &str)], owner: &[u8]) -> Message {
    let replace =
        |text: &str| hidden.iter().fold(text.to_owned(), |text, (hidden, name)| text.replace(hidden, name));
    let words = message.words.iter().map(|word| replace(word)).collect();
    let bytes = message.bytes.as_deref().map(|bytes| match std::str::from_utf8(bytes) {
        _ if bytes == owner && !owner.is_empty() => b"{owner}".to_vec(),
        Ok(text) => replace(text).into_bytes(),
        Err(_) => bytes.to_vec(),
    });
    Message { words, bytes }
}

impl Scene {
    /// Writes calls without what differs each time.
    fn masked(&mut self, title: &str, made: &[Call], hidden: &[(String, &str)], owner: &[u8]) {
        self.line(title);
        for Call { request, answer } in made {
            let [request, answer] = [request, answer].map(|message| masked(message, hidden, owner));
            self.told(&[Call { request, answer }]);
        }
    }

    /// All that was called, questions about namespaces as well.
    fn all(&self) -> Vec<Call> {
        calls(&self.recorder)
    }
}

#[test]
fn items_are_called_as_ever() {
    let mut scene = Scene::new();
    runtime().block_on(async {
        scene.set(START);
        let (window, bucket) = (FixedWindow::new(Rate::per_week(5)), TokenBucket::new(Rate::per_week(5)));
        for namespace in ["", "app", "a:b/c_d-e@f.1"] {
            scene.line(format_args!("namespace {namespace:?}"));
            let storage = scene.storage(namespace);
            for (title, key) in every_key() {
                let _ = storage.apply(&window, &*key, &Op::Check(hit(1))).await.unwrap();
                let counted = scene.made()[0].request.words[1].clone();
                let _ = storage.apply(&bucket, &*key, &Op::Peek(hit(1))).await.unwrap();
                assert_eq!(scene.made()[0].request.words[1], counted, "one name whatever is asked");
                scene.line(format_args!("{title}: {counted}"));
            }
        }
    });
    compare(&scene, "names");
}

#[test]
fn a_namespace_is_cleared_as_ever() {
    let mut scene = Scene::new();
    runtime().block_on(async {
        scene.set(START);
        let storage = scene.storage("app");
        storage.ready().await.unwrap();
        let made = scene.all();
        let probe = made.last().unwrap().request.words[1].clone();
        assert!(probe.starts_with("app#ready{"));
        scene.masked("ready", &made, &[(probe, "app#ready{random}")], b"");
        let window = FixedWindow::new(Rate::per_week(5));
        let _ = storage.apply(&window, &"k", &Op::Check(hit(1))).await.unwrap();
        let made = scene.all();
        scene.masked("first", &made, &[], b"");
        let mut before = Vec::new();
        for title in ["clear", "clear again"] {
            storage.clear().await.unwrap();
            let told = String::from_utf8(scene.server.get("app#generation{}").unwrap()).unwrap();
            let number: u64 = told.trim_end().parse().unwrap();
            let hidden = vec![(format!("{number}"), "{generation}"), (format!("{number:x}"), "{hex}")];
            let made = scene.all();
            scene.masked(title, &made, &[hidden.clone(), before].concat(), b"");
            let _ = storage.apply(&window, &"k", &Op::Check(hit(1))).await.unwrap();
            let made = scene.made();
            scene.masked("check", &made, &hidden, b"");
            before = vec![(format!("{number}"), "{generation before}")];
        }
    });
    compare(&scene, "clear");
}

#[test]
fn locks_are_asked_for_as_ever() {
    const LIVE: u64 = 300_500;
    let mut scene = Scene::new();
    runtime().block_on(async {
        let (lock, other) = (scene.storage("app").lock(), scene.storage("app").lock());
        let grant = lock.try_acquire(b"a name", ttl(LIVE)).await.unwrap().unwrap();
        let now = u64::try_from(SystemTime::UNIX_EPOCH.elapsed().unwrap().as_micros()).unwrap();
        assert!(now.abs_diff(grant.fencing()) < 60_000_000, "the first token is the time");
        let owner = *grant.owner().as_bytes();
        let hidden = [(format!("{}", grant.fencing()), "{token}")];
        let made = scene.made();
        scene.masked("acquire", &made, &hidden, &owner);
        assert!(lock.renew(&grant, ttl(2 * LIVE)).await.unwrap());
        let made = scene.made();
        scene.masked("renew", &made, &hidden, &owner);
        assert!(lock.release(grant.clone()).await.unwrap());
        let made = scene.made();
        scene.masked("release", &made, &hidden, &owner);
        assert!(!lock.release(grant.clone()).await.unwrap());
        let made = scene.made();
        scene.masked("release again", &made, &hidden, &owner);
        let next = lock.try_acquire(b"a name", ttl(LIVE)).await.unwrap().unwrap();
        assert_eq!(next.fencing(), grant.fencing() + 1);
        let first = scene.made();
        let count = first.iter().find(|call| call.request.words[0] == "ma").unwrap();
        let begin = count.request.words.iter().find_map(|word| word.strip_prefix('J')).unwrap().to_owned();
        let hidden = [(begin, "{time}"), (format!("{}", next.fencing()), "{token + 1}")];
        scene.masked("acquire again", &first, &hidden, next.owner().as_bytes());
        assert!(other.try_acquire(b"a name", ttl(LIVE)).await.unwrap().is_none());
        let denied = scene.made();
        let owner = denied[0].request.bytes.clone().unwrap();
        scene.masked("acquire what is held", &denied, &[], &owner);
        let text = lock.try_acquire(&b"x".repeat(300), ttl(40 * 86_400_000)).await.unwrap().unwrap();
        let names: Vec<_> = scene.made().iter().map(|call| call.request.words[1].clone()).collect();
        scene.line(format_args!("a long name: {}", names.join(" ")));
        assert!(lock.release(text).await.unwrap());
    });
    compare(&scene, "locks");
}
