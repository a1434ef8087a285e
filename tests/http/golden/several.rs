//! Several throttles as one: the one that denies, those that are charged, and the answer to the client.

use http::{HeaderName, HeaderValue, Response};
use traffik::layer::DenyCache;
use traffik::runtime::Runtime;
use traffik::web::{HeaderFormat, Identity, Refusal, RequestParts, Rule, ThrottleSet};
use traffik::{FixedWindow, Rate, TokenBucket, rate};
use traffik_test_support::faulty::{SECOND, WELL, slow};

use super::stage::{Bucket, SEVERAL, Scene, Stage, ask, asks, play, scene};

fn bucket(stage: &Stage, uid: &'static str, rate: Rate) -> Bucket {
    stage.throttle(uid, TokenBucket::new(rate)).headers(HeaderFormat::Draft10)
}

/// Two throttles of these rates, asked so often.
fn two(name: &'static str, rates: [Rate; 2], number: usize) -> Scene {
    scene(name, move |stage| async move {
        let one = bucket(&stage, "one", rates[0]).build().unwrap();
        let other = bucket(&stage, "other", rates[1]).build().unwrap();
        stage.among(&ThrottleSet::new().and(one).and(other), asks(number)).await;
    })
}

fn denials() -> Vec<Scene> {
    let own = |value| (HeaderName::from_static("x-own"), HeaderValue::from_static(value));
    vec![
        two("the first denies", [rate!("1/h"), rate!("5/h")], 3),
        two("the second denies", [rate!("5/h"), rate!("1/h")], 3),
        two("both deny", [rate!("1/h"), rate!("1/2h")], 3),
        scene("three, of which the middle one denies", |stage| async move {
            let all = [("a", rate!("9/h")), ("b", rate!("1/h")), ("c", rate!("5/h"))];
            let all = all.into_iter().fold(ThrottleSet::new(), |all, (uid, rate)| {
                all.and(bucket(&stage, uid, rate).build().unwrap())
            });
            stage.notes.line(&all.names().collect::<Vec<_>>().join(" "));
            stage.among(&all, [ask(1), ask(1), ask(2), ask(1).after(3_600_000)]).await;
        }),
        scene("one never admits, and one denies", |stage| async move {
            let soon = bucket(&stage, "soon", rate!("1/h")).build().unwrap();
            let never = bucket(&stage, "never", rate!("1/h")).cost(2).build().unwrap();
            stage.among(&ThrottleSet::new().and(soon.clone()), asks(1)).await;
            stage.among(&ThrottleSet::new().and(soon).and(never), asks(1)).await;
        }),
        scene("dialects of their own", |stage| async move {
            let hour = stage.throttle("hour", FixedWindow::new(rate!("10/h"))).headers(HeaderFormat::Draft10);
            let minute =
                stage.throttle("minute", FixedWindow::new(rate!("2/min"))).headers(HeaderFormat::Draft10);
            let plain =
                stage.throttle("plain", FixedWindow::new(rate!("9/d"))).headers(HeaderFormat::XRateLimit);
            let silent = stage.throttle("silent", FixedWindow::new(rate!("3/d")));
            let all = ThrottleSet::new().and(hour.build().unwrap()).and(minute.build().unwrap());
            let all = all.and(plain.build().unwrap()).and(silent.build().unwrap());
            stage.among(&all, asks(3)).await;
        }),
        scene("headers of their own, and of the service", move |stage| async move {
            let one = bucket(&stage, "one", rate!("1/h")).header(own("one").0, own("one").1);
            let other = bucket(&stage, "other", rate!("9/h")).denial_header(own("two").0, own("two").1);
            let both = ThrottleSet::new().and(one.build().unwrap()).and(other.build().unwrap());
            let inner = || ask(1).with("answer-x-own", "inner").with("answer-ratelimit", "inner");
            stage.among(&both, [inner(), inner()]).await;
        }),
        scene("handlers of their own", |stage| async move {
            let of = |name: &'static str| {
                move |denial: &traffik::web::Denial<'_>| {
                    let limits: Vec<_> = denial.limits.iter().map(|limit| limit.name).collect();
                    let told = format!("{name}: {} denies, of {}", denial.throttle, limits.join(" "));
                    let mut response = denial.response();
                    *response.body_mut() = told.into();
                    response
                }
            };
            let one = bucket(&stage, "one", rate!("2/h")).on_throttled(of("one")).build().unwrap();
            let handler = |_: &traffik::web::Denial<'_>| async { Response::new("later".into()) };
            let other = bucket(&stage, "other", rate!("1/h")).on_throttled_async(handler).build().unwrap();
            let both = ThrottleSet::new().and(one.clone()).and(other);
            stage.among(&both, asks(2)).await;
            stage.among(&ThrottleSet::new().and(one), asks(1)).await;
            stage.among(&both, asks(1)).await;
        }),
        scene("denied by gRPC, and the least waits", |stage| async move {
            let wait = std::time::Duration::from_secs(7_200);
            let one = bucket(&stage, "one", rate!("1/h")).min_wait(wait).build().unwrap();
            let other = bucket(&stage, "other", rate!("1/h")).build().unwrap();
            let call = || ask(1).to("POST", "/a/b").with("content-type", "application/grpc");
            stage
                .among(
                    &ThrottleSet::new().and(other).and(one),
                    [call(), call(), ask(1), ask(1).to("HEAD", "/")],
                )
                .await;
        }),
    ]
}

#[test]
fn golden_several() {
    play("several", SEVERAL, &denials());
}

fn who_counts() -> Vec<Scene> {
    let which = |name: &'static str, most_specific: bool| {
        scene(name, move |stage| async move {
            let all = bucket(&stage, "all", rate!("2/h")).build().unwrap();
            let api =
                bucket(&stage, "api", rate!("1/h")).apply_to(Rule::new().prefix("/api")).build().unwrap();
            let me =
                bucket(&stage, "me", rate!("3/h")).apply_to(Rule::new().path("/api/me")).build().unwrap();
            let later = |request: RequestParts<'_>| {
                let is_so = request.headers.contains_key("later");
                async move { is_so }
            };
            let later = Rule::new().path("/api/me").when_async(later);
            let later = bucket(&stage, "later", rate!("1/h")).apply_to(later).build().unwrap();
            let all = ThrottleSet::new().and(all).and(api).and(me).and(later);
            let all = if most_specific { all.most_specific() } else { all };
            let me = || ask(1).to("GET", "/api/me");
            let asked = [me(), me().with("later", "1"), me().with("later", "1"), me(), me()];
            stage.among(&all, asked).await;
            stage.among(&all, [ask(1).to("GET", "/api/x"), ask(1).to("GET", "/api/x"), ask(1)]).await;
        })
    };
    vec![
        which("all that match", false),
        which("the most specific one", true),
        scene("one is exempt, one refuses", |stage| async move {
            let exempt =
                bucket(&stage, "exempt", rate!("1/h")).identifier(|_: RequestParts<'_>| Identity::Exempt);
            let exempt = exempt.build().unwrap();
            let real = bucket(&stage, "real", rate!("5/h")).build().unwrap();
            stage.among(&ThrottleSet::new().and(exempt.clone()), asks(1)).await;
            stage.among(&ThrottleSet::new().and(exempt.clone()).and(real.clone()), asks(1)).await;
            let refuses = bucket(&stage, "refuses", rate!("1/h"))
                .cost_by(|_| Err(Refusal::new(http::StatusCode::BAD_REQUEST, "no").into()));
            let refuses = refuses.build().unwrap();
            stage.among(&ThrottleSet::new().and(real.clone()).and(refuses.clone()), asks(1)).await;
            stage.among(&ThrottleSet::new().and(refuses).and(exempt).and(real), asks(1)).await;
        }),
        scene("one is disabled", |stage| async move {
            let off = bucket(&stage, "off", rate!("1/h")).disabled().build().unwrap();
            let real = bucket(&stage, "real", rate!("2/h")).build().unwrap();
            let both = ThrottleSet::new().and(off.clone()).and(real);
            stage.among(&both, asks(2)).await;
            off.enable();
            stage.among(&both, asks(1)).await;
        }),
        scene("what a cache knows", |stage| async move {
            let shared = bucket(&stage, "shared", rate!("5/h")).build().unwrap();
            let store = stage.storage::<TokenBucket>("own", &[]);
            let cache = std::sync::Arc::new(DenyCache::builder(store).clock(stage.runtime.clone()).build());
            let own = traffik::web::Throttle::builder("own", TokenBucket::new(rate!("1/h")), cache);
            let own = own.headers(HeaderFormat::Draft10).observe(stage.notes.clone()).build().unwrap();
            stage.among(&ThrottleSet::new().and(shared).and(own), asks(4)).await;
        }),
        scene("where the service is told it stands with each", |stage| async move {
            let one = bucket(&stage, "one", rate!("5/h")).expose().build().unwrap();
            let other = bucket(&stage, "other", rate!("3/h")).expose().build().unwrap();
            stage.among(&ThrottleSet::new().and(one).and(other), asks(2)).await;
        }),
        scene("a client that goes away meanwhile", |stage| async move {
            for background in [false, true] {
                let courses = [slow(SECOND), slow(SECOND), slow(SECOND), WELL];
                let one = stage.failing("one", TokenBucket::new(rate!("5/h")), &courses);
                let runtime = stage.runtime.clone();
                let one = if background { one.spawner(move |it| runtime.spawn(it)) } else { one };
                let other = bucket(&stage, "other", rate!("1/h")).build().unwrap();
                let both = ThrottleSet::new().and(one.build().unwrap()).and(other);
                stage.among(&both, [ask(1).leaves(500), ask(1).after(20_000).leaves(500)]).await;
                stage.among(&both, [ask(1).after(20_000)]).await;
            }
        }),
    ]
}

#[test]
fn golden_who_counts() {
    play("who-counts", SEVERAL, &who_counts());
}
