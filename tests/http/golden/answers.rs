//! The answers to requests that do not pass: documents, gRPC statuses, and the text of one's own code.

use http::{HeaderName, HeaderValue, Response, StatusCode};
use traffik::storage::BackendError;
use traffik::web::{Anonymous, HeaderFormat, OnError, Refusal, RequestError, RequestParts};
use traffik::{All, Class, ErrorKind, FixedWindow, LeakyBucketQueue, rate};
use traffik_test_support::faulty::before;
use traffik_test_support::ledger::{self, name};

use super::stage::{ALONE, Ask, Scene, Stage, ask, play, scene};

fn window() -> FixedWindow {
    FixedWindow::new(rate!("1/1500ms"))
}

/// The kinds of request that are answered in different ways.
fn kinds() -> [Ask; 6] {
    let grpc = |kind| ask(1).to("POST", "/package.Service/Echo").with("content-type", kind);
    [
        ask(1),
        ask(1).to("HEAD", "/"),
        ask(1).with("accept", "text/plain").with("content-type", "application/json"),
        grpc("application/grpc"),
        grpc("application/grpc+proto"),
        grpc("application/grpc-web"),
    ]
}

/// Denied, never admitted, failed, refused: by each kind of request.
fn plain() -> Vec<Scene> {
    vec![
        scene("denied", |stage| async move {
            let one = stage.throttle("api", window()).headers(HeaderFormat::Draft10).build().unwrap();
            stage.ask(&one, [ask(1)].into_iter().chain(kinds())).await;
        }),
        scene("never", |stage| async move {
            let one =
                stage.throttle("api", window()).headers(HeaderFormat::XRateLimit).cost(2).build().unwrap();
            stage.ask(&one, kinds()).await;
        }),
        scene("no runtime to wait on", |stage| async move {
            let queue = LeakyBucketQueue::new(rate!("1/1500ms")).queue(2).unwrap();
            let one = stage.throttle("api", queue).headers(HeaderFormat::Draft06).build().unwrap();
            stage.ask(&one, [ask(1)].into_iter().chain(kinds())).await;
        }),
        scene("failed", |stage| async move {
            let courses = [before(ErrorKind::Unavailable); 6];
            let one =
                stage.failing("api", window(), &courses).headers(HeaderFormat::Draft10).build().unwrap();
            stage.ask(&one, kinds()).await;
        }),
        scene("failed, with a wait", |stage| async move {
            let wait = OnError::ThrottleFor(std::time::Duration::from_micros(2_500_001));
            let courses = [before(ErrorKind::Unavailable); 6];
            let one = stage.failing("api", window(), &courses).on_error(wait).build().unwrap();
            stage.ask(&one, kinds()).await;
        }),
        scene("raised", |stage| async move {
            let courses = [before(ErrorKind::Unavailable); 6];
            let one = stage.failing("api", window(), &courses).on_error(OnError::Raise).build().unwrap();
            stage.ask(&one, kinds()).await;
        }),
        scene("rejected", |stage| async move {
            let one = stage.throttle("api", window()).headers(HeaderFormat::Draft10);
            let one = one.identifier(|_: RequestParts<'_>| traffik::web::Identity::anonymous());
            let one = one.anonymous(Anonymous::Reject(StatusCode::UNAUTHORIZED)).build().unwrap();
            stage.ask(&one, kinds()).await;
        }),
        scene("refused", |stage| async move {
            let detail = "say \"less\"\\, a\tline\nless: é";
            let refusal = move || Refusal::new(StatusCode::from_u16(499).unwrap(), detail);
            let one = stage.throttle("api", window()).headers(HeaderFormat::Draft10);
            let own = (HeaderName::from_static("x-own"), HeaderValue::from_static("1"));
            let one = one.header(own.0, own.1);
            let one = one.cost_by(move |_| Err(refusal().into())).build().unwrap();
            stage.ask(&one, kinds()).await;
        }),
    ]
}

#[test]
fn golden_answers() {
    play("answers", ALONE, &plain());
}

/// The facts that one's own code gets about a denial.
fn told(stage: &Stage, denial: &traffik::web::Denial<'_>) -> Response<bytes::Bytes> {
    let (client, outcome) = (name(denial.client), ledger::outcome(denial.outcome));
    let wait = denial.retry_after().map_or("in vain".to_owned(), |wait| format!("{} ms", wait.as_millis()));
    let path = denial.request.uri.path();
    stage.notes.line(&format!("  asked: {} {outcome} for {client} at {path}, {wait}", denial.throttle));
    for limit in denial.limits {
        stage.notes.line(&format!("  asked: {} {}", limit.name, ledger::decision(&limit.decision)));
    }
    let mut response = denial.response();
    *response.status_mut() = StatusCode::IM_A_TEAPOT;
    response.headers_mut().insert("x-handler", HeaderValue::from_static("here"));
    response.headers_mut().insert("x-own", HeaderValue::from_static("handler"));
    response
}

fn handled() -> Vec<Scene> {
    let scene_of = |told_as, later: bool| {
        scene(told_as, move |stage| async move {
            let limits = All([window(), FixedWindow::new(rate!("5/h"))]);
            let asked = stage.clone();
            let own = (HeaderName::from_static("x-own"), HeaderValue::from_static("throttle"));
            let one =
                stage.throttle("api", limits).headers(HeaderFormat::Draft10).policies(["short", "long"]);
            let one = one.denial_header(own.0, own.1);
            let one = if later {
                one.on_throttled_async(move |denial| {
                    let response = told(&asked, denial);
                    async move {
                        tokio::task::yield_now().await;
                        response
                    }
                })
            } else {
                one.on_throttled(move |denial| told(&asked, denial))
            };
            let one = one.min_wait(std::time::Duration::from_secs(2)).build().unwrap();
            stage.ask(&one, [ask(1), ask(1).to("GET", "/a"), ask(1).to("HEAD", "/a")]).await;
            one.set_cost(9);
            stage.ask(&one, [ask(1)]).await;
        })
    };
    vec![
        scene_of("by one's own code", false),
        scene_of("by one's own code, after a while", true),
        scene("from scratch", |stage| async move {
            let one = stage.throttle("api", window()).headers(HeaderFormat::Draft10);
            let one = one.on_throttled(|_| Response::new("slow down".into())).build().unwrap();
            stage.ask(&one, [ask(1), ask(1)]).await;
        }),
    ]
}

#[test]
fn golden_handlers() {
    play("handlers", ALONE, &handled());
}

/// Functions of a request that fail: each of them, at once and after a while.
fn functions() -> Vec<Scene> {
    fn failed<T>() -> Result<T, RequestError> {
        Err(BackendError::new(ErrorKind::Timeout, "who knows is down").into())
    }
    fn refused<T>() -> Result<T, RequestError> {
        Err(Refusal::new(StatusCode::BAD_REQUEST, "a number is wanted").into())
    }
    let api = |stage: &Stage| stage.throttle("api", window()).headers(HeaderFormat::Draft10);
    macro_rules! scenes {
        ($($told:literal: $method:ident $answer:expr;)+) => {
            vec![$(scene($told, move |stage| async move {
                let one = api(&stage).$method(|_| $answer).build().unwrap();
                stage.ask(&one, [ask(1)]).await;
            })),+]
        };
    }
    scenes! {
        "the limit fails": strategy_by failed::<FixedWindow>();
        "the limit fails later": strategy_by_async async { failed::<FixedWindow>() };
        "the limit is refused": strategy_by refused::<FixedWindow>();
        "the limit is refused later": strategy_by_async async { refused::<FixedWindow>() };
        "the cost fails": cost_by failed::<u32>();
        "the cost fails later": cost_by_async async { failed::<u32>() };
        "the cost is refused": cost_by refused::<u32>();
        "the cost is refused later": cost_by_async async { refused::<u32>() };
        "the class fails": class_by failed::<Class>();
        "the class fails later": class_by_async async { failed::<Class>() };
        "the class is refused": class_by refused::<Class>();
        "the class is refused later": class_by_async async { refused::<Class>() };
        "who it is fails later": identifier_by_async async { failed::<traffik::web::Identity>() };
        "who it is is refused later": identifier_by_async async { refused::<traffik::web::Identity>() };
        "all is well later": cost_by_async async { 1 };
    }
}

#[test]
fn golden_functions() {
    play("functions", ALONE, &functions());
}
