//! The final cost of a request, and charges that add up within a service.

use http::StatusCode;
use http::response::Parts;
use traffik::runtime::Runtime;
use traffik::web::{HeaderFormat, Quota, Throttle, ThrottleSet};
use traffik::{Decision, TokenBucket, Verdict, rate};
use traffik_test_support::faulty::{MILLI, SECOND, WELL, before, slow};
use traffik_test_support::ledger::{self, Stored};

use super::stage::{ALONE, SEVERAL, Scene, Stage, ask, asks, play, scene};

type Buckets = Throttle<TokenBucket, Stored<TokenBucket>>;

fn wrong(response: &Parts) -> bool {
    response.status == StatusCode::UNAUTHORIZED
}

fn bytes(_: &Parts, bytes: u64) -> u32 {
    bytes as u32
}

fn by_response() -> Vec<Scene> {
    vec![
        scene("what does not count is given back", |stage| async move {
            let one = stage.throttle("login", TokenBucket::new(rate!("2/w"))).charge_if(wrong);
            let one = one.headers(HeaderFormat::XRateLimit).build().unwrap();
            let of = |status| ask(1).with("answer-status", status);
            stage.ask(&one, [of("200"), of("401"), of("204"), of("401"), of("200"), of("401")]).await;
        }),
        scene("a body is paid for when it has ended", |stage| async move {
            let one = stage.throttle("bytes", TokenBucket::new(rate!("100/w"))).cost(10).settle_by(bytes);
            let one = one.headers(HeaderFormat::XRateLimit).build().unwrap();
            let of = |bytes| ask(1).body(bytes);
            stage.ask(&one, [of(3), of(10), of(50), of(20).gives_up(), of(0), of(1_000), of(1)]).await;
        }),
        scene("a body that is given up, with a background", |stage| async move {
            let background = stage.runtime.clone();
            let one = stage.throttle("bytes", TokenBucket::new(rate!("100/w"))).cost(10).settle_by(bytes);
            let one = one.spawner(move |future| background.spawn(future)).build().unwrap();
            stage.ask(&one, [ask(1).body(3).gives_up(), ask(1).body(30).gives_up()]).await;
        }),
        scene("a refund that fails", |stage| async move {
            let courses = [WELL, before(traffik::ErrorKind::Timeout), WELL, WELL];
            let one = stage.failing("login", TokenBucket::new(rate!("5/w")), &courses).charge_if(wrong);
            stage.ask(&one.build().unwrap(), asks(3)).await;
        }),
        scene("a client that goes away before it is served", |stage| async move {
            let one =
                stage.throttle("login", TokenBucket::new(rate!("5/w"))).charge_if(wrong).build().unwrap();
            stage.ask(&one, [ask(1).with("answer-after", "2000").leaves(1_000), ask(1)]).await;
        }),
        scene("a client that goes away while a refund is on its way", |stage| async move {
            for background in [false, true] {
                let courses = [WELL, slow(SECOND)];
                let one = stage.failing("login", TokenBucket::new(rate!("5/w")), &courses).charge_if(wrong);
                let runtime = stage.runtime.clone();
                let one = if background { one.spawner(move |it| runtime.spawn(it)) } else { one };
                let one = one.build().unwrap();
                stage.ask(&one, [ask(1).leaves(500), ask(1).with("answer-status", "401").after(9_000)]).await;
            }
        }),
        scene("where the service is told it stands", |stage| async move {
            let one = stage.throttle("api", TokenBucket::new(rate!("2/w"))).expose().build().unwrap();
            stage.ask(&one, asks(3)).await;
        }),
        scene("a store that takes its time", |stage| async move {
            let courses = [slow(SECOND), slow(50 * MILLI), slow(MILLI)];
            let one =
                stage.failing("api", TokenBucket::new(rate!("2/w")), &courses).headers(HeaderFormat::Draft10);
            stage.ask(&one.build().unwrap(), [ask(1), ask(1).leaves(60), ask(1)]).await;
        }),
    ]
}

#[test]
fn golden_costs() {
    play("costs", ALONE, &by_response());
}

fn said(verdict: &Decision) -> String {
    format!("{}, {}", ledger::outcome(verdict.outcome()), ledger::decision(verdict))
}

/// The verbs of a client, and charges that add up.
fn within() -> Vec<Scene> {
    vec![
        scene("the verbs of a client", |stage| async move {
            let one = stage.throttle("api", TokenBucket::new(rate!("5/h"))).build().unwrap();
            let client = one.client(&ask(1).request()).await.unwrap().unwrap().cost(2);
            let line = |told: String| stage.notes.line(&told);
            line(format!("peek: {}", said(&client.peek().await.unwrap())));
            let check = client.check().await.unwrap();
            line(format!("check: {}", said(&check)));
            line(format!("charge: {}", said(&client.charge().await.unwrap())));
            line(format!("check: {}", said(&client.check().await.unwrap())));
            line(format!("refund: {}", said(&client.refund(Verdict::receipt(&check)).await.unwrap())));
            line(format!("stat: {} tokens", client.stat().await.unwrap().tokens));
            stage.notes.left();
            line(format!("reset: {}", said(&client.reset().await.unwrap())));
            let known = one.client_for(client.key().clone()).scope("export").cost(9);
            line(format!("check in a scope: {}", said(&known.check().await.unwrap())));
            stage.notes.left();
            one.set_strategy_by(|_| TokenBucket::new(rate!("5/h")));
            line(format!("no limit: {}", one.client_for(client.key().clone()).check().await.unwrap_err()));
        }),
        scene("a quota is charged as one", |stage| async move {
            let (credits, searches) = both(&stage, [&[], &[]]);
            let quota = Quota::new();
            quota.charge(of(&credits).await.cost(2));
            let nested = quota.nested();
            nested.charge(of(&credits).await.cost(3));
            nested.charge(of(&searches).await);
            let deeper = nested.nested();
            deeper.charge(of(&credits).await);
            deeper.end();
            let lost = nested.nested();
            lost.charge(of(&credits).await.cost(9));
            drop(lost);
            nested.end();
            apply(&stage, &quota).await;
            apply(&stage, &quota).await;
            quota.charge(of(&searches).await);
            quota.charge(of(&credits).await.cost(3));
            quota.charge(of(&credits).await.cost(3));
            apply(&stage, &quota).await;
            quota.give_up();
            quota.charge(of(&credits).await.cost(11));
            apply(&stage, &quota).await;
        }),
        scene("a quota whose store fails", |stage| async move {
            let broken = [before(traffik::ErrorKind::Unavailable); 2];
            for courses in [[&broken[..], &[]], [&[], &broken]] {
                let (credits, searches) = both(&stage, courses);
                let quota = Quota::new();
                quota.charge(of(&credits).await.cost(2));
                quota.charge(of(&searches).await);
                for _ in 0..3 {
                    apply(&stage, &quota).await;
                }
            }
        }),
        scene("what responses decide, of several", |stage| async move {
            let login = stage.throttle("login", TokenBucket::new(rate!("2/w"))).charge_if(wrong);
            let login = login.headers(HeaderFormat::XRateLimit).build().unwrap();
            let all = stage.throttle("bytes", TokenBucket::new(rate!("100/w"))).cost(10).settle_by(bytes);
            let all = all.headers(HeaderFormat::Draft10).expose().build().unwrap();
            let both = ThrottleSet::new().and(login).and(all);
            let of = |status, bytes| ask(1).with("answer-status", status).body(bytes);
            stage.among(&both, [of("200", 3), of("401", 20), of("401", 0), of("200", 0), of("401", 0)]).await;
        }),
    ]
}

fn both(stage: &Stage, courses: [&[traffik_test_support::faulty::Course]; 2]) -> (Buckets, Buckets) {
    let credits = stage.failing("credits", TokenBucket::new(rate!("10/w")), courses[0]).build().unwrap();
    let searches = stage.failing("searches", TokenBucket::new(rate!("3/w")), courses[1]).build().unwrap();
    (credits, searches)
}

async fn of(throttle: &Buckets) -> traffik::web::Client<TokenBucket, Stored<TokenBucket>> {
    throttle.client(&ask(1).request()).await.unwrap().unwrap()
}

async fn apply(stage: &Stage, quota: &Quota) {
    stage.notes.line(&format!("apply {}", quota.cost()));
    let told = match quota.apply().await {
        Ok(()) => "charged".to_owned(),
        Err(error) => error.to_string(),
    };
    stage.notes.line(&format!("  {told}, and {} are still to be charged", quota.cost()));
    stage.notes.left();
}

#[test]
fn golden_charges_within() {
    play("charges-within", SEVERAL, &within());
}
