//! Throttles that are enforced for nobody, or for a part of the clients.

use http::StatusCode;
use traffik::runtime::Runtime;
use traffik::web::{
    Anonymous, Enforcement, HeaderFormat, Identity, OnError, Refusal, RequestParts, Rule, ThrottleSet,
};
use traffik::{ErrorKind, LeakyBucketQueue, TokenBucket, rate};
use traffik_test_support::faulty::{Course, SECOND, WELL, before, slow};

use super::stage::{ALONE, Bucket, SEVERAL, Scene, Stage, ask, asks, play, scene};

fn shadow(stage: &Stage, courses: &[Course]) -> Bucket {
    let one = stage.failing("shadow", TokenBucket::new(rate!("1/h")), courses);
    one.headers(HeaderFormat::Draft10).enforcement(Enforcement::Shadow)
}

fn alone() -> Vec<Scene> {
    let slowly = || ask(1).with("answer-after", "5");
    vec![
        scene("a shadow", move |stage| async move {
            stage.ask(&shadow(&stage, &[]).build().unwrap(), [ask(1), slowly(), slowly(), ask(2)]).await;
        }),
        scene("a shadow with a background", move |stage| async move {
            let runtime = stage.runtime.clone();
            let one = shadow(&stage, &[WELL, WELL, before(ErrorKind::Full), slow(SECOND)]);
            let one = one.spawner(move |future| runtime.spawn(future)).build().unwrap();
            stage.ask(&one, [ask(1), ask(1), ask(1), ask(1), ask(1).after(5_000)]).await;
        }),
        scene("a shadow whose storage fails", move |stage| async move {
            let courses = [before(ErrorKind::Timeout); 2];
            stage.ask(&shadow(&stage, &courses).build().unwrap(), [slowly(), slowly(), slowly()]).await;
        }),
        scene("a shadow that never admits, and one that waits", move |stage| async move {
            stage.ask(&shadow(&stage, &[]).cost(2).build().unwrap(), [slowly()]).await;
            let queue = LeakyBucketQueue::new(rate!("1/s")).queue(1).unwrap();
            for waits in [false, true] {
                let one = stage.throttle("queue", queue).enforcement(Enforcement::Shadow);
                let runtime = stage.runtime.clone();
                let one = if waits { one.runtime(runtime) } else { one };
                stage.ask(&one.build().unwrap(), [slowly(), slowly(), slowly()]).await;
            }
        }),
        scene("a shadow that refuses, rejects, exempts and fails", move |stage| async move {
            let refused = |_: RequestParts<'_>| {
                Err::<u32, traffik::web::RequestError>(Refusal::new(StatusCode::BAD_REQUEST, "no").into())
            };
            stage.ask(&shadow(&stage, &[]).cost_by(refused).build().unwrap(), [slowly()]).await;
            let rejected = |_: RequestParts<'_>| Identity::anonymous();
            let one =
                shadow(&stage, &[]).identifier(rejected).anonymous(Anonymous::Reject(StatusCode::FORBIDDEN));
            stage.ask(&one.build().unwrap(), [slowly()]).await;
            let exempt = |_: RequestParts<'_>| Identity::Exempt;
            stage.ask(&shadow(&stage, &[]).identifier(exempt).build().unwrap(), [slowly()]).await;
            let failure = || traffik::storage::BackendError::new(ErrorKind::Other, "unknown");
            let one = shadow(&stage, &[]).strategy_by(move |_| Err(failure().into()));
            stage.ask(&one.on_error(OnError::Raise).build().unwrap(), [slowly()]).await;
        }),
        scene("what responses decide of a shadow", move |stage| async move {
            let one = shadow(&stage, &[]).charge_if(|response| response.status == 401).build().unwrap();
            stage.ask(&one, [slowly(), slowly().with("answer-status", "401"), slowly()]).await;
        }),
        scene("a part of the clients", |stage| async move {
            let one = shadow(&stage, &[]).enforcement(Enforcement::percent(40, 7)).build().unwrap();
            stage.ask(&one, (1..=8).flat_map(|peer| [ask(peer), ask(peer)])).await;
            one.set_enforcement(Enforcement::Full);
            stage.ask(&one, (1..=2).map(ask)).await;
        }),
        scene("a part of the clients, whom a refusal meets as well", |stage| async move {
            let refused = |_: RequestParts<'_>| {
                Err::<u32, traffik::web::RequestError>(Refusal::new(StatusCode::BAD_REQUEST, "no").into())
            };
            for percent in [0, 40, 100] {
                let one = shadow(&stage, &[]).enforcement(Enforcement::percent(percent, 7)).cost_by(refused);
                stage.ask(&one.build().unwrap(), (1..=4).map(ask)).await;
            }
        }),
    ]
}

#[test]
fn golden_shadows() {
    play("shadows", ALONE, &alone());
}

fn among() -> Vec<Scene> {
    let slowly = || ask(1).with("answer-after", "5");
    let real =
        |stage: &Stage| stage.throttle("real", TokenBucket::new(rate!("2/h"))).headers(HeaderFormat::Draft10);
    vec![
        scene("a shadow before one that is enforced", move |stage| async move {
            let shadow = shadow(&stage, &[]).build().unwrap();
            let both = ThrottleSet::new().and(shadow).and(real(&stage).build().unwrap());
            stage.among(&both, vec![slowly(); 4]).await;
        }),
        scene("a shadow after one that is enforced", move |stage| async move {
            let real = real(&stage).build().unwrap();
            let both = ThrottleSet::new().and(real).and(shadow(&stage, &[]).build().unwrap());
            stage.among(&both, vec![slowly(); 4]).await;
        }),
        scene("two shadows and nothing else", move |stage| async move {
            let one = shadow(&stage, &[]).build().unwrap();
            let other = stage.throttle("other", TokenBucket::new(rate!("2/h")));
            let other = other.enforcement(Enforcement::Shadow).build().unwrap();
            stage.among(&ThrottleSet::new().and(one).and(other), vec![slowly(); 3]).await;
        }),
        scene("a shadow that fails", move |stage| async move {
            let shadow = shadow(&stage, &[before(ErrorKind::Full); 2]).on_error(OnError::Throttle);
            let both = ThrottleSet::new().and(real(&stage).build().unwrap()).and(shadow.build().unwrap());
            stage.among(&both, vec![slowly(); 3]).await;
        }),
        scene("a shadow that is more specific", move |stage| async move {
            let shadow = shadow(&stage, &[]).apply_to(Rule::new().path("/api/me")).build().unwrap();
            let real = real(&stage).apply_to(Rule::new().prefix("/api")).build().unwrap();
            let both = ThrottleSet::new().and(real).and(shadow).most_specific();
            stage.among(&both, vec![slowly().to("GET", "/api/me"); 3]).await;
        }),
        scene("a part of the clients", move |stage| async move {
            let part = shadow(&stage, &[]).enforcement(Enforcement::percent(40, 7)).build().unwrap();
            let both = ThrottleSet::new().and(part).and(real(&stage).build().unwrap());
            stage.among(&both, (1..=4).flat_map(|peer| [ask(peer), ask(peer)])).await;
        }),
        scene("no throttle at all", |stage| async move {
            stage.among(&ThrottleSet::new(), asks(1)).await;
        }),
    ]
}

#[test]
fn golden_shadows_among() {
    play("shadows-among", SEVERAL, &among());
}
