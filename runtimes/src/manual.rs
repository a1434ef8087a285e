//! A runtime on virtual time: for tests that wait for hours, and to the microsecond.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use async_executor::Executor;
use traffik_core::{Clock, EpochClock, Timer, Timestamp};

use crate::Runtime;

/// A runtime whose time stands still until it is moved, for tests: nothing is ever waited for, and every run
/// is the same.
///
/// It is a runtime, and a clock for storages too; clones are the same one. Whoever moves its time runs all
/// that is spawned on it: alarms ring one at a time, in order, those of one time in the order in which they
/// were set; and between two of them all goes on that can. One task runs at a time, and whoever was woken
/// first goes on first.
///
/// * [`advance`](Self::advance) moves time by so much, [`run`](Self::run) by as much as a future needs.
/// * It knows no time of less than a microsecond: a sleep is rounded up to a whole one.
/// * A sleep until [`Timestamp::MAX`] or beyond never ends.
/// * It cannot connect, for whatever comes from outside is on no virtual time. A test with real servers takes
///   a real runtime, and may take this one for the clock of a storage.
///
/// ```
/// use std::time::Duration;
/// use traffik::Memory;
/// use traffik::{Limiter, TokenBucket, rate};
/// use traffik::runtime::{Manual, Runtime};
///
/// let runtime = Manual::new();
/// let storage = Memory::builder().clock(runtime.clone()).build();
/// let limiter = Limiter::new(TokenBucket::new(rate!("10/h")), storage);
///
/// // Ten at once, and two more after six minutes each.
/// let waited = runtime.run(async {
///     for _ in 0..12 {
///         limiter.until_ready("alice", &runtime).await?;
///     }
///     Ok::<_, traffik::WaitError>(runtime.now().as_micros())
/// })?;
/// assert_eq!(waited?, 12 * 60 * 1_000_000);
///
/// let mut interval = runtime.interval(Duration::from_secs(60));
/// runtime.spawn(async move {
///     loop {
///         interval.tick().await;
///         println!("once a minute");
///     }
/// });
/// runtime.advance(Duration::from_secs(3_600)); // prints it sixty times
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Manual {
    shared: Arc<Shared>,
}

struct Shared {
    start: Timestamp,
    /// What stands for the start where an [`Instant`] is asked for.
    origin: Instant,
    time: Mutex<Time>,
    tasks: Executor<'static>,
}

struct Time {
    now: Timestamp,
    alarms: BTreeMap<Alarm, Waker>,
    /// Sleeps so far.
    sleeps: u64,
}

/// When it rings, and which sleep set it.
type Alarm = (Timestamp, u64);

impl Manual {
    /// A runtime at the beginning of time.
    #[must_use]
    pub fn new() -> Self {
        Self::at(Timestamp::EPOCH)
    }

    /// A runtime that stands at `start`, so that the hour of the day is what a test needs.
    #[must_use]
    pub fn at(start: Timestamp) -> Self {
        let time = Mutex::new(Time { now: start, alarms: BTreeMap::new(), sleeps: 0 });
        let shared = Shared { start, origin: Instant::now(), time, tasks: Executor::new() };
        Self { shared: Arc::new(shared) }
    }

    /// The present.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.time().now
    }

    /// Moves time forward, and on the way runs whatever is spawned; by nothing, runs what can go on as it is.
    pub fn advance(&self, by: Duration) {
        let until = self.now() + by;
        loop {
            while self.shared.tasks.try_tick() {}
            match self.shared.ring(until) {
                Some(waker) => waker.wake(),
                None => break,
            }
        }
        let mut time = self.shared.time();
        time.now = time.now.max(until);
    }

    /// Runs a future to its end, and meanwhile whatever is spawned, moving time on whenever all of them wait.
    ///
    /// # Errors
    ///
    /// [`Stalled`] if they wait and no alarm is set: time would not help.
    pub fn run<F: Future>(&self, future: F) -> Result<F::Output, Stalled> {
        let woken = Arc::new(Woken(AtomicBool::new(true)));
        let (mut future, waker) = (pin!(future), Waker::from(Arc::clone(&woken)));
        loop {
            if woken.0.swap(false, Ordering::AcqRel) {
                if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return Ok(output);
                }
            } else if !self.shared.tasks.try_tick() {
                self.shared.ring(Timestamp::MAX).ok_or(Stalled)?.wake();
            }
        }
    }
}

/// All that runs waits, and none of it for time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stalled;

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("all wait, and none for time: what is awaited must happen on this runtime too")
    }
}

impl std::error::Error for Stalled {}

impl Clock for Manual {
    fn now(&self) -> Timestamp {
        self.now()
    }
}

/// It stands at the time of day that it was started at.
impl EpochClock for Manual {}

impl Timer for Manual {
    fn sleep(&self, wait: Duration) -> impl Future<Output = ()> + Send + 'static {
        let mut time = self.shared.time();
        time.sleeps += 1;
        Sleep { shared: Arc::clone(&self.shared), alarm: (time.now + wait, time.sleeps) }
    }

    fn stopwatch(&self) -> impl Fn() -> Option<Duration> + Send + Sync + 'static {
        let (clock, start) = (self.clone(), self.now());
        move || Some(clock.now().since(start))
    }
}

impl Runtime for Manual {
    fn now(&self) -> Instant {
        let passed = self.now().since(self.shared.start);
        // Half a million years from its origin an instant may be beyond what the system can tell.
        self.shared.origin.checked_add(passed).unwrap_or(self.shared.origin)
    }

    /// Runs when time is moved, or at the next wait of a [`run`](Manual::run).
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        self.shared.tasks.spawn(future).detach();
    }
}

impl Default for Manual {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Manual {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Manual({})", self.now())
    }
}

impl Shared {
    /// Nobody panics with it.
    fn time(&self) -> MutexGuard<'_, Time> {
        self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves time to the next alarm, if there is one until then, and takes it.
    fn ring(&self, until: Timestamp) -> Option<Waker> {
        let mut time = self.time();
        let next = time.alarms.first_entry().filter(|next| next.key().0 <= until)?;
        let ((at, _), waker) = next.remove_entry();
        time.now = time.now.max(at);
        Some(waker)
    }
}

struct Sleep {
    shared: Arc<Shared>,
    alarm: Alarm,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let (at, _) = self.alarm;
        if at == Timestamp::MAX {
            return Poll::Pending;
        }
        let mut time = self.shared.time();
        if time.now >= at {
            return Poll::Ready(());
        }
        let before = time.alarms.insert(self.alarm, context.waker().clone());
        // To drop a waker can drop a task, and with it another sleep.
        drop(time);
        drop(before);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        let alarm = self.shared.time().alarms.remove(&self.alarm);
        drop(alarm);
    }
}

/// Whether a future was woken.
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}
