//! Futures that continue in the background when their caller is dropped.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use traffik_core::storage::BoxFuture;

/// A function that runs a future in the background.
pub(crate) type SpawnFn = dyn Fn(BoxFuture<'static, ()>) + Send + Sync;

/// A future that continues in the background if it is dropped before its end.
pub(crate) struct BackgroundFuture<T: Send + 'static> {
    /// The future; `None` once it has completed.
    future: Option<BoxFuture<'static, T>>,
    spawn: Arc<SpawnFn>,
}

impl<T: Send + 'static> BackgroundFuture<T> {
    pub(crate) const fn new(future: BoxFuture<'static, T>, spawn: Arc<SpawnFn>) -> Self {
        Self { future: Some(future), spawn }
    }
}

impl<T: Send + 'static> Future for BackgroundFuture<T> {
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

impl<T: Send + 'static> Drop for BackgroundFuture<T> {
    fn drop(&mut self) {
        // `poll` has removed a future that has completed, so it is not polled again here.
        if let Some(future) = self.future.take() {
            (self.spawn)(Box::pin(async move { drop(future.await) }));
        }
    }
}

/// Returns a spawn function that never panics: a future that cannot be spawned is dropped.
pub(crate) fn background(spawn: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static) -> Arc<SpawnFn> {
    // Futures are spawned from `Drop` as well, perhaps after their runtime has ended: tokio panics then, and
    // a second panic while one unwinds would abort the process.
    Arc::new(move |future| drop(catch_unwind(AssertUnwindSafe(|| spawn(future)))))
}

/// Spawns a future in the background. Returns it for the caller to await if there is no spawner.
pub(crate) fn spawn_or_return(
    spawner: Option<&Arc<SpawnFn>>,
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
