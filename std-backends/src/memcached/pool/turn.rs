//! The place of a call in the line for a connection.

use std::future::poll_fn;
use std::sync::Mutex;
use std::task::{Poll, Waker};

use traffik_core::storage::BackendError;

use super::super::wire::Wire;
use crate::util::mutex::lock;

/// The end of a call's wait in line.
pub(super) enum Come<T> {
    /// A connection.
    Wire(Box<Wire<T>>),
    /// None, and why.
    Failed(BackendError),
    /// Nothing yet, but an attempt to connect may be due.
    Look,
}

/// A turn: what has come, and whom that wakes.
///
/// Something comes only while the pool's state is locked, and the line is left under the same lock: so
/// nothing comes to a call that has gone.
pub(super) struct Turn<T>(Mutex<(Option<Come<T>>, Option<Waker>)>);

impl<T> Default for Turn<T> {
    fn default() -> Self {
        Self(Mutex::new((None, None)))
    }
}

impl<T> Turn<T> {
    /// Puts what comes; a connection or a failure is never replaced. Returns whom to wake, once the pool's
    /// state is unlocked.
    #[must_use]
    pub(super) fn put(&self, come: Come<T>) -> Option<Waker> {
        let mut turn = lock(&self.0);
        if !matches!(turn.0, Some(Come::Wire(_) | Come::Failed(_))) {
            turn.0 = Some(come);
        }
        turn.1.take()
    }

    /// Takes what has come.
    pub(super) fn take(&self) -> Option<Come<T>> {
        lock(&self.0).0.take()
    }

    /// Waits for what comes.
    pub(super) async fn next(&self) -> Come<T> {
        poll_fn(|context| {
            let mut turn = lock(&self.0);
            let Some(come) = turn.0.take() else {
                turn.1 = Some(context.waker().clone());
                return Poll::Pending;
            };
            Poll::Ready(come)
        })
        .await
    }
}
