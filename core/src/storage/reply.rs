//! The future that a storage answers with.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use super::BackendError;

/// A boxed future that can be sent between threads.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The answer of a storage to one hit on several keys: a verdict for each key, in their order.
///
/// An [`AsyncStorage`](super::AsyncStorage) returns it from its `check_together`; callers of
/// [`AsyncLimiter::check_together`](crate::AsyncLimiter::check_together) do not meet it.
///
/// ```
/// use traffik::storage::{AsyncStorage, Local, MultiKeyReply, Reply};
/// use traffik::{Gcra, Hit, Memory, rate};
///
/// let storage = Local(Memory::new(1_000));
/// let reply = storage.check_together(&Gcra::new(rate!("1/s")), &[&"address", &"user"], &Hit::new(1));
/// assert!(matches!(reply, Reply::Ready(Some(Ok(MultiKeyReply::Atomic(verdicts)))) if verdicts.len() == 2));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MultiKeyReply<V> {
    /// The storage decided in one atomic step.
    Atomic(Vec<V>),
    /// The storage charged one key after another, and refunded those charged before one that denied.
    Sequential(Vec<V>),
    /// The storage cannot decide on so many keys, and did nothing.
    Unsupported,
}

/// The future that a storage answers with: ready already, or pending.
///
/// Await it. A ready reply is never boxed, so a local storage allocates nothing. It needs no pinning and
/// borrows nothing, so it can be part of any other future.
///
/// ```
/// use traffik::storage::Reply;
///
/// # traffik::runtime::Manual::new().run(async {
/// assert_eq!(Reply::ready(Ok(2)).await?, 2);
/// assert_eq!(Reply::pending(async { Ok(3) }).await?, 3);
/// # Ok::<(), traffik::storage::BackendError>(())
/// # })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "an answer that is not awaited is dropped, and with it the call"]
pub enum Reply<T> {
    /// A result that is ready; `None` once it has been taken.
    Ready(Option<Result<T, BackendError>>),
    /// A result that is on its way.
    Pending(BoxFuture<'static, Result<T, BackendError>>),
}

impl<T> Reply<T> {
    /// Creates a reply that is ready, such as a failure that is known before any call.
    ///
    /// Dropping it has no effect.
    ///
    /// # Errors
    ///
    /// The reply fails with the error in `answer`, if it is one.
    pub const fn ready(answer: Result<T, BackendError>) -> Self {
        Self::Ready(Some(answer))
    }

    /// Creates a reply that waits for a future.
    ///
    /// Dropping the reply drops that future.
    ///
    /// # Errors
    ///
    /// The reply fails as the future does.
    pub fn pending(answer: impl Future<Output = Result<T, BackendError>> + Send + 'static) -> Self {
        Self::Pending(Box::pin(answer))
    }
}

/// Combinators run at once, without a box, if the reply is ready; otherwise once it is.
impl<T: 'static> Reply<T> {
    /// Replaces the result by the one that `change` returns.
    ///
    /// The new reply waits as long as this one; dropped before, it never calls `change`.
    ///
    /// # Errors
    ///
    /// The new reply fails if `change` returns an error.
    ///
    /// ```
    /// use traffik::storage::Reply;
    ///
    /// let doubled = Reply::ready(Ok(2)).map(|answer| Ok(2 * answer?));
    /// assert!(matches!(doubled, Reply::Ready(Some(Ok(4)))));
    /// ```
    #[inline]
    pub fn map<U>(
        self,
        change: impl FnOnce(Result<T, BackendError>) -> Result<U, BackendError> + Send + 'static,
    ) -> Reply<U> {
        match self {
            // Runs at once: a local reply stays local, and allocates nothing.
            Self::Ready(Some(answer)) => Reply::ready(change(answer)),
            // Taken already: it stays pending for ever, as a future does that is polled after its end.
            Self::Ready(None) => Reply::Ready(None),
            Self::Pending(answer) => Reply::pending(async move { change(answer.await) }),
        }
    }

    /// Shows the result to `look`, and leaves it as it is.
    ///
    /// The new reply waits as long as this one; dropped before, it never calls `look`.
    ///
    /// # Errors
    ///
    /// The new reply fails as this one does.
    ///
    /// ```
    /// use traffik::storage::{BackendError, ErrorKind, Reply};
    ///
    /// let down = Reply::<u32>::ready(Err(BackendError::new(ErrorKind::Unavailable, "down")));
    /// let looked = down.inspect(|answer| assert!(answer.is_err()));
    /// assert!(matches!(looked, Reply::Ready(Some(Err(_)))));
    /// ```
    #[inline]
    pub fn inspect(self, look: impl FnOnce(&Result<T, BackendError>) + Send + 'static) -> Self {
        match self {
            Self::Ready(answer) => {
                if let Some(answer) = &answer {
                    look(answer);
                }
                Self::Ready(answer)
            }
            Self::Pending(answer) => Self::pending(async move {
                let answer = answer.await;
                look(&answer);
                answer
            }),
        }
    }

    /// Continues with another reply, made from the result of this one.
    ///
    /// The new reply waits for both; dropped before the first result, it never calls `next`.
    ///
    /// # Errors
    ///
    /// The new reply fails as the reply of `next` does.
    ///
    /// ```
    /// use traffik::storage::{BackendError, ErrorKind, Reply};
    ///
    /// let down = Reply::<u32>::ready(Err(BackendError::new(ErrorKind::Unavailable, "down")));
    /// let fallback = down.then(|it| if it.is_err() { Reply::ready(Ok(7)) } else { Reply::ready(it) });
    /// assert!(matches!(fallback, Reply::Ready(Some(Ok(7)))));
    /// ```
    #[inline]
    pub fn then<U: Send>(
        self,
        next: impl FnOnce(Result<T, BackendError>) -> Reply<U> + Send + 'static,
    ) -> Reply<U> {
        match self {
            Self::Ready(Some(answer)) => next(answer),
            Self::Ready(None) => Reply::Ready(None),
            // Dropping the new future drops whichever of the two calls is on its way.
            Self::Pending(answer) => Reply::pending(async move { next(answer.await).await }),
        }
    }
}

impl<T> fmt::Debug for Reply<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ready(_) => "Reply::Ready",
            Self::Pending(_) => "Reply::Pending",
        })
    }
}

/// A reply pins nothing but the future in its box.
impl<T> Unpin for Reply<T> {}

impl<T> Future for Reply<T> {
    type Output = Result<T, BackendError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        // States: `Ready(Some)` becomes `Ready(None)` when its result is taken; `Pending` stays what it is.
        match &mut *self {
            Self::Pending(answer) => answer.as_mut().poll(context),
            Self::Ready(answer) => match answer.take() {
                Some(answer) => Poll::Ready(answer),
                // As with every future, polling again after the end is the caller's mistake.
                None => Poll::Pending,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::sync::Arc;
    use core::future::{pending, ready};
    use core::pin::pin;
    use core::task::Waker;

    use super::*;
    use crate::storage::ErrorKind;

    fn now<T>(reply: Reply<T>) -> Poll<Result<T, BackendError>> {
        pin!(reply).poll(&mut Context::from_waker(Waker::noop()))
    }

    fn answer<T>(reply: Reply<T>) -> Result<T, ErrorKind> {
        match now(reply) {
            Poll::Ready(answer) => answer.map_err(|failure| failure.kind()),
            Poll::Pending => unreachable!("it is there"),
        }
    }

    fn later(answer: Result<u32, ErrorKind>) -> Reply<u32> {
        Reply::pending(ready(answer.map_err(failure)))
    }

    fn failure(kind: ErrorKind) -> BackendError {
        BackendError::new(kind, "down")
    }

    #[test]
    fn combinators_run_at_once_only_if_the_answer_is_there() {
        let ready = Reply::ready(Ok(1)).map(|answer| answer).inspect(|_| {}).then(Reply::ready);
        assert!(matches!(ready, Reply::Ready(Some(Ok(1)))));
        let (waiting, run) = (Reply::<u32>::pending(pending()), Arc::new(()));
        let runs = Arc::clone(&run);
        let waiting = waiting.map(|answer| answer).inspect(move |_| drop(runs)).then(Reply::ready);
        assert!(now(waiting).is_pending());
        assert_eq!(Arc::strong_count(&run), 1, "a call that is dropped drops what was to follow");
        assert!(matches!(Reply::<u32>::Ready(None).then(Reply::ready), Reply::Ready(None)));
    }

    #[test]
    fn combinators_see_answers_and_failures_alike() {
        for make in [|answer: Result<u32, ErrorKind>| Reply::ready(answer.map_err(failure)), later] {
            assert_eq!(answer(make(Ok(1)).map(|answer| answer.map(|it| it + 1))), Ok(2));
            assert_eq!(answer(make(Err(ErrorKind::Full)).map(|answer| answer.or(Ok(3)))), Ok(3));
            assert_eq!(answer(make(Ok(4)).inspect(|answer| assert!(answer.is_ok()))), Ok(4));
            let failed = make(Ok(5)).then(|_| Reply::<u32>::ready(Err(failure(ErrorKind::Full))));
            assert_eq!(answer(failed), Err(ErrorKind::Full));
            assert_eq!(answer(make(Err(ErrorKind::Full)).then(|_| later(Ok(6)))), Ok(6));
        }
    }
}
