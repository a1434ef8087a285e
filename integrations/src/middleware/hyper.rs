//! The middleware as a hyper service.

use http::{Request, Response};
use hyper::service::Service;

use crate::middleware::admission::{Gate, Step};
use crate::{Forward, ResponseBody, ResponseFuture, Throttled};

/// A hyper service, which is always ready.
#[derive(Debug)]
pub struct Shared<T>(T);

impl<T: Service<R>, R> Forward<R> for Shared<T> {
    type Future = T::Future;

    fn forward(self, request: R) -> T::Future {
        self.0.call(request)
    }
}

impl<T, G, R, B> Service<Request<R>> for Throttled<T, G>
where
    T: Service<Request<R>, Response = Response<B>> + Clone,
    G: Gate,
{
    type Response = Response<ResponseBody<B>>;
    type Error = T::Error;
    type Future = ResponseFuture<Shared<T>, R, B, G>;

    fn call(&self, mut request: Request<R>) -> Self::Future {
        let gate = self.gate.clone();
        match gate.enter((&request).into()) {
            Step::Pass(mut pass) => {
                let beside = gate.mark(&mut pass, request.extensions_mut());
                ResponseFuture::serving(gate, self.inner.call(request), pass, beside)
            }
            Step::Answer(response) => ResponseFuture::answered(gate, request.method(), response),
            Step::Wait(work) => ResponseFuture::waiting(gate, work, (Shared(self.inner.clone()), request)),
        }
    }
}
