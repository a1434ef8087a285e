//! Waiters on virtual time: who is admitted when, and how often each is woken.

use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::select;
use futures_util::stream::FuturesUnordered;
use traffik::runtime::{Manual, Runtime};
use traffik::{Limiter, Memory, Outcome, Storage, Strategy, Timer, Verdict};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) type Limited<S> = Limiter<S, Memory<S, Manual>>;

pub(crate) fn limited<S: Strategy>(strategy: S, runtime: &Manual) -> Arc<Limited<S>> {
    Arc::new(Limiter::new(strategy, Memory::builder().clock(runtime.clone()).build()))
}

pub(crate) fn nobody_waits<S: Strategy>(limiter: &Limited<S>, key: &str) -> bool {
    limiter.storage().wait_queue().unwrap().is_empty(&key)
}

/// Counts how often a future is polled: once when it begins, and whenever it was woken.
pub(crate) struct Counted<F> {
    future: Pin<Box<F>>,
    polls: Arc<AtomicUsize>,
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        self.future.as_mut().poll(context)
    }
}

/// The outcomes of some waiters.
#[derive(Clone, Default)]
pub(crate) struct Served {
    /// The admitted waiters and their times in microseconds, in that order.
    admitted: Arc<Mutex<Vec<(usize, u64)>>>,
    polls: Vec<Arc<AtomicUsize>>,
}

impl Served {
    /// Spawns a waiter for this cost, which gives up when `gives_up` is there.
    pub(crate) fn wait<S: Strategy<Cost = u32>>(
        &mut self,
        limiter: &Arc<Limiter<S, impl Storage<S> + Send + Sync + 'static>>,
        runtime: &Manual,
        cost: u32,
        gives_up: impl Future<Output = ()> + Send + 'static,
    ) {
        let (number, admitted, polls) = (self.polls.len(), Arc::clone(&self.admitted), Arc::default());
        self.polls.push(Arc::clone(&polls));
        let (limiter, clock) = (Arc::clone(limiter), runtime.clone());
        runtime.clone().spawn(async move {
            let waiting = async {
                limiter.until_ready_n("key", cost, &clock).await.unwrap();
                admitted.lock().unwrap().push((number, clock.now().as_micros()));
            };
            select(Counted { future: Box::pin(waiting), polls }, pin!(gives_up)).await;
        });
    }

    pub(crate) fn admitted(&self) -> Vec<(usize, u64)> {
        self.admitted.lock().unwrap().clone()
    }

    /// How often each was woken.
    pub(crate) fn wakes(&self) -> Vec<usize> {
        self.polls.iter().map(|polls| polls.load(Ordering::Relaxed) - 1).collect()
    }
}

/// `number` waiters that come at once.
pub(crate) fn crowd<S: Strategy<Cost = u32>>(
    limiter: &Arc<Limited<S>>,
    runtime: &Manual,
    number: usize,
) -> Served {
    let mut served = Served::default();
    for _ in 0..number {
        served.wait(limiter, runtime, 1, pending());
    }
    served
}

/// The admissions of one client that always waits for the time of its denial.
pub(crate) fn alone<S: Strategy<Cost = u32>>(strategy: S, number: usize) -> Vec<u64> {
    let runtime = Manual::new();
    let limiter = limited(strategy, &runtime);
    let times = runtime.run(async {
        let mut times = Vec::new();
        while times.len() < number {
            match limiter.check("key").unwrap().outcome() {
                Outcome::Allow { .. } => times.push(runtime.now().as_micros()),
                Outcome::Deny { retry_after } => runtime.sleep(retry_after).await,
                Outcome::Never => unreachable!("one can pass"),
            }
        }
        times
    });
    times.unwrap()
}

/// How often each waiter is woken if all come at once and are admitted at these times: once when its turn
/// comes, unless it was the first, and once more at its time, unless that is when its turn comes.
pub(crate) fn wakes(times: &[u64]) -> Vec<usize> {
    let behind = |at, before| 1 + usize::from(at > before);
    let before = [0].into_iter().chain(times.iter().copied());
    let pairs = times.iter().copied().zip(before);
    pairs.map(|(at, before)| if before == 0 { usize::from(at > 0) } else { behind(at, before) }).collect()
}

/// The outputs of all futures, each polled only when it was woken itself.
pub(crate) async fn all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let numbered =
        futures.into_iter().enumerate().map(|(number, future)| async move { (number, future.await) });
    let mut done: Vec<_> = numbered.collect::<FuturesUnordered<_>>().collect().await;
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, output)| output).collect()
}
