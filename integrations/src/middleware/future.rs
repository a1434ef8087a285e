//! The way of one request through a gate, as a future that is a plain enum.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use http::{Method, Request, Response};
use pin_project_lite::pin_project;
use traffik_core::storage::BoxFuture;

use crate::middleware::admission::{Action, Admission, Completion};
use crate::middleware::body::ResponseBody;

/// A service ready to be called once.
pub trait Forward<R> {
    /// What calling it gives.
    type Future;

    /// Calls it.
    fn forward(self, request: R) -> Self::Future;
}

pin_project! {
    /// The response to a request that went through a gate.
    ///
    /// Nothing in it is boxed unless something has to be waited for: a storage elsewhere, an asynchronous function
    /// of the request, a delay. Dropping it drops the request; what it was charged stays charged,
    /// but a turn that has not come is given up.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<N, R, B, G>
    where
        N: Forward<Request<R>>,
        G: Admission,
    {
        gate: G,
        #[pin]
        state: State<N, R, B, G::Permit, G::Work, N::Future>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<N, R, B, P, W, F> {
        /// Not passed on yet.
        Waiting { work: BoxFuture<'static, W>, next: Option<(N, Request<R>)> },
        /// With the inner service.
        Serving { #[pin] inner: F, pass: Option<P>, beside: Option<BoxFuture<'static, ()>> },
        /// Served, and about to be told.
        Settling { before: BoxFuture<'static, ()>, response: Option<Response<ResponseBody<B>>> },
        /// Answered in its stead.
        Answered { response: Option<Response<Bytes>> },
    }
}

impl<N: Forward<Request<R>>, R, B, G: Admission> ResponseFuture<N, R, B, G> {
    pub(crate) const fn serving(
        gate: G,
        inner: N::Future,
        pass: G::Permit,
        beside: Option<BoxFuture<'static, ()>>,
    ) -> Self {
        Self { gate, state: State::Serving { inner, pass: Some(pass), beside } }
    }

    pub(crate) fn answered(gate: G, method: &Method, mut response: Response<Bytes>) -> Self {
        fit(&mut response, method);
        Self { gate, state: State::Answered { response: Some(response) } }
    }

    pub(crate) const fn waiting(gate: G, work: BoxFuture<'static, G::Work>, next: (N, Request<R>)) -> Self {
        Self { gate, state: State::Waiting { work, next: Some(next) } }
    }
}

/// An answer to HEAD has no body, only its length: not every server takes it out by itself.
fn fit(response: &mut Response<Bytes>, method: &Method) {
    if method == Method::HEAD {
        let length = std::mem::take(response.body_mut()).len();
        response.headers_mut().entry(CONTENT_LENGTH).or_insert(length.into());
    }
}

impl<N, R, B, G, E> Future for ResponseFuture<N, R, B, G>
where
    N: Forward<Request<R>>,
    N::Future: Future<Output = Result<Response<B>, E>>,
    G: Admission,
{
    type Output = Result<Response<ResponseBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Serving { inner, pass, beside } => {
                    if let Some(future) = beside
                        && future.as_mut().poll(context).is_ready()
                    {
                        *beside = None;
                    }
                    let response = ready!(inner.poll(context))?;
                    // As with every future, polling again after the end is the caller's mistake.
                    let Some(pass) = pass.take() else { return Poll::Pending };
                    let (mut parts, body) = response.into_parts();
                    let Completion { before, meter } = this.gate.leave(pass, &mut parts);
                    let response = Response::from_parts(parts, ResponseBody::of(body, meter));
                    match before {
                        None => return Poll::Ready(Ok(response)),
                        Some(before) => State::Settling { before, response: Some(response) },
                    }
                }
                StateProjection::Settling { before, response } => {
                    ready!(before.as_mut().poll(context));
                    return response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response)));
                }
                StateProjection::Answered { response } => {
                    return match response.take() {
                        Some(response) => Poll::Ready(Ok(response.map(ResponseBody::own))),
                        None => Poll::Pending,
                    };
                }
                StateProjection::Waiting { work, next } => {
                    let work = ready!(work.as_mut().poll(context));
                    let Some((inner, mut request)) = next.take() else { return Poll::Pending };
                    match this.gate.resume((&request).into(), work) {
                        Action::Pass(mut pass) => {
                            let beside = this.gate.mark(&mut pass, request.extensions_mut());
                            State::Serving { inner: inner.forward(request), pass: Some(pass), beside }
                        }
                        Action::Answer(mut response) => {
                            fit(&mut response, request.method());
                            State::Answered { response: Some(response) }
                        }
                        Action::Wait(work) => State::Waiting { work, next: Some((inner, request)) },
                    }
                }
            };
            this.state.set(next);
        }
    }
}

impl<N: Forward<Request<R>>, R, B, G: Admission> fmt::Debug for ResponseFuture<N, R, B, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}
