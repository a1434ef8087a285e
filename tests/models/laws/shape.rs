//! The central traits bear what is built on them: compiled and run, before and beside the real thing.
//!
//! A wrapper around any strategy, a strategy erased at run time, a remote storage whose answers are awaited, a
//! failover of two storages, and a tower service whose future is a plain `'static` value on the local path.

use std::convert::Infallible;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use http::{Request, Response};
use tower::{Layer, Service, service_fn};
use traffik::storage::{AsyncStorage, BackendError, Local, Reply};
use traffik::strategy::{DecodeError, Reader, Writer, decode, encode};
use traffik::web::{Peer, Throttle, ThrottleLayer};
use traffik::{
    AsyncLimiter, Class, Clock, Decision, ErasedKey, ErrorKind, FixedWindow, Gcra, Hit, Key, ManualClock,
    Memory, Op, Outcome, Rate, Receipt, State, Strategy, Timestamp, TokenBucket, Verdict,
};

/// Runs a future that is expected to be done at once, or to be woken by nobody.
fn now<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn done<F: Future>(future: F) -> F::Output {
    match now(future) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("not done at once"),
    }
}

/// A wrapper takes any strategy: half the price for tier 1.
#[derive(Clone)]
struct HalfPrice<S>(S);

impl<S: Strategy<Cost = u32>> HalfPrice<S> {
    fn inner(hit: &Hit) -> Hit {
        let half = hit.class.tier.0 == 1;
        Hit { cost: if half { hit.cost.div_ceil(2) } else { hit.cost }, ..*hit }
    }
}

impl<S: Strategy<Cost = u32>> Strategy for HalfPrice<S> {
    type State = S::State;
    type Cost = u32;
    type Verdict = S::Verdict;
    type Stat = S::Stat;

    fn decide(&self, state: &mut S::State, hit: &Hit, now: Timestamp) -> S::Verdict {
        self.0.decide(state, &Self::inner(hit), now)
    }

    fn charge(&self, state: &mut S::State, hit: &Hit, now: Timestamp) {
        self.0.charge(state, &Self::inner(hit), now);
    }

    fn refund(
        &self,
        state: &mut S::State,
        hit: &Hit,
        receipt: <S::Verdict as Verdict>::Receipt,
        now: Timestamp,
    ) {
        self.0.refund(state, &Self::inner(hit), receipt, now);
    }

    fn expires_at(&self, state: &S::State, class: Class) -> Timestamp {
        self.0.expires_at(state, class)
    }

    fn max_ttl(&self) -> u64 {
        self.0.max_ttl()
    }

    fn stat(&self, state: &S::State, class: Class, now: Timestamp) -> S::Stat {
        self.0.stat(state, class, now)
    }
}

#[test]
fn a_wrapper_takes_any_strategy() {
    let limit = HalfPrice(TokenBucket::new(Rate::per_hour(10)));
    let mut class = Class::default();
    class.tier.0 = 1;
    let mut state = Default::default();
    let at = Timestamp::EPOCH;
    assert_eq!(limit.decide(&mut state, &Hit::new(4).with_class(class), at).remaining(), 8);
    assert_eq!(limit.decide(&mut state, &Hit::new(4), at).remaining(), 4);
    let windows = HalfPrice(FixedWindow::new(Rate::per_hour(10)));
    assert_eq!(windows.decide(&mut Default::default(), &Hit::new(4), at).remaining(), 6);
}

/// A state of any strategy as bytes inline: what run-time choice costs.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Inline<const LEN: usize> {
    bytes: [u8; LEN],
    length: u8,
}

impl<const LEN: usize> Default for Inline<LEN> {
    fn default() -> Self {
        Self::FRESH
    }
}

impl<const LEN: usize> State for Inline<LEN> {
    const FRESH: Self = Self { bytes: [0; LEN], length: 0 };
    const MAX_LEN: usize = LEN + 1;

    fn encode(&self, out: &mut Writer<'_>) {
        out.u8(self.length);
        out.bytes(self.bytes.get(..self.length.into()).unwrap_or_default());
    }

    fn decode(input: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let length = input.u8()?;
        let mut state = Self { length, ..Self::default() };
        for byte in state.bytes.get_mut(..length.into()).ok_or(DecodeError)? {
            *byte = input.u8()?;
        }
        Ok(state)
    }
}

/// The questions to a strategy whose type is not known.
trait Erased<const LEN: usize>: Send + Sync {
    fn decide_erased(&self, state: &mut Inline<LEN>, hit: &Hit, now: Timestamp) -> Decision;
}

impl<const LEN: usize, S: Strategy<Cost = u32, Verdict = Decision>> Erased<LEN> for S {
    fn decide_erased(&self, state: &mut Inline<LEN>, hit: &Hit, now: Timestamp) -> Decision {
        const { assert!(S::State::MAX_LEN <= LEN, "the state does not fit; choose a larger LEN") };
        let bytes = state.bytes.get(..state.length.into()).unwrap_or_default();
        let mut typed: S::State = decode(bytes).unwrap_or_default();
        let decision = self.decide(&mut typed, hit, now);
        if decision.is_dirty() {
            state.length = encode(&typed, &mut state.bytes).map_or(0, |length| length as u8);
        }
        decision
    }
}

#[test]
fn a_strategy_chosen_at_run_time_decides_the_same() {
    let gcra = Gcra::new(Rate::per_second(3)).burst(4).unwrap();
    let chosen: [Box<dyn Erased<25>>; 2] = [Box::new(gcra), Box::new(FixedWindow::new(Rate::per_second(3)))];
    let (mut erased, mut typed) = (Inline::default(), Default::default());
    for step in 0..100u32 {
        let (hit, now) = (Hit::new(step % 6), Timestamp::from_micros(u64::from(step) * 77_777));
        assert_eq!(chosen[0].decide_erased(&mut erased, &hit, now), gcra.decide(&mut typed, &hit, now));
    }
    let mut bytes = [0; 26];
    let length = encode(&erased, &mut bytes).unwrap();
    assert_eq!(decode(&bytes[..length]), Ok(erased));
    assert_eq!(
        chosen[1].decide_erased(&mut Inline::default(), &Hit::new(4), Timestamp::EPOCH).outcome(),
        Outcome::Never
    );
}

/// A storage elsewhere: each answer takes a round trip, and it can be down.
struct Remote<M> {
    inner: Arc<M>,
    calls: Arc<AtomicU32>,
    up: bool,
}

impl<M> Remote<M> {
    fn answer<T: Send + 'static>(&self, answer: impl FnOnce() -> Reply<T>) -> Reply<T> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let (answer, up) = (answer(), self.up);
        Reply::pending(async move {
            let mut polled = false;
            std::future::poll_fn(|context| {
                context.waker().wake_by_ref();
                if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }
            })
            .await;
            if up { answer.await } else { Err(BackendError::new(ErrorKind::Unavailable, "down")) }
        })
    }
}

impl<S: Strategy, M: AsyncStorage<S>> AsyncStorage<S> for Remote<M> {
    fn apply(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        self.answer(|| self.inner.apply(strategy, key, op))
    }

    fn load(&self, strategy: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        self.answer(|| self.inner.load(strategy, key))
    }
}

/// Two storages: the second answers where the first cannot.
struct Failover<A, B>(A, Arc<B>);

/// The bytes of a key, kept for a second try.
fn owned(key: &dyn ErasedKey) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.feed(&mut |piece: &[u8]| bytes.extend_from_slice(piece));
    bytes
}

impl<S: Strategy, A: AsyncStorage<S>, B: AsyncStorage<S> + 'static> AsyncStorage<S> for Failover<A, B> {
    fn apply(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        match self.0.apply(strategy, key, op) {
            Reply::Ready(Some(Err(_))) => self.1.apply(strategy, key, op),
            Reply::Pending(first) => {
                let (second, strategy, key, op) = (Arc::clone(&self.1), strategy.clone(), owned(key), *op);
                Reply::pending(async move {
                    match first.await {
                        Err(_) => second.apply(&strategy, &key, &op).await,
                        answer => answer,
                    }
                })
            }
            ready => ready,
        }
    }

    fn load(&self, strategy: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        self.0.load(strategy, key)
    }
}

fn memory<S: Strategy>() -> Arc<Local<Memory<S, Arc<ManualClock>>>> {
    Arc::new(Local(Memory::builder().capacity(10).clock(Arc::new(ManualClock::default())).build()))
}

fn poll_twice<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    assert!(future.as_mut().poll(&mut context).is_pending());
    match future.poll(&mut context) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("two polls are enough"),
    }
}

#[test]
fn a_failover_of_two_storages_answers_where_the_first_cannot() {
    let (primary, secondary) = (memory(), memory());
    let calls = Arc::new(AtomicU32::new(0));
    let remote = |up| Remote { inner: Arc::clone(&primary), calls: Arc::clone(&calls), up };
    let limit = Gcra::new(Rate::per_hour(1));

    let working = AsyncLimiter::new(limit, Failover(remote(true), Arc::clone(&secondary)));
    assert!(poll_twice(working.check("key")).unwrap().is_allowed());
    assert!(!poll_twice(working.check("key")).unwrap().is_allowed());

    let failing = AsyncLimiter::new(limit, Failover(remote(false), Arc::clone(&secondary)));
    assert!(poll_twice(failing.check("key")).unwrap().is_allowed(), "the secondary starts cold");
    assert!(!poll_twice(failing.check("key")).unwrap().is_allowed());
    // The key went to the secondary as owned bytes, and is the same key as one given in pieces.
    assert!(!done(AsyncLimiter::new(limit, secondary).check("key")).unwrap().is_allowed());
    assert_eq!(calls.load(Ordering::Relaxed), 4);
}

#[test]
fn an_asynchronous_storage_can_be_chosen_at_run_time() {
    let chosen: Arc<dyn AsyncStorage<Gcra>> = memory();
    let limiter = AsyncLimiter::new(Gcra::new(Rate::per_hour(1)), chosen);
    assert!(done(limiter.check(&("tuple", 7u64))).unwrap().is_allowed());
    assert!(!done(limiter.stat(&("tuple", 7u64))).unwrap().conformant);
}

#[test]
fn two_limits_of_different_costs_are_one_strategy_on_every_storage() {
    let limits = (TokenBucket::new(Rate::per_hour(2)), FixedWindow::new(Rate::per_hour(1000)));
    let limiter = AsyncLimiter::new(limits, memory());
    let send = |bytes| done(limiter.check_n("peer", (1, bytes))).unwrap();
    let first = send(900);
    assert!(first.is_allowed());
    assert!(!send(200).is_allowed(), "too many bytes");
    let receipt: (Receipt, Receipt) = first.receipt();
    assert_eq!(done(limiter.refund("peer", (1, 900), receipt)).unwrap().parts.1.remaining(), 1000);
    assert!(send(200).is_allowed());
}

/// Compiles only if the future owns all it needs and may move between threads.
fn spawnable<T: Future + Send + 'static>(future: T) -> T {
    future
}

#[test]
fn a_tower_service_answers_at_once_on_the_local_path() {
    let echo = service_fn(async |request: Request<&'static str>| {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    });
    let throttle = Throttle::builder("echo", Gcra::new(Rate::per_hour(1)), memory());
    let throttle = throttle.identifier(Peer::default().or_anonymous()).build().unwrap();
    let mut service = ThrottleLayer::new(throttle).layer(echo);
    let mut call = || done(service.call(Request::new("hello"))).unwrap().status();
    assert_eq!([call(), call()], [200, 429]);
}

#[test]
fn a_tower_service_waits_for_a_remote_storage() {
    let echo = service_fn(async |request: Request<&'static str>| {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    });
    let call = |up| {
        let remote = Remote { inner: memory(), calls: Arc::default(), up };
        let throttle = Throttle::builder("echo", Gcra::new(Rate::per_hour(1)), remote);
        let throttle = throttle.identifier(Peer::default().or_anonymous()).build().unwrap();
        let mut service = ThrottleLayer::new(throttle).layer(echo);
        poll_twice(spawnable(service.call(Request::new("hello")))).unwrap().status()
    };
    assert_eq!([call(true), call(false)], [200, 503]);
}

#[test]
fn the_clock_belongs_to_the_storage() {
    let clock = Arc::new(ManualClock::default());
    let storage = Memory::builder().clock(Arc::clone(&clock)).build();
    let limiter = traffik::Limiter::new(Gcra::new(Rate::per_second(1)), storage);
    assert!(limiter.check("key").unwrap().is_allowed());
    clock.set(limiter.check("key").unwrap().retry_after().map(|wait| clock.now() + wait).unwrap());
    assert!(limiter.check("key").unwrap().is_allowed());
}

#[test]
fn keys_of_every_kind_are_the_same_bytes_everywhere() {
    assert_eq!(owned(&"key"), b"key");
    assert_eq!(owned(&String::from("key")), b"key");
    assert_eq!(owned(&(1u8, "a")), [&[1][..], &[1, 0, 0, 0], b"a", &[1, 0, 0, 0]].concat());
    let boxed: Box<dyn ErasedKey> = Box::new("key");
    boxed.feed(&mut |bytes: &[u8]| assert_eq!(bytes, b"key"));
}
