//! The names of keys on the server, and the clearing of a namespace.

use super::{START, Scene, compare, runtime};
use crate::every_key::every_key;
use traffik::storage::AsyncStorage;
use traffik::{Adaptive, ErasedKey, FixedWindow, Hit, Op, Rate, RedisStorage};

async fn named(scene: &mut Scene, storage: &RedisStorage, title: &str, key: &dyn ErasedKey) {
    let limit = FixedWindow::new(Rate::per_week(5));
    let _ = storage.apply(&limit, key, &Op::Check(Hit::new(1))).await.unwrap();
    let counted = scene.made();
    let _ = storage.apply(&limit, key, &Op::Peek(Hit::new(1))).await.unwrap();
    let loaded = scene.made();
    let _ = storage.apply(&limit, key, &Op::Charge(Hit::new(1))).await.unwrap();
    let swapped = scene.made();
    let names = [&counted, &loaded, &swapped].map(|calls| calls.last().unwrap().words[3].clone());
    assert!(names.iter().all(|name| *name == names[0]), "one name whatever is asked");
    scene.line(format_args!("{title}: {}", names[0].text()));
}

#[test]
fn keys_are_called_as_ever() {
    let mut scene = Scene::new();
    runtime().block_on(async {
        scene.set(START);
        for namespace in ["", "app", "a:b/c_d-e@f.1"] {
            scene.line(format_args!("namespace {namespace:?}"));
            let storage = scene.storage(namespace);
            for (title, key) in every_key() {
                named(&mut scene, &storage, title, &*key).await;
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
        let storage = scene.storage("clear:it");
        let limit = Adaptive::new(Rate::per_hour(9));
        let _ = storage.apply(&limit, &"k", &Op::Check(Hit::new(1))).await.unwrap();
        scene.calls("first");
        scene.line("clear");
        storage.clear().await.unwrap();
        scene.calls("clear");
    });
    compare(&scene, "clear");
}

/// Without the answers, in which is the time.
#[test]
fn the_server_is_asked_for_its_own_time_as_ever() {
    let mut scene = Scene::new();
    runtime().block_on(async {
        let storage = scene.real("real").build().unwrap();
        let limit = FixedWindow::new(Rate::per_hour(9));
        let _ = storage.apply(&limit, &"k", &Op::Check(Hit::new(1))).await.unwrap();
        let _ = storage.apply(&limit, &"k", &Op::Peek(Hit::new(1))).await.unwrap();
        let _ = storage.apply(&Adaptive::new(Rate::per_hour(9)), &"l", &Op::Reset).await.unwrap();
        for call in scene.made() {
            scene.line(call.text());
        }
    });
    compare(&scene, "real_time");
}
