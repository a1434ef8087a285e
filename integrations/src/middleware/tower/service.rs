//! The tower service.

use std::mem;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use crate::middleware::admission::{Action, Admission};
use crate::{Forward, ResponseBody, ResponseFuture, Throttled};

/// A tower service that has reported ready, and is called once. It appears only in the type of a
/// [`ResponseFuture`].
///
/// ```
/// # #[cfg(feature = "tower")] {
/// # use tower::{Service, service_fn};
/// # use traffik::web::{Throttle, Throttled};
/// # use traffik::{TokenBucket, rate};
/// use traffik::web::{Ready, ResponseFuture};
///
/// fn is_named<T: Service<http::Request<R>>, R, B, G: traffik::web::Admission>(
///     _: &ResponseFuture<Ready<T>, R, B, G>,
/// ) {}
/// # let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("100/min"))).build()?;
/// # let hello = service_fn(async |_: http::Request<()>| {
/// #     Ok::<_, std::convert::Infallible>(http::Response::new(String::from("hello")))
/// # });
/// is_named(&Throttled::new(hello, throttle).call(http::Request::new(())));
/// # }
/// # Ok::<(), traffik::web::ThrottleError>(())
/// ```
#[derive(Debug)]
pub struct Ready<T>(T);

impl<T: Service<R>, R> Forward<R> for Ready<T> {
    type Future = T::Future;

    fn forward(mut self, request: R) -> T::Future {
        self.0.call(request)
    }
}

impl<T, G, R, B> Service<Request<R>> for Throttled<T, G>
where
    T: Service<Request<R>, Response = Response<B>> + Clone,
    G: Admission,
{
    type Response = Response<ResponseBody<B>>;
    type Error = T::Error;
    type Future = ResponseFuture<Ready<T>, R, B, G>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), T::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<R>) -> Self::Future {
        let admission = self.admission.clone();
        match admission.enter((&request).into()) {
            Action::Pass(mut permit) => {
                let background = admission.mark(&mut permit, request.extensions_mut());
                ResponseFuture::serving(admission, self.inner.call(request), permit, background)
            }
            Action::Answer(response) => ResponseFuture::answered(admission, request.method(), response),
            Action::Wait(work) => {
                // The service that reported ready goes with the request, since tower allows a call only after
                // that report; its clone, which stays here, may not be ready yet.
                let clone = self.inner.clone();
                let ready = Ready(mem::replace(&mut self.inner, clone));
                ResponseFuture::waiting(admission, work, (ready, request))
            }
        }
    }
}
