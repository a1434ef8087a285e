//! The mailbox of a call that waits for a connection.

use std::future::poll_fn;
use std::sync::Mutex;
use std::task::{Poll, Waker};

use traffik_core::storage::BackendError;

use super::super::wire::Wire;
use crate::util::mutex::lock;

/// A delivery to a call that waits.
pub(super) enum Delivery<T> {
    /// A connection.
    Wire(Box<Wire<T>>),
    /// The failure of an attempt.
    Failed(BackendError),
    /// No connection yet, but an attempt to connect may be due.
    Recheck,
}

/// The latest delivery to a waiting call, and the waker of that call.
///
/// Deliveries are made only while the pool's state is locked, and a call leaves the queue under the same
/// lock. So nothing is delivered to a call that has left.
pub(super) struct Mailbox<T>(Mutex<(Option<Delivery<T>>, Option<Waker>)>);

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Self(Mutex::new((None, None)))
    }
}

impl<T> Mailbox<T> {
    /// Puts a delivery. Returns the waker to call once the pool's state is unlocked.
    #[must_use]
    pub(super) fn put(&self, delivery: Delivery<T>) -> Option<Waker> {
        let mut mailbox = lock(&self.0);
        // A connection or a failure is final: replacing it would lose the connection.
        if !matches!(mailbox.0, Some(Delivery::Wire(_) | Delivery::Failed(_))) {
            mailbox.0 = Some(delivery);
        }
        mailbox.1.take()
    }

    /// Takes the delivery, if there is one.
    pub(super) fn take(&self) -> Option<Delivery<T>> {
        lock(&self.0).0.take()
    }

    /// Waits for a delivery.
    pub(super) async fn next(&self) -> Delivery<T> {
        poll_fn(|context| {
            let mut mailbox = lock(&self.0);
            let Some(delivery) = mailbox.0.take() else {
                // The waker is stored under the lock of the delivery, so no delivery falls between the check
                // and the wait.
                mailbox.1 = Some(context.waker().clone());
                return Poll::Pending;
            };
            Poll::Ready(delivery)
        })
        .await
    }
}
