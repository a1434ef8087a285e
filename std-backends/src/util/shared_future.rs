//! A future that all its waiters poll, and none owns.
//!
//! [`futures_util::future::Shared`] breaks two promises of [`SharedFuture`]. It loses a wake-up during a poll
//! for waiters that found the future taken, and after a panic it panics in all waiters.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::task::{Context, Poll, Wake, Waker};

use slab::Slab;
use traffik_core::storage::{BackendError, BoxFuture, ErrorKind};

use super::mutex::lock;

/// A waiter for a future that all its clones share.
///
/// * Every waiter that is polled polls the future, so a waiter that leaves delays nobody.
/// * The future is dropped with its last waiter, unless it has ended.
/// * A wake-up of the future wakes all waiters, since nobody knows which of them will be polled again.
/// * A panic of the future continues in the waiter that polled it. All others fail with
///   [`ErrorKind::Timeout`], or as [`or_else`](Self::or_else) says.
/// * The outcome is returned as often as a waiter is polled.
pub(crate) struct SharedFuture<T> {
    driven: Arc<DrivenFuture<T>>,
    /// The waiter's place among the wakers, once it was polled.
    place: Option<usize>,
}

/// A handle that does not keep the future alive.
pub(crate) struct WeakSharedFuture<T>(Weak<DrivenFuture<T>>);

/// The future, its outcome and its waiters.
///
/// States: `future` is `Some` while idle, `None` while one waiter polls it, and `None` for ever once
/// `outcome` is set.
struct DrivenFuture<T> {
    /// The future; `None` during a poll, and once it ended.
    future: Mutex<Option<BoxFuture<'static, Result<T, BackendError>>>>,
    outcome: OnceLock<Result<T, BackendError>>,
    waiters: Arc<SharedWakers>,
    /// The failure of all other waiters after a panic.
    panicked: (ErrorKind, &'static str),
}

/// The wakers of all waiters. The future's waker refers to them, and they do not refer to the future, which
/// would otherwise keep itself alive.
#[derive(Default)]
struct SharedWakers {
    wakers: Mutex<Slab<Option<Waker>>>,
    /// Whether the future was woken since its last poll began.
    is_woken: AtomicBool,
}

impl<T: Clone> SharedFuture<T> {
    /// Shares a future. Nothing polls it before a waiter is polled.
    pub(crate) fn new(future: impl Future<Output = Result<T, BackendError>> + Send + 'static) -> Self {
        Self::or_else(ErrorKind::Timeout, "the store panicked; the hit may have been charged", future)
    }

    /// Shares a future, with another failure for the waiters that did not poll a panic.
    pub(crate) fn or_else(
        kind: ErrorKind,
        panicked: &'static str,
        future: impl Future<Output = Result<T, BackendError>> + Send + 'static,
    ) -> Self {
        let (future, outcome) = (Mutex::new(Some(Box::pin(future) as BoxFuture<'_, _>)), OnceLock::new());
        let driven = DrivenFuture { future, outcome, waiters: Arc::default(), panicked: (kind, panicked) };
        Self { driven: Arc::new(driven), place: None }
    }

    /// Returns the outcome once the future ended.
    pub(crate) fn peek(&self) -> Option<&Result<T, BackendError>> {
        self.driven.outcome.get()
    }

    pub(crate) fn downgrade(&self) -> WeakSharedFuture<T> {
        WeakSharedFuture(Arc::downgrade(&self.driven))
    }
}

impl<T: Clone> WeakSharedFuture<T> {
    /// Returns another waiter, unless no waiter is left or the future has ended.
    pub(crate) fn upgrade(&self) -> Option<SharedFuture<T>> {
        let driven = self.0.upgrade().filter(|driven| driven.outcome.get().is_none())?;
        Some(SharedFuture { driven, place: None })
    }
}

impl<T: Clone> Future for SharedFuture<T> {
    type Output = Result<T, BackendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { driven, place } = &mut *self;
        if driven.outcome.get().is_none() {
            // Registers first: the waiter that polls the future right now wakes all registered waiters
            // before it ends.
            let place = driven.waiters.register(place, context.waker());
            let future = lock(&driven.future).take();
            if let Some(panic) = future.and_then(|future| driven.poll(future, place)) {
                resume_unwind(panic);
            }
        }
        driven.outcome.get().cloned().map_or(Poll::Pending, Poll::Ready)
    }
}

impl<T> DrivenFuture<T> {
    /// Polls the future for the waiter at `place`, and returns its panic, if any.
    fn poll(
        &self,
        mut future: BoxFuture<'static, Result<T, BackendError>>,
        place: usize,
    ) -> Option<Box<dyn Any + Send>> {
        // SeqCst, and cleared before the poll: a wake-up during the poll is seen by the swap after the
        // future is back.
        self.waiters.is_woken.store(false, Ordering::SeqCst);
        let waker = Waker::from(Arc::clone(&self.waiters));
        let mut context = Context::from_waker(&waker);
        let polled = catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context)));
        let (outcome, panic) = match polled {
            Ok(Poll::Pending) => {
                *lock(&self.future) = Some(future);
                if self.waiters.is_woken.swap(false, Ordering::SeqCst) {
                    // A waiter that was woken during the poll found no future. Wake all again, now that it
                    // is back.
                    self.waiters.wake_all();
                }
                return None;
            }
            Ok(Poll::Ready(outcome)) => (outcome, None),
            Err(panic) => {
                let (kind, panicked) = self.panicked;
                (Err(BackendError::new(kind, panicked)), Some(panic))
            }
        };
        let _ = self.outcome.set(outcome);
        if panic.is_none() {
            self.waiters.set(place, None);
        }
        self.waiters.wake_all();
        panic
    }
}

impl SharedWakers {
    fn register(&self, place: &mut Option<usize>, waker: &Waker) -> usize {
        let waker = Some(waker.clone());
        if let Some(place) = *place {
            self.set(place, waker);
            return place;
        }
        *place.insert(lock(&self.wakers).insert(waker))
    }

    fn set(&self, place: usize, waker: Option<Waker>) {
        let replaced = lock(&self.wakers).get_mut(place).map(|known| std::mem::replace(known, waker));
        // Outside the lock: dropping a waker may drop a waiter.
        drop(replaced);
    }

    fn wake_all(&self) {
        // Mostly one waiter is alone, and then nothing is allocated.
        let (first, others) = {
            let mut wakers = lock(&self.wakers);
            let mut taken = wakers.iter_mut().filter_map(|(_, waker)| waker.take());
            (taken.next(), taken.collect::<Vec<_>>())
        };
        first.into_iter().chain(others).for_each(Waker::wake);
    }
}

impl Wake for SharedWakers {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, Ordering::SeqCst);
        self.wake_all();
    }
}

impl<T> Clone for SharedFuture<T> {
    fn clone(&self) -> Self {
        Self { driven: Arc::clone(&self.driven), place: None }
    }
}

impl<T> Drop for SharedFuture<T> {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            // Outside the lock: dropping a waker may drop a waiter.
            let waker = lock(&self.driven.waiters.wakers).try_remove(place);
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[derive(Default)]
    struct WakeCount(AtomicU32);

    impl Wake for WakeCount {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn poll<T: Clone>(waiter: &mut SharedFuture<T>, count: &Arc<WakeCount>) -> Poll<Result<T, BackendError>> {
        Pin::new(waiter).poll(&mut Context::from_waker(&Waker::from(Arc::clone(count))))
    }

    fn woken(count: &WakeCount) -> u32 {
        count.0.swap(0, Ordering::Relaxed)
    }

    #[test]
    fn a_wake_up_reaches_all_who_wait_and_the_outcome_all_who_ask() {
        let known = Arc::new(Mutex::new((None, 0)));
        let store = Arc::clone(&known);
        let mut first = SharedFuture::new(poll_fn(move |context| {
            let mut store = lock(&store);
            store.0 = Some(context.waker().clone());
            store.1 += 1;
            if store.1 > 2 { Poll::Ready(Ok(store.1)) } else { Poll::Pending }
        }));
        let (mut second, mut left) = (first.clone(), first.clone());
        let counts: [Arc<WakeCount>; 3] = std::array::from_fn(|_| Arc::default());
        assert!(poll(&mut first, &counts[0]).is_pending() && poll(&mut left, &counts[2]).is_pending());
        drop(left);
        assert!(first.peek().is_none());
        assert!(second.downgrade().upgrade().is_some());
        let wake = || lock(&known).0.take().unwrap().wake();
        wake();
        assert_eq!(counts.each_ref().map(|count| woken(count)), [1, 0, 0]);
        assert!(matches!(poll(&mut second, &counts[1]), Poll::Ready(Ok(3))));
        assert!(matches!(poll(&mut second, &counts[1]), Poll::Ready(Ok(3))));
        assert!(matches!(first.peek(), Some(Ok(3))) && first.downgrade().upgrade().is_none());
    }

    /// The second waiter arrives while the first one polls, after the wake-up, and is woken once more.
    #[test]
    fn a_waiter_that_is_turned_away_during_a_poll_is_woken_after_it() {
        let counts: [Arc<WakeCount>; 2] = std::array::from_fn(|_| Arc::default());
        let (second, count) = (Arc::new(Mutex::new(None::<SharedFuture<()>>)), Arc::clone(&counts[1]));
        let turned_away = Arc::clone(&second);
        let mut first = SharedFuture::new(poll_fn(move |context| {
            context.waker().wake_by_ref();
            let mut second = lock(&turned_away);
            assert!(poll(second.as_mut().unwrap(), &count).is_pending());
            Poll::Pending
        }));
        *lock(&second) = Some(first.clone());
        assert!(poll(&mut first, &counts[0]).is_pending());
        assert_eq!(counts.each_ref().map(|count| woken(count)), [1, 1]);
        *lock(&second) = None;
    }

    #[test]
    fn it_is_dropped_with_its_last_waiter() {
        let owned = Arc::new(());
        let kept = Arc::clone(&owned);
        let mut first = SharedFuture::<()>::new(async move {
            let _kept = kept;
            pending().await
        });
        let count = Arc::default();
        assert!(poll(&mut first, &count).is_pending());
        let (second, weak) = (first.clone(), first.downgrade());
        drop(first);
        assert_eq!(Arc::strong_count(&owned), 2);
        drop(second);
        assert!(Arc::strong_count(&owned) == 1 && weak.upgrade().is_none());
    }

    #[test]
    fn a_panic_goes_on_where_it_was_polled_and_fails_the_others() {
        let mut first = SharedFuture::<()>::new(async { resume_unwind(Box::new(7)) });
        let (mut second, count) = (first.clone(), Arc::default());
        let panic = catch_unwind(AssertUnwindSafe(|| poll(&mut first, &count))).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&7));
        for waiter in [&mut second, &mut first] {
            let failure = poll(waiter, &count).map(|outcome| outcome.unwrap_err().kind());
            assert_eq!(failure, Poll::Ready(ErrorKind::Timeout));
        }
    }
}
