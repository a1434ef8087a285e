//! The promises of any strategy on any storage, as a checklist.
//!
//! Each storage runs the same functions for each strategy. A storage of your own would be one more line.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use traffik::laws::{self, Step, at_most};
use traffik::storage::{AsyncStorage, Local, WhenFull};
use traffik::strategy::Bounds;
use traffik::{
    Clock, Decision, Fixed, Gcra, HeapLog, Key, Label, LeakyBucket, Limiter, ManualClock, Memory, Op,
    Outcome, Rate, Ratio, Storage, StorageError, Strategy, Tiered, Timestamp, TokenBucket,
};

/// The beginning of a window of each of the rates below, but that of 2900 ms.
const START: Timestamp = Timestamp::from_micros(4 * 86_400_000_000 * 7 * 31);

const RATES: [&str; 9] =
    ["3/s", "7/min", "99991/day", "5000000/s", "5/2900ms", "3/31d", "3/50ms", "1/us", "20 per 2 mins"];

type Shared = Arc<ManualClock>;

/// A storage over a clock that the test moves.
trait Subject<S: Strategy> {
    type Storage: Storage<S>;

    fn new(clock: Shared) -> Self::Storage;
}

struct InFixed;

impl<S: Strategy> Subject<S> for InFixed {
    type Storage = Fixed<S, Shared, 32>;

    fn new(clock: Shared) -> Self::Storage {
        Fixed::new(clock, 42).when_full(WhenFull::Refuse)
    }
}

struct InMemory;

impl<S: Strategy> Subject<S> for InMemory {
    type Storage = Memory<S, Shared>;

    fn new(clock: Shared) -> Self::Storage {
        Memory::builder().capacity(1_000).clock(clock).build()
    }
}

/// A storage behind the asynchronous interface, asked as if it were a local one.
struct Awaited<M> {
    inner: M,
    clock: Shared,
}

struct InMemoryAwaited;

impl<S: Strategy> Subject<S> for InMemoryAwaited {
    type Storage = Awaited<Local<Memory<S, Shared>>>;

    fn new(clock: Shared) -> Self::Storage {
        Awaited { inner: Local(<InMemory as Subject<S>>::new(Arc::clone(&clock))), clock }
    }
}

impl<S: Strategy, M: Storage<S> + Send + Sync> Storage<S> for Awaited<Local<M>> {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn apply<K: Key + ?Sized>(
        &self,
        strategy: &S,
        key: &K,
        op: &Op<S>,
        now: Timestamp,
    ) -> Result<S::Verdict, StorageError> {
        self.clock.set(now);
        Ok(done(self.inner.apply(strategy, &key, op)))
    }

    fn load<K: Key + ?Sized>(&self, key: &K) -> Result<S::State, StorageError> {
        self.inner.0.load(key)
    }
}

fn done<T, E: std::fmt::Debug>(future: impl Future<Output = Result<T, E>>) -> T {
    let Poll::Ready(answer) = pin!(future).poll(&mut Context::from_waker(Waker::noop())) else {
        unreachable!("a local storage is there at once")
    };
    answer.unwrap()
}

/// A limiter over a fresh storage, and the clock it goes by.
struct Rig<S: Strategy, M: Storage<S>> {
    limiter: Limiter<S, M>,
    clock: Shared,
}

fn rig<S: Bounds, U: Subject<S>>(strategy: S) -> Rig<S, U::Storage> {
    let clock = Arc::new(ManualClock::new(START));
    Rig { limiter: Limiter::new(strategy, U::new(Arc::clone(&clock))), clock }
}

impl<S: Bounds, M: Storage<S>> Rig<S, M> {
    fn outcome(&self, cost: u32) -> Outcome {
        self.limiter.check_n("key", cost).unwrap().outcome()
    }

    /// Asks for one until denied; how many passed, and the wait that was promised.
    fn drain(&self) -> (u64, Duration) {
        for passed in 0.. {
            match self.outcome(1) {
                Outcome::Deny { retry_after } => return (passed, retry_after),
                Outcome::Allow { .. } if passed > 10_000_000 => break,
                Outcome::Allow { .. } => {}
                Outcome::Never => break,
            }
        }
        unreachable!("a limit denies some time")
    }
}

/// Checks the promises of every strategy at every rate. `bound` is the cost that passes at once.
fn conforms<S: Bounds, U: Subject<S>>(limit: impl Fn(Rate) -> S) {
    for rate in
        RATES.map(|text| text.parse::<Rate>().unwrap()).into_iter().filter(|rate| rate.limit() <= 100_000)
    {
        let fresh = || rig::<S, U>(limit(rate));
        exactly_the_bound_passes_and_the_wait_is_honest(&fresh(), rate);
        costs_are_all_or_nothing(&fresh());
        a_retry_storm_gets_its_rate(&fresh());
        reading_changes_nothing(&fresh());
        keys_are_isolated(&fresh());
        a_reset_starts_afresh(&fresh());
        it_agrees_with_the_pure_function::<S, U>(&limit(rate), rate);
    }
    unlimited_always_passes(&rig::<S, U>(limit(Rate::UNLIMITED)));
    nothing_passes_a_closed_rate(&rig::<S, U>(limit(Rate::per_second(0))));
    keys_of_any_bytes(&rig::<S, U>(limit(Rate::per_minute(2))));
}

fn exactly_the_bound_passes_and_the_wait_is_honest<S: Bounds, M: Storage<S>>(rig: &Rig<S, M>, rate: Rate) {
    let bound = rig.limiter.strategy().most(START, START);
    let (passed, wait) = rig.drain();
    assert_eq!(u128::from(passed), bound, "{rate}");
    let longest = Duration::from_micros(rig.limiter.strategy().max_ttl());
    assert!(!wait.is_zero() && wait <= longest, "{rate}: {wait:?}");
    let tick = Duration::from_micros(1);
    rig.clock.advance(wait - tick);
    assert_eq!(rig.outcome(1), Outcome::Deny { retry_after: tick }, "{rate}");
    rig.clock.advance(tick);
    assert!(rig.outcome(1).is_allowed(), "{rate}");
}

fn costs_are_all_or_nothing<S: Bounds, M: Storage<S>>(rig: &Rig<S, M>) {
    let bound = u32::try_from(rig.limiter.strategy().most(START, START)).unwrap();
    assert_eq!(rig.outcome(bound + 1), Outcome::Never);
    assert!(rig.outcome(0).is_allowed());
    assert!(rig.outcome(bound).is_allowed());
    let before = rig.limiter.peek("key", 0).unwrap();
    assert_eq!(before.remaining(), 0);
    assert!(!rig.outcome(1).is_allowed());
    assert!(rig.outcome(0).is_allowed());
    assert_eq!(rig.limiter.peek("key", 0).unwrap(), before, "a denial leaves what remains as it was");
}

/// A client that asks a hundred times between any two waits gets what an obedient one gets.
fn a_retry_storm_gets_its_rate<S: Bounds, M: Storage<S>>(rig: &Rig<S, M>) {
    let (mut passed, mut now) = (0u128, START);
    for _ in 0..20 {
        let (more, wait) = rig.drain();
        passed += u128::from(more);
        let (least, most) =
            (rig.limiter.strategy().least(START, now, 1), rig.limiter.strategy().most(START, now));
        assert!((least..=most).contains(&passed), "{passed} of {least} to {most} in {:?}", now.since(START));
        for _ in 0..100 {
            rig.clock.advance(Duration::from_micros(wait.as_micros() as u64 / 100));
            if rig.outcome(1).is_allowed() {
                passed += 1;
                break;
            }
        }
        now = now + wait;
        rig.clock.set(now);
    }
}

fn reading_changes_nothing<S: Bounds, M: Storage<S>>(rig: &Rig<S, M>) {
    let full = rig.limiter.peek("key", 0).unwrap();
    assert_eq!(
        (u128::from(full.remaining()), full.reset_after()),
        (rig.limiter.strategy().most(START, START), Duration::ZERO)
    );
    assert!(rig.outcome(1).is_allowed());
    let after = rig.limiter.peek("key", 0).unwrap();
    assert_eq!(after.remaining(), full.remaining() - 1);
    for _ in 0..3 {
        let _ = rig.limiter.stat("key").unwrap();
        let promised = rig.limiter.peek("key", 1).unwrap();
        assert_eq!(rig.limiter.peek("key", 1).unwrap(), promised);
        assert_eq!(rig.limiter.peek("key", 0).unwrap(), after);
    }
    let promised = rig.limiter.peek("key", 1).unwrap();
    assert_eq!(rig.limiter.check("key").unwrap(), promised, "a peek agrees with the next check");
}

fn keys_are_isolated<S: Bounds, M: Storage<S>>(rig: &Rig<S, M>) {
    let (passed, _) = rig.drain();
    let other = Rig {
        limiter: Limiter::new(rig.limiter.strategy().clone(), rig.limiter.storage()),
        clock: Arc::clone(&rig.clock),
    };
    for key in ["", "ke", "key\0", "another"] {
        assert_eq!(u64::from(other.limiter.peek(key, 0).unwrap().remaining()), passed, "{key:?}");
    }
}

fn a_reset_starts_afresh<S: Bounds, M: Storage<S>>(rig: &Rig<S, M>) {
    let (passed, _) = rig.drain();
    assert_eq!(u64::from(rig.limiter.reset("key").unwrap().remaining()), passed);
    assert_eq!(rig.drain().0, passed);
}

fn unlimited_always_passes<S: Bounds, M: Storage<S>>(rig: &Rig<S, M>) {
    for _ in 0..100 {
        let decision = rig.limiter.check_n("key", u32::MAX).unwrap();
        assert!(decision.is_allowed() && decision.is_unlimited());
        assert_eq!((decision.remaining(), decision.reset_after()), (u32::MAX, Duration::ZERO));
    }
}

fn nothing_passes_a_closed_rate<S: Bounds, M: Storage<S>>(rig: &Rig<S, M>) {
    assert_eq!([rig.outcome(1), rig.outcome(u32::MAX)], [Outcome::Never; 2]);
    assert!(rig.outcome(0).is_allowed());
}

fn keys_of_any_bytes<S: Bounds, M: Storage<S>>(rig: &Rig<S, M>) {
    let long = "x".repeat(10_000);
    for key in ["", "two words", "line\r\nfeed", "nul\0nul", "ünï¢ode", long.as_str()] {
        assert!(rig.limiter.check(key).unwrap().is_allowed());
        let (one_used, none_used) =
            (rig.limiter.peek(key, 0).unwrap(), rig.limiter.peek("another", 0).unwrap());
        assert_eq!(one_used.remaining() + 1, none_used.remaining(), "{key:?}");
    }
}

/// Law 11, over steady traffic with costs and silences.
fn it_agrees_with_the_pure_function<S: Bounds, U: Subject<S>>(strategy: &S, rate: Rate) {
    let gap = rate.period().as_micros() as u64 / u64::from(rate.limit()).max(1);
    let run: Vec<_> = (0..200u64)
        .map(|step| {
            Step::new(START.plus_micros(step * gap * 2 / 3 + step / 50 * gap * 40), (step % 5 == 4).into())
        })
        .map(|step| Step { cost: step.cost * 2 + 1, ..step })
        .collect();
    let storage = U::new(Arc::new(ManualClock::new(START)));
    assert_eq!(laws::storage_agrees(strategy, &storage, "key", &run), Ok(()), "{rate}");
}

/// Two racers for the last place, and many for all of them: exactly the bound passes.
fn racers_admit_exactly_the_bound<S: Bounds, U: Subject<S, Storage: Sync>>(limit: impl Fn(Rate) -> S) {
    const RACERS: u64 = 8;
    for rate in ["1/d", "1000/d"] {
        let rig = rig::<S, U>(limit(rate.parse().unwrap()));
        let admitted = AtomicU64::new(0);
        std::thread::scope(|scope| {
            for _ in 0..RACERS {
                scope.spawn(|| {
                    for _ in 0..1_000 {
                        admitted.fetch_add(rig.outcome(1).is_allowed().into(), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(u128::from(admitted.into_inner()), rig.limiter.strategy().most(START, START));
    }
}

macro_rules! conformance {
    ($name:ident, $spelling:literal, $kind:ident, $make:expr) => {
        mod $name {
            use super::*;

            fn limit(rate: Rate) -> impl Bounds<Verdict = Decision, Cost = u32> {
                let make: fn(Rate) -> Option<_> = $make;
                make(rate).unwrap()
            }

            #[test]
            fn on_a_fixed_table() {
                conforms::<_, InFixed>(limit);
            }

            #[test]
            fn in_memory() {
                conforms::<_, InMemory>(limit);
                racers_admit_exactly_the_bound::<_, InMemory>(limit);
            }

            #[test]
            fn in_memory_awaited() {
                conforms::<_, InMemoryAwaited>(limit);
                racers_admit_exactly_the_bound::<_, InMemoryAwaited>(limit);
            }
        }
    };
}

traffik::every_strategy!(conformance);
conformance!(token_bucket_with_a_burst, "", own, |rate| TokenBucket::new(rate).burst(burst(rate, 50)).ok());
conformance!(gcra_without_a_burst, "", own, |rate| Some(Gcra::new(rate)));
conformance!(leaky_bucket_of_one, "", own, |rate| Some(LeakyBucket::new(rate)));
conformance!(heap_log, "", own, |rate| HeapLog::new(at_most(1_000, rate)).ok());
conformance!(leaky_bucket_with_a_capacity, "", own, |rate| {
    LeakyBucket::new(rate).capacity(burst(rate, 50)).ok()
});
conformance!(tiered, "", own, |rate| {
    Tiered::new(TokenBucket::new(rate), [(Label::named("free"), Ratio::ONE)]).ok()
});
conformance!(gcra_with_a_burst, "", own, |rate| Gcra::new(rate)
    .burst(burst(rate, rate.limit().min(1_000)))
    .ok());

/// No burst where nothing ever passes.
fn burst(rate: Rate, burst: u32) -> u32 {
    if rate.limit() == 0 { 0 } else { burst }
}
