//! Turns that are given up while they are waited for, on a real server: the time is virtual, and the server's
//! answers are waited for.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use tokio::task::JoinHandle;
use tower::{Layer, Service, service_fn};
use traffik::runtime::Manual;
use traffik::web::{Event, Observe, PeerAddress, RequestOutcome, Throttle, ThrottleLayer};
use traffik::{LeakyBucketQueue, Outcome, RedisStorage, rate};
use traffik_test_support::limited::run;
use traffik_test_support::servers::Redis;

const SECOND: Duration = Duration::from_secs(1);

fn request() -> Request<String> {
    let mut request = Request::new(String::new());
    request.extensions_mut().insert(PeerAddress::new(([192, 0, 2, 1], 1000).into()));
    request
}

/// Counts the requests that were admitted, delayed or not.
#[derive(Clone, Default)]
struct Admitted(Arc<Mutex<usize>>);

impl Observe for Admitted {
    fn seen(&self, event: &Event<'_>) {
        assert!(
            matches!(event.result, RequestOutcome::Allowed | RequestOutcome::Delayed),
            "{:?}",
            event.result
        );
        *self.0.lock().unwrap() += 1;
    }
}

/// A process with a throttle of its own on the same server.
struct Process {
    throttle: Throttle<LeakyBucketQueue, RedisStorage>,
    clock: Manual,
    admitted: Admitted,
    background: Arc<Mutex<Vec<JoinHandle<()>>>>,
    served: Arc<Mutex<Vec<(u32, u64)>>>,
}

impl Process {
    fn new(redis: &Redis, clock: &Manual, served: &Arc<Mutex<Vec<(u32, u64)>>>) -> Self {
        let storage = RedisStorage::url(&redis.url()).unwrap().clock(clock.clone());
        let storage = storage.timeout(Duration::from_secs(10)).build().unwrap();
        let background = Arc::<Mutex<Vec<_>>>::default();
        let (spawned, admitted) = (Arc::clone(&background), Admitted::default());
        let queue = LeakyBucketQueue::new(rate!("1/s")).queue(20).unwrap();
        let throttle = Throttle::builder("queue", queue, storage)
            .runtime(clock.clone())
            .spawner(move |future| spawned.lock().unwrap().push(tokio::spawn(future)))
            .observe(admitted.clone());
        let (throttle, served) = (throttle.build().unwrap(), Arc::clone(served));
        Self { throttle, clock: clock.clone(), admitted, background, served }
    }

    /// Sends a request, and waits until it is admitted.
    async fn ask(&self, who: u32) -> JoinHandle<()> {
        let (clock, served) = (self.clock.clone(), Arc::clone(&self.served));
        let inner = service_fn(move |_: Request<String>| {
            served.lock().unwrap().push((who, clock.now().as_micros()));
            async { Ok::<_, Infallible>(Response::new(String::new())) }
        });
        let mut service = ThrottleLayer::new(self.throttle.clone()).layer(inner);
        let before = *self.admitted.0.lock().unwrap();
        let asks = tokio::spawn(async move { drop(service.call(request()).await.unwrap()) });
        while *self.admitted.0.lock().unwrap() == before {
            tokio::task::yield_now().await;
        }
        asks
    }

    /// Has clients go, and waits until nothing goes on in the background.
    async fn go(&self, clients: impl IntoIterator<Item = JoinHandle<()>>) {
        for client in clients {
            client.abort();
            assert!(client.await.is_err());
        }
        self.settle().await;
    }

    async fn settle(&self) {
        while let Some(background) = { self.background.lock().unwrap().pop() } {
            background.await.unwrap();
        }
    }

    async fn next(&self) -> Duration {
        let client = self.throttle.client(&request()).await.unwrap().unwrap();
        match client.peek().await.unwrap().outcome() {
            Outcome::Allow { after } => after,
            outcome => panic!("{outcome:?}"),
        }
    }
}

/// Moves time on, and waits until so many are served.
async fn advance(clock: &Manual, served: &Mutex<Vec<(u32, u64)>>, number: usize) {
    clock.advance(SECOND);
    while served.lock().unwrap().len() < number {
        tokio::task::yield_now().await;
    }
}

#[test]
fn turns_that_nobody_waits_for_go_back_to_the_server() {
    run(async {
        let (redis, clock, served) = (Redis::start(), Manual::new(), Arc::default());
        for order in [[0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 0, 5, 1, 6, 2, 4]] {
            redis.command(&["FLUSHALL"]);
            let process = Process::new(&redis, &clock, &served);
            process.ask(0).await.await.unwrap();
            let mut clients = Vec::new();
            for who in 1..=8 {
                clients.push(Some(process.ask(who).await));
            }
            assert_eq!(process.next().await, 9 * SECOND);
            process.go(order.map(|place: usize| clients[place].take().unwrap())).await;
            println!("the next after {:?}", process.next().await);
            assert_eq!(process.next().await, SECOND);
        }
    });
}

/// The last place of one process is not the last one of the server: what is free is used by its next.
#[test]
fn turns_in_front_of_another_process_are_used_by_whoever_comes_next() {
    run(async {
        let (redis, clock, served) = (Redis::start(), Manual::new(), Arc::default());
        let [one, other] = [(); 2].map(|()| Process::new(&redis, &clock, &served));
        one.ask(0).await.await.unwrap();
        let [a, b, c, d] = [one.ask(1).await, one.ask(2).await, one.ask(3).await, one.ask(4).await];
        let far = other.ask(5).await;
        one.go([a, b, c]).await;
        assert_eq!(one.next().await, 6 * SECOND, "the server kept them");
        let newcomer = one.ask(6).await;
        one.settle().await;
        assert_eq!(one.next().await, 6 * SECOND, "its own place went back");
        for (number, client) in [(2, d), (3, newcomer)] {
            advance(&clock, &served, number).await;
            client.await.unwrap();
        }
        clock.advance(SECOND * 2);
        advance(&clock, &served, 4).await;
        far.await.unwrap();
        let served = served.lock().unwrap().clone();
        println!("served {served:?}");
        assert_eq!(served, [(0, 0), (4, 1_000_000), (6, 2_000_000), (5, 5_000_000)]);
    });
}
