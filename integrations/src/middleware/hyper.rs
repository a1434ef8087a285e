//! The hyper service.

use http::{Request, Response};
use hyper::service::Service;

use crate::middleware::admission::{Action, Admission};
use crate::{Forward, ResponseBody, ResponseFuture, Throttled};

/// A hyper service that is called once, after its request has waited. It appears only in the type of a
/// [`ResponseFuture`].
///
/// ```
/// # #[cfg(feature = "hyper")] {
/// # use hyper::{Request, Response, body::Incoming, service::service_fn};
/// use traffik::web::{Throttle, Throttled};
/// use traffik::{TokenBucket, rate};
///
/// # async fn hello(_: Request<Incoming>) -> Result<Response<String>, std::convert::Infallible> {
/// #     Ok(Response::new(String::from("hello")))
/// # }
/// let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("100/min"))).build()?;
/// let service = Throttled::new(service_fn(hello), throttle); // for `serve_connection` of hyper
/// # let _ = service;
/// # }
/// # Ok::<(), traffik::web::ThrottleError>(())
/// ```
#[derive(Debug)]
pub struct SharedService<T>(T);

impl<T: Service<R>, R> Forward<R> for SharedService<T> {
    type Future = T::Future;

    fn forward(self, request: R) -> T::Future {
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
    type Future = ResponseFuture<SharedService<T>, R, B, G>;

    fn call(&self, mut request: Request<R>) -> Self::Future {
        let admission = self.admission.clone();
        match admission.enter((&request).into()) {
            Action::Pass(mut permit) => {
                let background = admission.mark(&mut permit, request.extensions_mut());
                ResponseFuture::serving(admission, self.inner.call(request), permit, background)
            }
            Action::Answer(response) => ResponseFuture::answered(admission, request.method(), response),
            Action::Wait(work) => {
                ResponseFuture::waiting(admission, work, (SharedService(self.inner.clone()), request))
            }
        }
    }
}
