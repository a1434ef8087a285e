//! Stores that are far away, or down; both count who asks.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};

use traffik_backends::Memory;
use traffik_core::storage::{AsyncStorage, BackendError, BoxFuture, Local, Reply};
use traffik_core::{ErasedKey, ErrorKind, ManualClock, Op, Strategy, Timestamp};

use traffik_core::Gcra;

/// Polls a future whose value is there when it is asked for again.
pub(crate) fn polled<T>(mut answer: Pin<&mut (dyn Future<Output = T> + Send)>) -> Option<T> {
    let mut context = Context::from_waker(Waker::noop());
    (0..8).find_map(|_| match answer.as_mut().poll(&mut context) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    })
}

/// A store whose answers have to be waited for.
#[derive(Clone)]
pub(crate) struct Far {
    store: Local<Arc<Memory<Gcra, Arc<ManualClock>>>>,
    calls: Arc<AtomicU64>,
}

impl Far {
    pub(crate) fn new(clock: &Arc<ManualClock>) -> Self {
        let store = Local(Arc::new(Memory::builder().capacity(10_000).clock(Arc::clone(clock)).build()));
        Self { store, calls: Arc::default() }
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    fn far<T: Send + 'static>(&self, answer: Reply<T>) -> Reply<T> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        let mut is_sent = false;
        let way: BoxFuture<'static, ()> = Box::pin(poll_fn(move |_| {
            if std::mem::replace(&mut is_sent, true) { Poll::Ready(()) } else { Poll::Pending }
        }));
        Reply::pending(async move {
            way.await;
            answer.await
        })
    }
}

impl AsyncStorage<Gcra> for Far {
    fn apply(&self, limit: &Gcra, key: &dyn ErasedKey, op: &Op<Gcra>) -> Reply<<Gcra as Strategy>::Verdict> {
        self.far(self.store.apply(limit, key, op))
    }

    fn load(&self, limit: &Gcra, key: &dyn ErasedKey) -> Reply<(<Gcra as Strategy>::State, Timestamp)> {
        self.far(self.store.load(limit, key))
    }
}

/// A store that is not to be called.
#[derive(Default)]
pub(crate) struct Down(AtomicU64);

impl Down {
    pub(crate) fn calls(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn down<T>(&self) -> Reply<T> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Reply::ready(Err(BackendError::new(ErrorKind::Unavailable, "it is down")))
    }
}

impl AsyncStorage<Gcra> for Down {
    fn apply(&self, _: &Gcra, _: &dyn ErasedKey, _: &Op<Gcra>) -> Reply<<Gcra as Strategy>::Verdict> {
        self.down()
    }

    fn load(&self, _: &Gcra, _: &dyn ErasedKey) -> Reply<(<Gcra as Strategy>::State, Timestamp)> {
        self.down()
    }
}
