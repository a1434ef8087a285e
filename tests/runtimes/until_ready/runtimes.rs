//! The same tests on every runtime: in virtual time where it has that, so that hours go by, else in a few milliseconds.

use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures_util::future::{Either, poll_immediate, select};
use smol::channel::{Receiver, bounded};
use traffik::runtime::{AsyncStd, Manual, Runtime, Smol, Tokio};
use traffik::{Clock, Gcra, Limiter, Memory, Rate, Storage, Timestamp};

const HOUR: Duration = Duration::from_secs(3_600);
const MOMENT: Duration = Duration::from_millis(5);
const WAITERS: u32 = 12;

/// A clock that stands still until it is started, so that all can come before anybody's time does, however slow the
/// machine is; then it goes by a runtime's time, virtual or not.
#[derive(Clone)]
struct TimeOf<R> {
    runtime: R,
    began: Arc<OnceLock<Instant>>,
}

impl<R: Runtime> TimeOf<R> {
    fn start(&self) {
        self.began.set(self.runtime.now()).unwrap();
    }
}

impl<R: Runtime> Clock for TimeOf<R> {
    fn now(&self) -> Timestamp {
        let passed = self.began.get().map(|began| self.runtime.now().duration_since(*began));
        Timestamp::EPOCH + passed.unwrap_or_default()
    }
}

type Limited<R> = Arc<Limiter<Gcra, Memory<Gcra, TimeOf<R>>>>;

/// One each `pace`, of which the first is gone; and what starts the clock.
fn limited<R: Runtime>(runtime: &R, pace: Duration) -> (Limited<R>, TimeOf<R>) {
    let clock = TimeOf { runtime: runtime.clone(), began: Arc::default() };
    let storage = Memory::builder().clock(clock.clone()).build();
    let limiter = Limiter::new(Gcra::new(Rate::new(1, pace).unwrap()), storage);
    assert!(limiter.check("key").unwrap().is_allowed());
    (Arc::new(limiter), clock)
}

/// Spawns the waiters, each when the one before is in line. Returns who is admitted when, or that a waiter
/// has given up when `gives_up` was true for its number and `gone` was closed.
async fn crowd<R: Runtime>(
    runtime: &R,
    limiter: &Limited<R>,
    gives_up: impl Fn(u32) -> bool,
    gone: &Receiver<()>,
) -> Receiver<Option<Admitted>> {
    let (done, told) = bounded(WAITERS as usize);
    for number in 0..WAITERS {
        let (limiter, inner, done, gone) = (Arc::clone(limiter), runtime.clone(), done.clone(), gone.clone());
        let mut waits = Box::pin(async move {
            let decision = limiter.until_ready("key", &inner).await.unwrap();
            Admitted { decided: decision.receipt().at(), number, at: limiter.now() }
        });
        assert!(poll_immediate(waits.as_mut()).await.is_none());
        let gives_up = gives_up(number);
        runtime.spawn(async move {
            let gone = pin!(async move {
                if gives_up {
                    let _ = gone.recv().await;
                } else {
                    pending().await
                }
            });
            let told = match select(waits, gone).await {
                Either::Left((admitted, _)) => Some(admitted),
                Either::Right(((), waits)) => {
                    drop(waits);
                    None
                }
            };
            done.send(told).await.unwrap();
        });
    }
    told
}

/// The waiters that were admitted. On several threads the one decided first need not be the first to say so.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Admitted {
    decided: Timestamp,
    number: u32,
    at: Timestamp,
}

/// Asserts that these were admitted, in this order and each at its time.
async fn were_admitted(
    told: &Receiver<Option<Admitted>>,
    pace: Duration,
    expected: impl Iterator<Item = u32> + Clone,
) {
    let mut admitted = Vec::new();
    for _ in expected.clone() {
        admitted.push(told.recv().await.unwrap().unwrap());
    }
    admitted.sort();
    assert!(admitted.iter().map(|it| it.number).eq(expected));
    (1..).zip(admitted).for_each(|(place, it)| is_at(it.decided.min(it.at), pace, place));
}

async fn are_served_in_order<R: Runtime>(runtime: R, pace: Duration) {
    let (limiter, clock) = limited(&runtime, pace);
    let (_go, gone) = bounded(1);
    let told = crowd(&runtime, &limiter, |_| false, &gone).await;
    clock.start();
    were_admitted(&told, pace, 0..WAITERS).await;
    assert!(limiter.storage().wait_queue().unwrap().is_empty(&"key"));
}

/// The first and every third after it: the others are served as if it had never been there.
async fn who_gives_up_makes_way<R: Runtime>(runtime: R, pace: Duration) {
    let (limiter, clock) = limited(&runtime, pace);
    let (go, gone) = bounded(1);
    let told = crowd(&runtime, &limiter, |number| number % 3 == 0, &gone).await;
    drop(go);
    for _ in (0..WAITERS).step_by(3) {
        assert_eq!(told.recv().await.unwrap(), None);
    }
    clock.start();
    were_admitted(&told, pace, (0..WAITERS).filter(|number| number % 3 != 0)).await;
    assert!(limiter.storage().wait_queue().unwrap().is_empty(&"key"));
}

/// Never earlier; and where time is virtual, so that nobody is late, not later either than a timer tells apart.
fn is_at(at: Timestamp, pace: Duration, place: u32) {
    let due = Timestamp::EPOCH + pace * place;
    assert!(at >= due, "{at} is before {due}");
    assert!(pace < HOUR || at <= due + MOMENT, "{at} is after {due}");
}

type Test = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A test for each of them, on one runtime.
macro_rules! waits {
    ($name:ident: $runtime:expr, $pace:expr, $block_on:expr) => {
        mod $name {
            use super::*;

            #[test]
            fn are_served_in_order() {
                ($block_on)(Box::pin(super::are_served_in_order($runtime, $pace)));
            }

            #[test]
            fn who_gives_up_makes_way() {
                ($block_on)(Box::pin(super::who_gives_up_makes_way($runtime, $pace)));
            }
        }
    };
}

waits!(on_tokio: Tokio, MOMENT, |test: Test| several_threads().block_on(test));
waits!(on_tokio_with_its_time_paused: Tokio, HOUR, |test: Test| paused().block_on(test));
waits!(on_smol: Smol::new(), MOMENT, |test: Test| smol::block_on(test));
waits!(on_async_std: AsyncStd, MOMENT, |test: Test| async_std::task::block_on(test));

/// The runtime and what runs it are one value.
mod in_virtual_time {
    use super::*;

    #[test]
    fn are_served_in_order() {
        let runtime = Manual::new();
        runtime.run(super::are_served_in_order(runtime.clone(), HOUR)).unwrap();
    }

    #[test]
    fn who_gives_up_makes_way() {
        let runtime = Manual::new();
        runtime.run(super::who_gives_up_makes_way(runtime.clone(), HOUR)).unwrap();
    }
}

fn several_threads() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn paused() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}
