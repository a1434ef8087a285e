//! What is on its way to the primary for all who wait for it.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use traffik_core::storage::{BoxFuture, ErrorKind, Failure};

type Merged = Result<(), Failure>;

/// The charges of one key. Whoever waits for them carries them on, so nobody is held up by somebody who does not. When nobody
/// waits any more they are dropped.
pub(super) struct Merge {
    /// Not there while it is polled, and once it is done.
    charges: Mutex<Option<BoxFuture<'static, Merged>>>,
    merged: OnceLock<Merged>,
    alarm: Arc<Alarm>,
}

impl Merge {
    pub(super) fn new(charges: BoxFuture<'static, Merged>) -> Arc<Self> {
        let charges = Mutex::new(Some(charges));
        Arc::new(Self { charges, merged: OnceLock::new(), alarm: Arc::default() })
    }

    pub(super) fn is_done(&self) -> bool {
        self.merged.get().is_some()
    }

    /// Lets the charges go on, unless somebody else is at it.
    fn carry_on(&self) {
        let Some(mut charges) = lock(&self.charges).take() else { return };
        self.alarm.is_woken.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&self.alarm));
        let polled =
            catch_unwind(AssertUnwindSafe(|| charges.as_mut().poll(&mut Context::from_waker(&waker))));
        let (merged, panic) = match polled {
            Ok(Poll::Pending) => {
                *lock(&self.charges) = Some(charges);
                // Whoever was woken meanwhile has found them gone.
                if self.alarm.is_woken.swap(false, Ordering::SeqCst) {
                    self.alarm.wake_all();
                }
                return;
            }
            Ok(Poll::Ready(merged)) => (merged, None),
            Err(panic) => (Err(Failure::new(ErrorKind::Timeout, "the store panicked")), Some(panic)),
        };
        // Set by nobody else, for there is one future.
        let _ = self.merged.set(merged);
        self.alarm.wake_all();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }
}

/// Waits for charges.
pub(super) struct Waiting(pub(super) Arc<Merge>);

impl Future for Waiting {
    type Output = Merged;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Merged> {
        let told = || self.0.merged.get().cloned().map_or(Poll::Pending, Poll::Ready);
        self.0.alarm.is_to_wake(context.waker());
        if !self.0.is_done() {
            self.0.carry_on();
        }
        told()
    }
}

/// Wakes all: nobody knows which of them is going to poll again soon.
#[derive(Default)]
struct Alarm {
    /// Since the charges were polled last.
    is_woken: AtomicBool,
    wakers: Mutex<Vec<Waker>>,
}

impl Alarm {
    fn is_to_wake(&self, waker: &Waker) {
        let mut wakers = lock(&self.wakers);
        if !wakers.iter().any(|it| it.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }

    fn wake_all(&self) {
        let wakers = std::mem::take(&mut *lock(&self.wakers));
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::SeqCst);
        self.wake_all();
    }
}

fn lock<T>(it: &Mutex<T>) -> MutexGuard<'_, T> {
    it.lock().unwrap_or_else(PoisonError::into_inner)
}
