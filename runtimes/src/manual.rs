//! A runtime on virtual time, for tests that wait for hours, exact to the microsecond.

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

/// A runtime on virtual time, which moves only when the test moves it. Choose it for tests: they never really
/// wait, and every run is the same.
///
/// It is both a runtime and a clock for storages. Clones share the time and the tasks. The call that moves
/// time runs the spawned tasks. Sleeps end one at a time, in the order of their times; sleeps that end at the
/// same time end in the order of their calls. Between two sleeps, every task that is ready runs. One task
/// runs at a time, in the order in which the tasks were woken.
///
/// * [`advance`](Self::advance) moves time by a given duration, [`run`](Self::run) by as much as a future
///   needs.
/// * The unit of time is the microsecond: a sleep is rounded up to a whole one.
/// * A sleep until [`Timestamp::MAX`] or beyond never ends.
/// * It cannot connect, since servers do not follow virtual time. A test with real servers takes another
///   runtime, and may take this one as the clock of a storage.
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
    shared: Arc<ManualState>,
}

/// The time and the tasks that clones share.
struct ManualState {
    start: Timestamp,
    /// The [`Instant`] that corresponds to `start`.
    origin: Instant,
    time: Mutex<VirtualTime>,
    tasks: Executor<'static>,
}

/// The present, and the sleeps that wait.
struct VirtualTime {
    now: Timestamp,
    /// The sleeps that wait, in the order in which they end.
    alarms: BTreeMap<Alarm, Waker>,
    /// The number of sleeps so far.
    sleeps: u64,
}

/// The time at which a sleep ends, and its number: sleeps that end together end in the order of their calls.
type Alarm = (Timestamp, u64);

impl Manual {
    /// Returns a runtime at [`Timestamp::EPOCH`].
    #[must_use]
    pub fn new() -> Self {
        Self::at(Timestamp::EPOCH)
    }

    /// Returns a runtime at `start`, for tests that need a certain time of day.
    #[must_use]
    pub fn at(start: Timestamp) -> Self {
        let time = Mutex::new(VirtualTime { now: start, alarms: BTreeMap::new(), sleeps: 0 });
        let shared = ManualState { start, origin: Instant::now(), time, tasks: Executor::new() };
        Self { shared: Arc::new(shared) }
    }

    /// Returns the present.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.shared.time().now
    }

    /// Moves time forward by a duration, and runs the spawned tasks on the way. With `Duration::ZERO`, runs
    /// the tasks that are ready now.
    pub fn advance(&self, by: Duration) {
        let until = self.now() + by;
        loop {
            // Every task that is ready runs before time moves, so that no task sees too late a time.
            while self.shared.tasks.try_tick() {}
            match self.shared.advance_to_alarm(until) {
                Some(waker) => waker.wake(),
                None => break,
            }
        }
        // A task may have moved time itself, beyond `until`: time never goes back.
        let mut time = self.shared.time();
        time.now = time.now.max(until);
    }

    /// Runs a future to its end together with the spawned tasks. Moves time to the end of the next sleep
    /// whenever the future and all tasks wait. Blocks the thread.
    ///
    /// # Errors
    ///
    /// Fails with [`Stalled`] if the future and all tasks wait, and none of them sleeps. The future is then
    /// dropped; spawned tasks stay.
    pub fn run<F: Future>(&self, future: F) -> Result<F::Output, Stalled> {
        let woken = Arc::new(WakeFlag(AtomicBool::new(true)));
        let (mut future, waker) = (pin!(future), Waker::from(Arc::clone(&woken)));
        loop {
            // The flag starts as true, for the first poll. Acquire pairs with the release of `wake`: the
            // future sees all that was written before it was woken.
            if woken.0.swap(false, Ordering::AcqRel) {
                if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                    return Ok(output);
                }
            } else if !self.shared.tasks.try_tick() {
                self.shared.advance_to_alarm(Timestamp::MAX).ok_or(Stalled)?.wake();
            }
        }
    }
}

/// The error of [`Manual::run`] for a deadlock: the future and all tasks wait, and none of them for time.
///
/// ```
/// # #[cfg(feature = "manual")] {
/// use traffik::runtime::Manual;
///
/// let error = Manual::new().run(std::future::pending::<()>()).unwrap_err();
/// assert!(error.to_string().contains("no task sleeps"));
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stalled;

impl fmt::Display for Stalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the future and all tasks wait, and no task sleeps; spawn what they wait for on this runtime",
        )
    }
}

impl std::error::Error for Stalled {}

impl Clock for Manual {
    fn now(&self) -> Timestamp {
        self.now()
    }
}

/// The time of day is that of the start, moved as the test moves it.
impl EpochClock for Manual {}

impl Timer for Manual {
    fn sleep(&self, wait: Duration) -> impl Future<Output = ()> + Send + 'static {
        let mut time = self.shared.time();
        time.sleeps += 1;
        ManualSleep { shared: Arc::clone(&self.shared), alarm: (time.now + wait, time.sleeps) }
    }

    fn stopwatch(&self) -> impl Fn() -> Option<Duration> + Send + Sync + 'static {
        let (clock, start) = (self.clone(), self.now());
        move || Some(clock.now().since(start))
    }
}

impl Runtime for Manual {
    fn now(&self) -> Instant {
        let passed = self.now().since(self.shared.start);
        // `Timestamp::MAX` is half a million years from the epoch, which an `Instant` may not represent.
        self.shared.origin.checked_add(passed).unwrap_or(self.shared.origin)
    }

    /// Spawns a future. It runs when time is moved, or when the future of a [`run`](Manual::run) waits.
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

impl ManualState {
    /// Locks the time.
    fn time(&self) -> MutexGuard<'_, VirtualTime> {
        // No code panics under the lock, so the time of a poisoned lock is whole.
        self.time.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Moves time to the end of the next sleep, if that is at `until` or before, and returns its waker.
    fn advance_to_alarm(&self, until: Timestamp) -> Option<Waker> {
        let mut time = self.time();
        let next = time.alarms.first_entry().filter(|next| next.key().0 <= until)?;
        let ((at, _), waker) = next.remove_entry();
        time.now = time.now.max(at);
        Some(waker)
    }
}

/// The future of a sleep. It has an entry in `alarms` while it waits.
struct ManualSleep {
    shared: Arc<ManualState>,
    alarm: Alarm,
}

impl Future for ManualSleep {
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
        // Dropping a waker can drop a task, and with it another sleep, which locks the time. So the lock ends
        // first.
        drop(time);
        drop(before);
        Poll::Pending
    }
}

impl Drop for ManualSleep {
    fn drop(&mut self) {
        // The waker is dropped after the lock, as in `poll`.
        let alarm = self.shared.time().alarms.remove(&self.alarm);
        drop(alarm);
    }
}

/// A flag that says whether the future of a `run` was woken.
struct WakeFlag(AtomicBool);

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}
