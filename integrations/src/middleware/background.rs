//! A future that goes on in the background when nobody waits for it any more.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use traffik_core::storage::BoxFuture;

/// Runs something in the background.
pub(crate) type Spawn = dyn Fn(BoxFuture<'static, ()>) + Send + Sync;

/// Comes to its end even if it is dropped before.
pub(crate) struct Unbroken<T: Send + 'static> {
    /// `None` once it has come to its end.
    future: Option<BoxFuture<'static, T>>,
    spawn: Arc<Spawn>,
}

impl<T: Send + 'static> Unbroken<T> {
    pub(crate) const fn new(future: BoxFuture<'static, T>, spawn: Arc<Spawn>) -> Self {
        Self { future: Some(future), spawn }
    }
}

impl<T: Send + 'static> Future for Unbroken<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        // As with every future, polling again after the end is the caller's mistake.
        let Some(future) = &mut self.future else { return Poll::Pending };
        let answer = future.as_mut().poll(context);
        if answer.is_ready() {
            self.future = None;
        }
        answer
    }
}

impl<T: Send + 'static> Drop for Unbroken<T> {
    fn drop(&mut self) {
        if let Some(future) = self.future.take() {
            (self.spawn)(Box::pin(async move { drop(future.await) }));
        }
    }
}

/// What runs something in the background. It is asked where futures are dropped as well, perhaps after their runtime
/// has ended: what cannot be run then is given up, without a panic.
pub(crate) fn background(spawn: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static) -> Arc<Spawn> {
    Arc::new(move |future| drop(catch_unwind(AssertUnwindSafe(|| spawn(future)))))
}

/// Runs something without making anybody wait: in the background, or else it is for the caller to see to.
pub(crate) fn aside(
    spawner: Option<&Arc<Spawn>>,
    future: impl Future<Output = ()> + Send + 'static,
) -> Option<BoxFuture<'static, ()>> {
    let future: BoxFuture<'static, ()> = Box::pin(future);
    match spawner {
        Some(spawn) => {
            spawn(future);
            None
        }
        None => Some(future),
    }
}
