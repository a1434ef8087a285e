//! Queues whose clients have no patience: a turn that is given up is used by others, and what leaves stays
//! spaced.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use tower::{Layer, Service, service_fn};
use traffik::runtime::{Manual, Runtime};
use traffik::storage::{AsyncStorage, Local, Reply, WaitQueue};
use traffik::web::{Admission, ResponseBody, Throttle, ThrottleBuilder, ThrottleLayer, ThrottleSet};
use traffik::{
    ErasedKey, FifoQueue, LeakyBucketQueue, Memory, Op, Outcome, Strategy, Timer, Timestamp, rate,
};
use traffik_test_support::elsewhere::owned;

use crate::{header, request};

const SECOND: Duration = Duration::from_secs(1);
const MICRO: Duration = Duration::from_micros(1);

/// A memory; or one elsewhere, that takes a millisecond on the way there and another one on the way back.
#[derive(Clone)]
struct Kept {
    near: Arc<Local<Memory<LeakyBucketQueue, Manual>>>,
    far: Option<(Manual, Arc<FifoQueue>)>,
}

impl Kept {
    fn new(runtime: &Manual, is_far: bool) -> Self {
        let near = Arc::new(Local(Memory::builder().clock(runtime.clone()).build()));
        Self { near, far: is_far.then(|| (runtime.clone(), Arc::default())) }
    }
}

impl AsyncStorage<LeakyBucketQueue> for Kept {
    fn apply(
        &self,
        limit: &LeakyBucketQueue,
        key: &dyn ErasedKey,
        op: &Op<LeakyBucketQueue>,
    ) -> Reply<<LeakyBucketQueue as Strategy>::Verdict> {
        let Some((runtime, _)) = self.far.clone() else { return self.near.apply(limit, key, op) };
        let (near, limit, key, op) = (Arc::clone(&self.near), *limit, owned(key), *op);
        Reply::pending(async move {
            runtime.sleep(SECOND / 1_000).await;
            let answer = near.apply(&limit, &key, &op).await;
            runtime.sleep(SECOND / 1_000).await;
            answer
        })
    }

    fn load(
        &self,
        limit: &LeakyBucketQueue,
        key: &dyn ErasedKey,
    ) -> Reply<(<LeakyBucketQueue as Strategy>::State, Timestamp)> {
        self.near.load(limit, key)
    }

    fn is_local(&self) -> bool {
        self.far.is_none()
    }

    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        match &self.far {
            Some((_, queue)) => Some(&**queue),
            None => AsyncStorage::<LeakyBucketQueue>::wait_queue(&*self.near),
        }
    }
}

type Builder = ThrottleBuilder<LeakyBucketQueue, Kept>;

/// A throttle that counts what the header `cost` says.
fn throttle(runtime: &Manual, limit: LeakyBucketQueue, storage: &Kept) -> Builder {
    let spawns = runtime.clone();
    Throttle::builder("queue", limit, storage.clone())
        .runtime(runtime.clone())
        .spawner(move |future| spawns.spawn(future))
        .cost_by(|request: traffik::web::RequestParts<'_>| {
            request.headers.get("cost").and_then(|cost| cost.to_str().ok()?.parse().ok()).unwrap_or(1)
        })
}

/// Clients of a gate, and who of them was served when.
#[derive(Clone)]
struct Clients<G> {
    runtime: Manual,
    gate: G,
    served: Arc<Mutex<Vec<(u32, u64)>>>,
}

impl<G: Admission> Clients<G> {
    fn new(runtime: &Manual, gate: G) -> Self {
        Self { runtime: runtime.clone(), gate, served: Arc::default() }
    }

    /// Asks, and goes away once patience is at its end.
    async fn ask(&self, who: u32, cost: u32, patience: Duration) -> Option<Response<ResponseBody<Bytes>>> {
        let (clock, served) = (self.runtime.clone(), Arc::clone(&self.served));
        let inner = service_fn(move |_: Request<String>| {
            served.lock().unwrap().push((who, clock.now().as_micros()));
            async { Ok::<_, Infallible>(Response::new(Bytes::new())) }
        });
        let mut request = request(1);
        request.headers_mut().insert("cost", cost.into());
        let mut service = ThrottleLayer::new(self.gate.clone()).layer(inner);
        self.runtime.timeout(patience, service.call(request)).await.ok().map(Result::unwrap)
    }

    fn spawn(&self, who: u32, cost: u32, patience: Duration) {
        let this = self.clone();
        self.runtime.spawn(async move {
            this.ask(who, cost, patience).await;
        });
    }

    fn served(&self) -> Vec<(u32, u64)> {
        self.served.lock().unwrap().clone()
    }

    /// Ten that wait for a second each and come again, for eight seconds.
    fn ten_impatient(&self) -> Vec<u64> {
        for who in 0..10 {
            let this = self.clone();
            self.runtime.spawn(async move {
                loop {
                    this.ask(who, 1, SECOND).await;
                }
            });
        }
        self.runtime.advance(8 * SECOND - MICRO);
        self.served().into_iter().map(|(_, at)| at).collect()
    }
}

fn are_spaced(times: &[u64], by: u64) -> bool {
    times.windows(2).all(|pair| pair[1] >= pair[0] + by)
}

#[test]
fn impatient_clients_get_the_rate() {
    let queue = LeakyBucketQueue::new(rate!("5/s")).queue(100).unwrap();
    for is_far in [false, true] {
        let runtime = Manual::new();
        let storage = Kept::new(&runtime, is_far);
        let gate = throttle(&runtime, queue, &storage).build().unwrap();
        let served = Clients::new(&runtime, gate).ten_impatient();
        println!("{} of 40 served, far: {is_far}", served.len());
        assert!(served.len() >= 36 && are_spaced(&served, 200_000), "{is_far}: {served:?}");
    }
}

#[test]
fn a_client_behind_others_who_went_has_its_turn_when_theirs_was() {
    let queue = LeakyBucketQueue::new(rate!("1/s")).queue(20).unwrap();
    for is_far in [false, true] {
        let runtime = Manual::new();
        let storage = Kept::new(&runtime, is_far);
        let clients = Clients::new(&runtime, throttle(&runtime, queue, &storage).build().unwrap());
        // One is served, eight go, and one is behind them.
        for who in 0..=8 {
            clients.spawn(who, 1, SECOND / 2);
        }
        clients.spawn(9, 1, 20 * SECOND);
        runtime.advance(SECOND * 6 / 10);
        clients.spawn(10, 1, 20 * SECOND);
        runtime.advance(10 * SECOND);
        let (served, way) = (clients.served(), if is_far { 2_000 } else { 0 });
        println!("served {served:?}, far: {is_far}");
        let turns: Vec<_> = served.iter().map(|(who, at)| (*who, at - way)).collect();
        assert_eq!(turns[..2], [(0, 0), (9, 1_000_000)], "far: {is_far}");
        assert!(turns.len() == 3 && turns[2].0 == 10 && (2_000_000..=2_002_000).contains(&turns[2].1));
    }
}

/// Nobody is left who could use their turns, so all of them go back.
#[test]
fn turns_that_nobody_waits_for_go_back() {
    let queue = LeakyBucketQueue::new(rate!("1/s")).queue(20).unwrap();
    for is_far in [false, true] {
        for order in [[0, 1, 2, 3, 4, 5, 6, 7], [7, 6, 5, 4, 3, 2, 1, 0], [3, 7, 0, 5, 1, 6, 2, 4]] {
            let runtime = Manual::new();
            let storage = Kept::new(&runtime, is_far);
            let gate = throttle(&runtime, queue, &storage).build().unwrap();
            let clients = Clients::new(&runtime, gate.clone());
            clients.spawn(100, 1, SECOND);
            order.into_iter().for_each(|place| clients.spawn(place, 1, SECOND / 2 + MICRO * place));
            runtime.advance(SECOND * 6 / 10);
            let client = runtime.run(gate.client(&request(1))).unwrap().unwrap().unwrap();
            let outcome = runtime.run(client.peek()).unwrap().unwrap().outcome();
            let way = if is_far { SECOND / 1_000 } else { Duration::ZERO };
            let Outcome::Allow { after } = outcome else { panic!("{outcome:?}") };
            println!("the next after {after:?}, far: {is_far}");
            assert_eq!(after + way, SECOND * 4 / 10 + way, "{order:?}, far: {is_far}");
            let queue = storage.wait_queue().unwrap();
            assert!(queue.is_empty(&"any"));
        }
    }
}

/// A larger cost does not fit where a smaller one was; each that fits moves up, and no two come too close.
#[test]
fn turns_of_other_costs_are_used_as_far_as_they_are_large_enough() {
    let queue = LeakyBucketQueue::new(rate!("1/s")).queue(20).unwrap();
    let runtime = Manual::new();
    let storage = Kept::new(&runtime, false);
    let clients = Clients::new(&runtime, throttle(&runtime, queue, &storage).build().unwrap());
    let patience = |goes| if goes { SECOND / 2 } else { 60 * SECOND };
    for (who, (cost, goes)) in
        [(1, false), (2, true), (3, false), (2, false), (1, true), (1, false)].into_iter().enumerate()
    {
        clients.spawn(who as u32, cost, patience(goes));
    }
    runtime.advance(60 * SECOND);
    // Turns were told at 0, 1, 3, 6, 8 and 9. That at 1 goes to the first of cost 2, whose own, at 6, goes to
    // the last; that at 8 goes back after it.
    assert_eq!(clients.served(), [(0, 0), (3, 1_000_000), (2, 3_000_000), (5, 6_000_000)]);
}

/// A request waits in two lines at once: one that moves up in one of them still waits for the other.
#[test]
fn a_request_in_two_queues_leaves_when_both_turns_have_come() {
    let runtime = Manual::new();
    let storage = Kept::new(&runtime, false);
    let queue = |name: &str, rate| {
        let limit = LeakyBucketQueue::new(rate).queue(20).unwrap();
        let spawns = runtime.clone();
        Throttle::builder(name, limit, storage.clone())
            .runtime(runtime.clone())
            .spawner(move |future| spawns.spawn(future))
            .build()
            .unwrap()
    };
    let both = ThrottleSet::new().and(queue("fast", rate!("2/s"))).and(queue("slow", rate!("1/s")));
    let clients = Clients::new(&runtime, both);
    for who in 0..6 {
        clients.spawn(who, 1, if [1, 2, 4].contains(&who) { SECOND / 2 } else { 60 * SECOND });
    }
    runtime.advance(60 * SECOND);
    assert_eq!(clients.served(), [(0, 0), (3, 1_000_000), (5, 2_000_000)]);
}

#[test]
fn who_would_be_delayed_for_too_long_is_answered_at_once_and_takes_no_place() {
    let queue = LeakyBucketQueue::new(rate!("1/s")).queue(20).unwrap();
    for is_far in [false, true] {
        let runtime = Manual::new();
        let storage = Kept::new(&runtime, is_far);
        let gate = throttle(&runtime, queue, &storage).max_delay(SECOND * 5 / 2).build().unwrap();
        let clients = Clients::new(&runtime, gate);
        for who in 0..3 {
            clients.spawn(who, 1, 60 * SECOND);
        }
        runtime.advance(SECOND / 10);
        let answer = runtime.run(clients.ask(3, 1, 60 * SECOND)).unwrap().unwrap();
        // Its turn would come after 2.9 s, and in 0.4 s that is near enough.
        assert_eq!((answer.status().as_u16(), header(&answer, "retry-after")), (429, "1"));
        let way = if is_far { SECOND / 1_000 * 2 } else { Duration::ZERO };
        assert_eq!(runtime.now(), Timestamp::EPOCH + SECOND / 10 + way, "far: {is_far}");
        runtime.advance(SECOND * 4 / 10);
        assert_eq!(runtime.run(clients.ask(4, 1, 60 * SECOND)).unwrap().unwrap().status(), 200);
        assert_eq!(clients.served().len(), 4);
        assert_eq!(clients.served()[3].1 / 100_000, 30, "it had the place that was given back");
    }
}
