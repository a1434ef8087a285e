//! The middleware as a hyper service.

use http::{Request, Response};
use hyper::service::Service;

use crate::middleware::admission::{Action, Admission};
use crate::{Forward, ResponseBody, ResponseFuture, Throttled};

/// A hyper service, which is always ready.
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
        let gate = self.gate.clone();
        match gate.enter((&request).into()) {
            Action::Pass(mut pass) => {
                let beside = gate.mark(&mut pass, request.extensions_mut());
                ResponseFuture::serving(gate, self.inner.call(request), pass, beside)
            }
            Action::Answer(response) => ResponseFuture::answered(gate, request.method(), response),
            Action::Wait(work) => {
                ResponseFuture::waiting(gate, work, (SharedService(self.inner.clone()), request))
            }
        }
    }
}
