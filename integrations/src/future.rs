//! The way of one request through a throttle, as a future that is a plain enum.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use pin_project_lite::pin_project;
use traffik_core::Strategy;
use traffik_core::storage::AsyncStorage;

use crate::body::ResponseBody;
use crate::throttle::{Step, Throttle, Wait};

/// A service ready to be called once.
pub trait Forward<R> {
    /// What calling it gives.
    type Future;

    /// Calls it.
    fn forward(self, request: R) -> Self::Future;
}

pin_project! {
    /// The response to a request that went through a throttle.
    ///
    /// Nothing in it is boxed unless the storage is remote or the request is delayed. Dropping it drops the
    /// request; what it was charged stays charged.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<N, R, S: Strategy, M>
    where
        N: Forward<Request<R>>,
    {
        throttle: Throttle<S, M>,
        #[pin]
        state: State<N, R, S::Verdict, N::Future>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<N, R, V, F> {
        /// Not passed on yet.
        Waiting { wait: Wait<V>, next: Option<(N, Request<R>)> },
        /// With the inner service.
        Serving { #[pin] inner: F, verdict: Option<V> },
        /// Answered in its stead.
        Answered { response: Option<Response<Bytes>> },
    }
}

impl<N: Forward<Request<R>>, R, S: Strategy, M> ResponseFuture<N, R, S, M> {
    pub(crate) const fn serving(
        throttle: Throttle<S, M>,
        inner: N::Future,
        verdict: Option<S::Verdict>,
    ) -> Self {
        Self { throttle, state: State::Serving { inner, verdict } }
    }

    pub(crate) const fn answered(throttle: Throttle<S, M>, response: Response<Bytes>) -> Self {
        Self { throttle, state: State::Answered { response: Some(response) } }
    }

    pub(crate) const fn waiting(
        throttle: Throttle<S, M>,
        wait: Wait<S::Verdict>,
        next: (N, Request<R>),
    ) -> Self {
        Self { throttle, state: State::Waiting { wait, next: Some(next) } }
    }
}

impl<N, R, S, M, B, E> Future for ResponseFuture<N, R, S, M>
where
    N: Forward<Request<R>>,
    N::Future: Future<Output = Result<Response<B>, E>>,
    S: Strategy,
    M: AsyncStorage<S>,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Serving { inner, verdict } => {
                    let mut response = ready!(inner.poll(context))?;
                    this.throttle.tell(verdict.as_ref(), response.headers_mut());
                    return Poll::Ready(Ok(response.map(ResponseBody::from)));
                }
                StateProjection::Answered { response } => {
                    return match response.take() {
                        Some(response) => Poll::Ready(Ok(response.map(ResponseBody::own))),
                        // As with every future, polling again after the end is the caller's mistake.
                        None => Poll::Pending,
                    };
                }
                StateProjection::Waiting { wait, next } => {
                    let step = match wait {
                        Wait::Storage(reply) => this.throttle.settle(ready!(Pin::new(reply).poll(context))),
                        Wait::Turn(sleep, verdict) => {
                            ready!(sleep.as_mut().poll(context));
                            Step::Pass(verdict.take())
                        }
                    };
                    match (step, next.take()) {
                        (Step::Pass(verdict), Some((inner, request))) => {
                            State::Serving { inner: inner.forward(request), verdict }
                        }
                        (Step::Wait(wait), next) => State::Waiting { wait, next },
                        (Step::Answer(response), _) => State::Answered { response: Some(response) },
                        (Step::Pass(_), None) => return Poll::Pending,
                    }
                }
            };
            this.state.set(next);
        }
    }
}

impl<N: Forward<Request<R>>, R, S: Strategy, M> fmt::Debug for ResponseFuture<N, R, S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("throttle", &self.throttle).finish_non_exhaustive()
    }
}
