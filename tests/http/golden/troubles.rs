//! One throttle whose storage fails: each kind of failure, and each remedy.

use std::time::Duration;

use http::Response;
use traffik::layer::{DenyCache, Failover};
use traffik::web::{ErrorAction, ErrorContext, HeaderFormat, OnError, Throttle, ThrottleDefaults};
use traffik::{ErrorKind, TokenBucket, rate};
use traffik_test_support::faulty::{Course, SECOND, WELL, after, before, slow};
use traffik_test_support::ledger::{self, name};

use super::stage::{ALONE, Ask, Scene, Stage, ask, asks, count, play, scene};

const KINDS: [ErrorKind; 9] = [
    ErrorKind::Contended,
    ErrorKind::Full,
    ErrorKind::Unavailable,
    ErrorKind::Timeout,
    ErrorKind::Invalid,
    ErrorKind::Closed,
    ErrorKind::Corrupt,
    ErrorKind::Denied,
    ErrorKind::Other,
];

fn bucket() -> TokenBucket {
    TokenBucket::new(rate!("30/h"))
}

/// A remedy that is chosen by the method. Notes all facts that one's own code gets.
fn remedy(stage: &Stage, trouble: &ErrorContext<'_>) -> ErrorAction {
    let client = trouble.client.map_or("nobody".to_owned(), name);
    let cost = trouble.cost.map_or("unknown".to_owned(), |cost| cost.to_string());
    stage.notes.line(&format!("  asked: {} {} for {client}, cost {cost}", trouble.throttle, trouble.failure));
    for limit in trouble.limits {
        stage.notes.line(&format!("  asked: {} {}", limit.name, ledger::decision(&limit.decision)));
    }
    match trouble.request.method.as_str() {
        "GET" => ErrorAction::Allow,
        "PUT" => ErrorAction::Answer(
            Response::builder().status(507).header("x-own", "1").body("full".into()).unwrap(),
        ),
        "POST" => ErrorAction::ThrottleFor(Duration::from_millis(2_001)),
        "PATCH" => ErrorAction::Throttle,
        _ => ErrorAction::Raise,
    }
}

/// Every kind of failure, with and without effect, and a request that goes well between.
fn each(name: &'static str, dialect: HeaderFormat, on_error: fn(&Stage) -> OnError) -> Scene {
    scene(name, move |stage| async move {
        let courses: Vec<Course> =
            KINDS.iter().flat_map(|kind| [before(*kind), after(*kind), WELL]).collect();
        let one = stage.failing("api", bucket(), &courses).headers(dialect).on_error(on_error(&stage));
        stage.ask(&one.build().unwrap(), asks(courses.len())).await;
    })
}

fn scenes() -> Vec<Scene> {
    let methods = || ["GET", "PUT", "POST", "PATCH", "DELETE"].map(|method| ask(1).to(method, "/"));
    vec![
        each("nobody passes", HeaderFormat::Draft10, |_| OnError::Throttle),
        each("all pass", HeaderFormat::XRateLimit, |_| OnError::Allow),
        scene("nobody passes, no headers", |stage| async move {
            let one = stage.failing("api", bucket(), &[before(ErrorKind::Full)]).build().unwrap();
            stage.ask(&one, asks(2)).await;
        }),
        scene("nobody passes for a while", |stage| async move {
            for (uid, wait) in [("none", Duration::ZERO), ("long", Duration::from_millis(90_000_001))] {
                let on_error = OnError::ThrottleFor(wait);
                let one = stage.failing(uid, bucket(), &[before(ErrorKind::Timeout)]).on_error(on_error);
                stage.ask(&one.headers(HeaderFormat::Draft06).build().unwrap(), asks(2)).await;
            }
        }),
        scene("it is raised", |stage| async move {
            let courses = [before(ErrorKind::Corrupt), after(ErrorKind::Closed)];
            let one = stage
                .failing("api", bucket(), &courses)
                .headers(HeaderFormat::Draft07)
                .on_error(OnError::Raise);
            stage.ask(&one.build().unwrap(), asks(3)).await;
        }),
        scene("one's own code says", move |stage| async move {
            let courses = [before(ErrorKind::Unavailable); 5];
            let asked = stage.clone();
            let on_error = OnError::ask(move |trouble| remedy(&asked, trouble));
            let one = stage
                .failing("api", bucket(), &courses)
                .headers(HeaderFormat::Draft10)
                .cost(3)
                .on_error(on_error);
            stage.ask(&one.build().unwrap(), methods()).await;
        }),
        scene("one's own code says, of a function that fails", move |stage| async move {
            let asked = stage.clone();
            let one = stage.throttle("api", bucket()).headers(HeaderFormat::Draft10).cost_by(|_| {
                Err(traffik::storage::BackendError::new(ErrorKind::Other, "the price list is lost").into())
            });
            let one = one.on_error(OnError::ask(move |trouble| remedy(&asked, trouble))).build().unwrap();
            stage.ask(&one, methods()).await;
        }),
        scene("a storage says for its throttles", |stage| async move {
            let storage = stage.storage::<TokenBucket>("api", &[before(ErrorKind::Full); 2]);
            let base = ThrottleDefaults::new(storage).on_error(OnError::Allow).headers(HeaderFormat::Draft10);
            let observed = |uid| base.throttle(uid, bucket()).observe(stage.notes.clone());
            stage.ask(&observed("all").build().unwrap(), asks(1)).await;
            stage.ask(&observed("own").on_error(OnError::Raise).build().unwrap(), asks(2)).await;
        }),
        scene("a store that fails late", |stage| async move {
            let course = Course { takes: [SECOND; 2], ..before(ErrorKind::Timeout) };
            let one = stage.failing("api", bucket(), &[course, slow(SECOND)]).headers(HeaderFormat::Draft10);
            stage.ask(&one.build().unwrap(), asks(2)).await;
        }),
        scene("another storage stands in", |stage| async move {
            let broken = stage.storage::<TokenBucket>("store", &[before(ErrorKind::Unavailable); 40]);
            let memory = stage.storage::<TokenBucket>("memory", &[]);
            let both = Failover::builder(broken, memory).clock(stage.runtime.clone()).build();
            let limit = TokenBucket::new(rate!("2/h"));
            let one = Throttle::builder("api", limit, std::sync::Arc::new(both)).observe(stage.notes.clone());
            stage.ask(&one.headers(HeaderFormat::Draft10).build().unwrap(), asks(4)).await;
        }),
        scene("denials are remembered", |stage| async move {
            let store = stage.storage::<TokenBucket>("store", &[]);
            let cache = DenyCache::builder(store).clock(stage.runtime.clone()).build();
            let limit = TokenBucket::new(rate!("1/h"));
            let one =
                Throttle::builder("api", limit, std::sync::Arc::new(cache)).observe(stage.notes.clone());
            let one = one.headers(HeaderFormat::Draft10).build().unwrap();
            let later: Ask = ask(1).after(3_600_000);
            stage.ask(&one, [ask(1), ask(1), ask(1), ask(1).after(1_500), later]).await;
        }),
    ]
}

#[test]
fn golden_troubles() {
    play("troubles", ALONE, &scenes());
}

/// The text of the metrics, with all that did not happen.
#[test]
fn golden_metrics() {
    count("metrics", ALONE[0], &each("metrics", HeaderFormat::None, |_| OnError::Throttle));
}
