//! Requests that are admitted later.

use std::time::Duration;

use traffik::runtime::Runtime;
use traffik::web::{HeaderFormat, ThrottleSet};
use traffik::{LeakyBucketQueue, TokenBucket, rate};
use traffik_test_support::faulty::{MILLI, WELL, before, slow};

use super::stage::{ALONE, SEVERAL, Scene, Stage, ask, asks, play, scene};

fn queue() -> LeakyBucketQueue {
    LeakyBucketQueue::new(rate!("1/s")).queue(2).unwrap()
}

fn alone() -> Vec<Scene> {
    vec![
        scene("a queue", |stage| async move {
            let one = stage
                .throttle("queue", queue())
                .headers(HeaderFormat::Draft10)
                .runtime(stage.runtime.clone());
            stage.ask(&one.build().unwrap(), [ask(1), ask(1), ask(2), ask(1)]).await;
        }),
        scene("a queue in which many stand", |stage| async move {
            let one = stage
                .throttle("queue", queue())
                .headers(HeaderFormat::Draft10)
                .runtime(stage.runtime.clone());
            let one = one.build().unwrap();
            // Requests that leave give up their places.
            stage.ask(&one, [ask(1), ask(1).leaves(1), ask(1).leaves(1), ask(1), ask(1).after(2_500)]).await;
        }),
        scene("what responses decide of one that has waited", |stage| async move {
            let one = stage.throttle("queue", queue()).runtime(stage.runtime.clone());
            let one = one.charge_if(|response| response.status == 401).build().unwrap();
            let of = |status| ask(1).with("answer-status", status);
            stage.ask(&one, [of("401"), of("200"), of("401")]).await;
        }),
        scene("no runtime, and a refund that fails or takes its time", |stage| async move {
            let courses =
                [WELL, WELL, before(traffik::ErrorKind::Timeout), WELL, slow(500 * MILLI), WELL, WELL];
            let one =
                stage.failing("queue", queue(), &courses).headers(HeaderFormat::Draft10).build().unwrap();
            stage.ask(&one, asks(4)).await;
        }),
        scene("no runtime, but a background", |stage| async move {
            let (runtime, courses) = (stage.runtime.clone(), [WELL, WELL, slow(500 * MILLI)]);
            let one = stage.failing("queue", queue(), &courses).min_wait(Duration::from_secs(9));
            let one = one.spawner(move |future| runtime.spawn(future)).build().unwrap();
            stage.ask(&one, [ask(1), ask(1), ask(2).after(600)]).await;
        }),
    ]
}

#[test]
fn golden_waits() {
    play("waits", ALONE, &alone());
}

fn among() -> Vec<Scene> {
    let bucket =
        |stage: &Stage, rate| stage.throttle("bucket", TokenBucket::new(rate)).headers(HeaderFormat::Draft10);
    let slower = || LeakyBucketQueue::new(rate!("1/2s")).queue(2).unwrap();
    vec![
        scene("the longest delay is sat out", move |stage| async move {
            let one =
                stage.throttle("fast", queue()).headers(HeaderFormat::Draft10).runtime(stage.runtime.clone());
            let other = stage.throttle("slow", slower()).headers(HeaderFormat::Draft10).build().unwrap();
            let both = ThrottleSet::new().and(one.build().unwrap()).and(other);
            stage.among(&both, asks(3)).await;
        }),
        scene("nobody can wait, and the places are given back", move |stage| async move {
            let one = stage.throttle("queue", queue()).headers(HeaderFormat::Draft10).build().unwrap();
            let both = ThrottleSet::new().and(bucket(&stage, rate!("9/h")).build().unwrap()).and(one);
            stage.among(&both, asks(3)).await;
        }),
        scene("one can wait for both", move |stage| async move {
            let one = stage.throttle("queue", queue()).headers(HeaderFormat::Draft10).build().unwrap();
            let other = bucket(&stage, rate!("2/h")).runtime(stage.runtime.clone()).build().unwrap();
            stage.among(&ThrottleSet::new().and(one).and(other), asks(3)).await;
        }),
        scene("one denies while the other would wait", move |stage| async move {
            let one = stage
                .throttle("queue", queue())
                .headers(HeaderFormat::Draft10)
                .runtime(stage.runtime.clone());
            let other = bucket(&stage, rate!("1/h")).build().unwrap();
            stage.among(&ThrottleSet::new().and(one.build().unwrap()).and(other), asks(2)).await;
        }),
    ]
}

#[test]
fn golden_waits_among() {
    play("waits-among", SEVERAL, &among());
}
