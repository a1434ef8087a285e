//! The future of one request through an admission: a state machine without a box.

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

/// A service that is ready to be called once. It makes one [`ResponseFuture`] serve hyper and tower;
/// implement it only for a third kind of service.
///
/// ```
/// use traffik::web::Forward;
///
/// struct Echo;
///
/// impl Forward<u32> for Echo {
///     type Future = std::future::Ready<u32>;
///
///     fn forward(self, request: u32) -> Self::Future {
///         std::future::ready(request)
///     }
/// }
/// assert_eq!(Echo.forward(7).into_inner(), 7);
/// ```
pub trait Forward<R> {
    /// The future that the service returns.
    type Future;

    /// Calls the service.
    fn forward(self, request: R) -> Self::Future;
}

pin_project! {
    /// The future of a response behind a throttle, returned by the services of hyper and tower. Name it where
    /// a service of yours wraps [`Throttled`](crate::Throttled).
    ///
    /// It waits for a remote storage, for asynchronous functions of the request, for the delay of an admitted
    /// request, and then for the service behind. It boxes nothing unless it waits for one of the first three.
    /// Dropping it drops the request and gives up a turn that has not come. Without a turn, a charge that was
    /// made stays.
    ///
    /// ```
    /// # #[cfg(feature = "tower")] {
    /// use tower::{Service, service_fn};
    /// use traffik::web::{PeerAddress, Throttle, Throttled};
    /// use traffik::{TokenBucket, rate};
    ///
    /// let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("100/min"))).build()?;
    /// let hello = service_fn(async |_: http::Request<()>| {
    ///     Ok::<_, std::convert::Infallible>(http::Response::new(String::from("hello")))
    /// });
    /// let mut request = http::Request::new(());
    /// request.extensions_mut().insert(PeerAddress::new(([192, 0, 2, 1], 4711).into()));
    /// let response = Throttled::new(hello, throttle).call(request); // a `ResponseFuture`
    /// # drop(response);
    /// # }
    /// # Ok::<(), traffik::web::ThrottleError>(())
    /// ```
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<N, R, B, G>
    where
        N: Forward<Request<R>>,
        G: Admission,
    {
        admission: G,
        #[pin]
        state: ResponseFutureState<N, R, B, G::Permit, G::Work, N::Future>,
    }
}

pin_project! {
    #[project = ResponseFutureStateProjection]
    enum ResponseFutureState<N, R, B, P, W, F> {
        /// Waits for the admission; the request is not passed on yet.
        Waiting { work: BoxFuture<'static, W>, next: Option<(N, Request<R>)> },
        /// Waits for the inner service.
        Serving { #[pin] inner: F, permit: Option<P>, background: Option<BoxFuture<'static, ()>> },
        /// Has the response, and waits for its charges to be settled.
        Settling { before: BoxFuture<'static, ()>, response: Option<Response<ResponseBody<B>>> },
        /// Has the throttle's own response.
        Answered { response: Option<Response<Bytes>> },
    }
}

impl<N: Forward<Request<R>>, R, B, G: Admission> ResponseFuture<N, R, B, G> {
    pub(crate) const fn serving(
        admission: G,
        inner: N::Future,
        permit: G::Permit,
        background: Option<BoxFuture<'static, ()>>,
    ) -> Self {
        Self { admission, state: ResponseFutureState::Serving { inner, permit: Some(permit), background } }
    }

    pub(crate) fn answered(admission: G, method: &Method, mut response: Response<Bytes>) -> Self {
        fit_to_method(&mut response, method);
        Self { admission, state: ResponseFutureState::Answered { response: Some(response) } }
    }

    pub(crate) const fn waiting(
        admission: G,
        work: BoxFuture<'static, G::Work>,
        next: (N, Request<R>),
    ) -> Self {
        Self { admission, state: ResponseFutureState::Waiting { work, next: Some(next) } }
    }
}

/// Removes the body of a response to `HEAD` and keeps its length: not every server does.
fn fit_to_method(response: &mut Response<Bytes>, method: &Method) {
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
                ResponseFutureStateProjection::Serving { inner, permit, background } => {
                    // The report of a shadow runs beside the service; whichever ends first, the service
                    // decides when this future ends.
                    if let Some(future) = background
                        && future.as_mut().poll(context).is_ready()
                    {
                        *background = None;
                    }
                    // If the service fails there is no response to settle by: the permit is dropped, and the
                    // charge stays.
                    let response = ready!(inner.poll(context))?;
                    // A future that is polled after its end stays pending.
                    let Some(permit) = permit.take() else { return Poll::Pending };
                    let (mut parts, body) = response.into_parts();
                    let Completion { before, meter } = this.admission.leave(permit, &mut parts);
                    let response = Response::from_parts(parts, ResponseBody::of(body, meter));
                    // No client may see the response before the charge is settled, if that has to be awaited.
                    match before {
                        None => return Poll::Ready(Ok(response)),
                        Some(before) => ResponseFutureState::Settling { before, response: Some(response) },
                    }
                }
                ResponseFutureStateProjection::Settling { before, response } => {
                    ready!(before.as_mut().poll(context));
                    return response.take().map_or(Poll::Pending, |response| Poll::Ready(Ok(response)));
                }
                ResponseFutureStateProjection::Answered { response } => {
                    return match response.take() {
                        Some(response) => Poll::Ready(Ok(response.map(ResponseBody::own))),
                        None => Poll::Pending,
                    };
                }
                ResponseFutureStateProjection::Waiting { work, next } => {
                    let work = ready!(work.as_mut().poll(context));
                    // The request stays here while it waits, so a drop of this future drops it unserved.
                    let Some((inner, mut request)) = next.take() else { return Poll::Pending };
                    match this.admission.resume((&request).into(), work) {
                        Action::Pass(mut permit) => {
                            let background = this.admission.mark(&mut permit, request.extensions_mut());
                            ResponseFutureState::Serving {
                                inner: inner.forward(request),
                                permit: Some(permit),
                                background,
                            }
                        }
                        Action::Answer(mut response) => {
                            fit_to_method(&mut response, request.method());
                            ResponseFutureState::Answered { response: Some(response) }
                        }
                        Action::Wait(work) => {
                            ResponseFutureState::Waiting { work, next: Some((inner, request)) }
                        }
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
