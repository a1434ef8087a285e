//! Several throttles of which some fail: what the others are charged, and who answers.

use std::time::Duration;

use http::Response;
use traffik::storage::BackendError;
use traffik::web::{ErrorAction, HeaderFormat, OnError, ThrottleSet};
use traffik::{ErrorKind, TokenBucket, rate};
use traffik_test_support::faulty::{Course, WELL, after, before};

use super::stage::{Bucket, SEVERAL, Scene, Stage, asks, play, scene};

const DOWN: Course = before(ErrorKind::Unavailable);

fn bucket(stage: &Stage, uid: &'static str, courses: &[Course], on_error: OnError) -> Bucket {
    let one = stage.failing(uid, TokenBucket::new(rate!("3/h")), courses);
    one.headers(HeaderFormat::Draft10).on_error(on_error)
}

/// Each remedy by its name.
fn remedies() -> [(&'static str, OnError); 6] {
    let answer =
        OnError::ask(|_| ErrorAction::Answer(Response::builder().status(507).body("full".into()).unwrap()));
    [
        ("throttle", OnError::Throttle),
        ("a wait", OnError::ThrottleFor(Duration::from_millis(9_001))),
        ("allow", OnError::Allow),
        ("raise", OnError::Raise),
        ("ask, answer", answer),
        ("ask, allow", OnError::ask(|_| ErrorAction::Allow)),
    ]
}

/// One of two fails, each time the storage is asked for the first time, the second time and so on.
fn one_fails() -> Vec<Scene> {
    let mut scenes = Vec::new();
    for (name, on_error) in remedies() {
        scenes.push(scene(name, move |stage| {
            let on_error = on_error.clone();
            async move {
                for (uids, first) in [(["failing", "good"], true), (["good", "failing"], false)] {
                    stage.notes.line(&format!("{} before {}", uids[0], uids[1]));
                    let courses = [DOWN, WELL, DOWN, after(ErrorKind::Timeout)];
                    let of = |uid, fails: bool| {
                        let (courses, on_error) = if fails {
                            (&courses[..], on_error.clone())
                        } else {
                            (&[][..], OnError::Throttle)
                        };
                        bucket(&stage, uid, courses, on_error).build().unwrap()
                    };
                    let both = ThrottleSet::new().and(of(uids[0], first)).and(of(uids[1], !first));
                    stage.among(&both, asks(5)).await;
                }
            }
        }));
    }
    scenes
}

#[test]
fn golden_one_fails() {
    play("one-fails", SEVERAL, &one_fails());
}

fn more() -> Vec<Scene> {
    let failure = || BackendError::new(ErrorKind::Other, "unknown");
    vec![
        scene("both storages fail", |stage| async move {
            for (one, other) in [
                (OnError::Allow, OnError::Allow),
                (OnError::Allow, OnError::Throttle),
                (OnError::Throttle, OnError::Allow),
                (OnError::Raise, OnError::ThrottleFor(Duration::from_secs(5))),
            ] {
                let one = bucket(&stage, "one", &[DOWN; 2], one).build().unwrap();
                let other = bucket(&stage, "other", &[DOWN; 2], other).build().unwrap();
                stage.among(&ThrottleSet::new().and(one).and(other), asks(3)).await;
            }
        }),
        scene("functions of all fail", move |stage| async move {
            let of = |uid, on_error| {
                let one = bucket(&stage, uid, &[], on_error);
                one.strategy_by(move |_| Err(failure().into())).build().unwrap()
            };
            let wait = OnError::ThrottleFor(Duration::from_secs(9));
            let all = ThrottleSet::new()
                .and(of("a", OnError::Allow))
                .and(of("b", wait))
                .and(of("c", OnError::Raise));
            stage.among(&all, asks(1)).await;
        }),
        scene("a function of one fails, and the other denies", move |stage| async move {
            for on_error in [OnError::Allow, OnError::Throttle] {
                let one = bucket(&stage, "one", &[], on_error);
                let one = one.strategy_by(move |_| Err(failure().into())).build().unwrap();
                let other = bucket(&stage, "other", &[], OnError::Throttle).cost(2).build().unwrap();
                stage.among(&ThrottleSet::new().and(one).and(other), asks(2)).await;
            }
        }),
        scene("a refund fails once another has denied", |stage| async move {
            // Both are peeked at first where they are here, so the denial is one that nobody expects.
            let one = bucket(&stage, "one", &[WELL, DOWN, DOWN, DOWN], OnError::Allow).build().unwrap();
            let other = bucket(&stage, "other", &[], OnError::Throttle).cost(2).build().unwrap();
            stage.among(&ThrottleSet::new().and(one).and(other), asks(3)).await;
        }),
        scene("three, of which the last fails", |stage| async move {
            for on_error in [OnError::Throttle, OnError::Allow] {
                let of =
                    |uid, courses: &[Course]| bucket(&stage, uid, courses, on_error.clone()).build().unwrap();
                let all =
                    ThrottleSet::new().and(of("a", &[])).and(of("b", &[])).and(of("c", &[WELL, DOWN, DOWN]));
                stage.among(&all, asks(3)).await;
            }
        }),
    ]
}

#[test]
fn golden_more_fail() {
    play("more-fail", SEVERAL, &more());
}
