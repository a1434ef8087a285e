//! Calls that leave this process: when each is made, what becomes of those that are not, and real clients.

use std::convert::Infallible;
use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{join_all, poll_immediate};
use http::{Request, Response};
use http_body_util::{Empty, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use tower::util::BoxCloneService;
use tower::{Layer, Service, ServiceExt, service_fn};
use traffik::runtime::{Manual, Runtime, Tokio};
use traffik::storage::{AsyncStorage, BackendError, Local};
use traffik::web::Outgoing;
use traffik::{
    AsyncLimiter, Class, ErrorKind, Gcra, Label, LeakyBucketQueue, Memory, Ratio, Strategy, Tiered,
    TokenBucket, WaitError, rate,
};

use crate::Broken;
use crate::sockets::serve;

const SECOND: Duration = Duration::from_secs(1);

type Here<S> = Local<Memory<S, Manual>>;
type BoxError = Box<dyn Error + Send + Sync>;

fn outgoing<S: Strategy>(strategy: S, runtime: &Manual) -> Outgoing<S, Here<S>> {
    let storage = Local(Memory::builder().capacity(100).clock(runtime.clone()).build());
    Outgoing::new(AsyncLimiter::new(strategy, storage), runtime.clone())
}

fn call(target: &str) -> Request<String> {
    Request::get(target).body(String::new()).unwrap()
}

/// Calls as they arrive: the path of each, and the second.
#[derive(Clone)]
struct Api {
    runtime: Manual,
    arrived: Arc<Mutex<Vec<(String, u64)>>>,
}

impl Api {
    fn new(runtime: &Manual) -> Self {
        Self { runtime: runtime.clone(), arrived: Arc::default() }
    }

    fn behind<S: Strategy, M: AsyncStorage<S> + 'static>(
        &self,
        outgoing: &Outgoing<S, M>,
    ) -> BoxCloneService<Request<String>, Response<()>, BoxError> {
        let api = self.clone();
        BoxCloneService::new(outgoing.layer(service_fn(move |call: Request<String>| {
            let second = api.runtime.now().as_micros() / 1_000_000;
            api.arrived.lock().unwrap().push((call.uri().path().to_owned(), second));
            async { Ok::<_, Infallible>(Response::new(())) }
        })))
    }

    fn arrived(&self) -> Vec<(String, u64)> {
        self.arrived.lock().unwrap().clone()
    }
}

fn at<const N: usize>(expected: [(&str, u64); N]) -> Vec<(String, u64)> {
    expected.map(|(path, second)| (path.to_owned(), second)).into()
}

/// Why a call was not made.
fn reason(error: BoxError) -> WaitError<BackendError> {
    *error.downcast().expect("the error of waiting")
}

/// Each class of calls waits by its own rate.
#[test]
fn a_class_of_calls_has_the_rate_of_its_tier() {
    let tiers = [(Label::from("free"), Ratio::ONE), (Label::from("paid"), Ratio::new(2, 1).unwrap())];
    let runtime = Manual::new();
    let limit = Tiered::new(Gcra::new(rate!("1/s")), tiers).unwrap();
    let tier = |path: &str| if path == "/paid" { "paid" } else { "free" };
    let outgoing = outgoing(limit, &runtime)
        .key_by(|call| call.uri.path().to_owned())
        .class_by(move |call| Class::new().with_tier(tier(call.uri.path())));
    let api = Api::new(&runtime);
    let paths = ["/free", "/paid", "/paid", "/free", "/paid", "/paid"];
    let calls = paths.map(|path| api.behind(&outgoing).oneshot(call(path)));
    assert!(runtime.run(join_all(calls)).unwrap().iter().all(Result::is_ok));
    let seconds = |path: &str| -> Vec<u64> {
        api.arrived().into_iter().filter(|(arrived, _)| arrived == path).map(|(_, second)| second).collect()
    };
    assert_eq!((seconds("/free"), seconds("/paid")), (vec![0, 1], vec![0, 0, 1, 1]));
}

#[test]
fn calls_are_made_in_their_order_one_at_each_turn() {
    let runtime = Manual::new();
    let (outgoing, api) = (outgoing(Gcra::new(rate!("1/s")), &runtime), Api::new(&runtime));
    let calls = ["/a", "/b", "/c", "/d"].map(|path| api.behind(&outgoing).oneshot(call(path)));
    let answered = runtime.run(join_all(calls)).unwrap();
    assert!(answered.iter().all(Result::is_ok));
    assert_eq!(api.arrived(), at([("/a", 0), ("/b", 1), ("/c", 2), ("/d", 3)]));
}

/// Also where the strategy itself gives turns in the future.
#[test]
fn calls_of_a_queue_are_made_in_their_order() {
    let runtime = Manual::new();
    let queue = LeakyBucketQueue::new(rate!("1/s")).queue(2).unwrap();
    let (outgoing, api) = (outgoing(queue, &runtime), Api::new(&runtime));
    let calls = ["/a", "/b", "/c", "/d", "/e"].map(|path| api.behind(&outgoing).oneshot(call(path)));
    assert!(runtime.run(join_all(calls)).unwrap().iter().all(Result::is_ok));
    assert_eq!(api.arrived(), at([("/a", 0), ("/b", 1), ("/c", 2), ("/d", 3), ("/e", 4)]));
}

#[test]
fn each_key_has_a_budget_of_its_own_and_a_call_costs_what_is_said() {
    let runtime = Manual::new();
    let outgoing = outgoing(TokenBucket::new(rate!("2/s")), &runtime)
        .key_by(|call| call.uri.host().unwrap_or_default().to_owned())
        .cost_by(|call| if call.uri.path() == "/dear" { 2 } else { 1 });
    let api = Api::new(&runtime);
    let calls = ["http://one/dear", "http://one/next", "http://two/a", "http://two/b"];
    let calls = calls.map(|target| api.behind(&outgoing).oneshot(call(target)));
    assert!(runtime.run(join_all(calls)).unwrap().iter().all(Result::is_ok));
    let mut arrived = api.arrived();
    arrived.sort();
    assert_eq!(arrived, at([("/a", 0), ("/b", 0), ("/dear", 0), ("/next", 0)]));
    assert_eq!(runtime.now().as_micros(), 500_000, "half a second for the next token");
    // More than there is at any time.
    let outgoing = outgoing.cost_by(|_| 3);
    let told = runtime.run(api.behind(&outgoing).oneshot(call("/"))).unwrap().unwrap_err();
    assert!(matches!(reason(told), WaitError::Never));
}

#[test]
fn a_call_that_would_wait_for_too_long_fails_at_once_and_takes_nothing() {
    let runtime = Manual::new();
    let outgoing = outgoing(Gcra::new(rate!("1/s")), &runtime).max_wait(2 * SECOND);
    let api = Api::new(&runtime);
    let calls = ["/a", "/b", "/c", "/d", "/e"].map(|path| api.behind(&outgoing).oneshot(call(path)));
    let answered = runtime.run(join_all(calls)).unwrap();
    let failed: Vec<_> = answered.into_iter().filter_map(Result::err).collect();
    let told: Vec<_> = failed.iter().map(|error| error.to_string()).collect();
    assert_eq!(told, ["the hit would have to wait for 3s, which is too long"; 2]);
    for error in failed {
        assert!(matches!(reason(error), WaitError::TooLong { wait } if wait == 3 * SECOND));
    }
    assert_eq!(api.arrived(), at([("/a", 0), ("/b", 1), ("/c", 2)]));
    // The turn after the last one is free.
    assert!(runtime.run(api.behind(&outgoing).oneshot(call("/f"))).unwrap().is_ok());
    assert_eq!(api.arrived().last(), Some(&("/f".to_owned(), 3)));
}

#[test]
fn a_call_that_is_dropped_takes_nothing_and_those_behind_it_move_up() {
    for is_queue in [false, true] {
        let runtime = Manual::new();
        let queue = LeakyBucketQueue::new(rate!("1/s")).queue(if is_queue { 5 } else { 0 }).unwrap();
        let (outgoing, api) = (outgoing(queue, &runtime), Api::new(&runtime));
        let send = |path| Box::pin(api.behind(&outgoing).oneshot(call(path)));
        let first_then = async {
            assert!(send("/first").await.is_ok());
            let (mut dropped, mut next, mut last) = (send("/dropped"), send("/next"), send("/last"));
            for waiting in [&mut dropped, &mut next, &mut last] {
                assert!(poll_immediate(waiting).await.is_none());
            }
            assert!(runtime.timeout(SECOND / 2, dropped).await.is_err());
            assert!(join_all([next, last]).await.iter().all(Result::is_ok));
        };
        runtime.run(first_then).unwrap();
        assert_eq!(api.arrived(), at([("/first", 0), ("/next", 1), ("/last", 2)]), "queue: {is_queue}");
    }
}

/// A client that is asked whether it is ready, and not called, uses up no turn; and the one that said so is
/// the one that is called.
#[test]
fn readiness_takes_no_turn_and_the_client_that_is_ready_is_called() {
    struct Once {
        is_ready: bool,
    }
    impl Clone for Once {
        fn clone(&self) -> Self {
            Self { is_ready: false }
        }
    }
    impl Service<Request<String>> for Once {
        type Response = Response<()>;
        type Error = Infallible;
        type Future = std::future::Ready<Result<Response<()>, Infallible>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            self.is_ready = true;
            Poll::Ready(Ok(()))
        }
        fn call(&mut self, _: Request<String>) -> Self::Future {
            assert!(std::mem::take(&mut self.is_ready), "called before it is ready");
            std::future::ready(Ok(Response::new(())))
        }
    }
    let runtime = Manual::new();
    let mut client = outgoing(Gcra::new(rate!("1/s")), &runtime).layer(Once { is_ready: false });
    let called = runtime.run(async {
        for _ in 0..5 {
            client.ready().await?;
        }
        client.ready().await?.call(call("/")).await?;
        assert_eq!(runtime.now().as_micros(), 0);
        client.ready().await?.call(call("/")).await
    });
    called.unwrap().unwrap();
    assert_eq!(runtime.now().as_micros(), 1_000_000);
}

#[test]
fn while_the_storage_fails_calls_fail_with_it_or_pass() {
    let runtime = Manual::new();
    let limiter = || AsyncLimiter::new(Gcra::new(rate!("1/h")), Broken(ErrorKind::Unavailable));
    let (outgoing, api) = (Outgoing::new(limiter(), runtime.clone()), Api::new(&runtime));
    let told = runtime.run(api.behind(&outgoing).oneshot(call("/closed"))).unwrap().unwrap_err();
    assert_eq!(told.to_string(), "broken for a test");
    assert!(matches!(reason(told), WaitError::Storage(failure) if failure.kind() == ErrorKind::Unavailable));
    let open = outgoing.fail_open();
    for _ in 0..3 {
        assert!(runtime.run(api.behind(&open).oneshot(call("/open"))).unwrap().is_ok());
    }
    assert_eq!(api.arrived(), at([("/open", 0); 3]));
}

/// A server that counts its calls.
async fn server() -> (String, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let service = hyper::service::service_fn(move |_: Request<Incoming>| {
        counted.fetch_add(1, Ordering::Relaxed);
        async { Ok::<_, Infallible>(Response::new(Full::from("ok"))) }
    });
    (format!("http://{}/", serve(service).await), calls)
}

/// Of hyper, of reqwest and of a hand-written client: clones have one budget.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_of_all_kinds_share_a_budget() {
    let (url, calls) = server().await;
    let outgoing = Outgoing::in_memory(TokenBucket::new(rate!("3/w")), Tokio).max_wait(SECOND);
    let mut hyper = outgoing.layer(Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>());
    let mut ask = async || {
        hyper.ready().await?.call(Request::get(&url).body(Empty::new()).unwrap()).await.map(|it| it.status())
    };
    assert_eq!(ask().await.unwrap(), 200);
    let reqwest =
        reqwest_middleware::ClientBuilder::new(reqwest::Client::new()).with(outgoing.clone()).build();
    let answer = reqwest.get(&url).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "ok"));
    outgoing.until_ready(&call(&url)).await.unwrap();

    assert!(matches!(reason(ask().await.unwrap_err()), WaitError::TooLong { wait } if wait > 1_000 * SECOND));
    let reqwest_middleware::Error::Middleware(told) = reqwest.get(&url).send().await.unwrap_err() else {
        panic!("an error of the middleware");
    };
    assert!(
        matches!(told.downcast().unwrap(), WaitError::<BackendError>::TooLong { wait } if wait > 1_000 * SECOND)
    );
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}

/// reqwest's requests show what functions of them ask for: the whole target, headers and extensions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_of_reqwest_is_seen_whole() {
    #[derive(Clone)]
    struct Dear(u32);
    let (url, calls) = server().await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let outgoing = Outgoing::in_memory(TokenBucket::new(rate!("10/w")), Tokio)
        .key_by(move |call| {
            let tenant = call.headers.get("x-tenant").map(|it| it.to_str().unwrap().to_owned());
            noted.lock().unwrap().push(format!("{} {} {tenant:?}", call.method, call.uri));
            tenant.unwrap_or_default()
        })
        .cost_by(|call| call.extensions.get().map_or(1, |Dear(cost)| *cost))
        .max_wait(Duration::ZERO);
    let client = reqwest_middleware::ClientBuilder::new(reqwest::Client::new()).with(outgoing).build();
    let ask = async |tenant: &str, cost: u32| {
        let call = client.post(format!("{url}a/b?c=d")).header("x-tenant", tenant).with_extension(Dear(cost));
        call.send().await.is_ok()
    };
    assert_eq!((ask("ann", 9).await, ask("ann", 2).await, ask("ann", 1).await), (true, false, true));
    assert!(ask("bob", 10).await);
    let expected = format!("POST {url}a/b?c=d Some(\"ann\")");
    assert_eq!(seen.lock().unwrap().first(), Some(&expected));
    assert_eq!(calls.load(Ordering::Relaxed), 3);
}

/// tonic's clients take it: what they ask of a channel is asked of one behind it.
#[test]
fn a_channel_of_tonic_behind_it_is_one() {
    fn is_channel<T: tonic::client::GrpcService<tonic::body::Body>>(_: &T) {}
    let channel = service_fn(async |_: Request<tonic::body::Body>| {
        Ok::<_, Infallible>(Response::new(tonic::body::Body::empty()))
    });
    let runtime = Manual::new();
    is_channel(&outgoing(Gcra::new(rate!("1/s")), &runtime).layer(channel));
}
