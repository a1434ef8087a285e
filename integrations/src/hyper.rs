//! The middleware as a hyper service.

use http::{Request, Response};
use hyper::service::Service;
use traffik_core::Strategy;
use traffik_core::storage::AsyncStorage;

use crate::{Forward, ResponseBody, ResponseFuture, Step, Throttled};

/// A hyper service, which is always ready.
#[derive(Debug)]
pub struct Shared<T>(T);

impl<T: Service<R>, R> Forward<R> for Shared<T> {
    type Future = T::Future;

    fn forward(self, request: R) -> T::Future {
        self.0.call(request)
    }
}

impl<T, S, M, R, B> Service<Request<R>> for Throttled<T, S, M>
where
    T: Service<Request<R>, Response = Response<B>> + Clone,
    S: Strategy,
    M: AsyncStorage<S>,
{
    type Response = Response<ResponseBody<B>>;
    type Error = T::Error;
    type Future = ResponseFuture<Shared<T>, R, S, M>;

    fn call(&self, request: Request<R>) -> Self::Future {
        let throttle = self.throttle.clone();
        match throttle.decide((&request).into()) {
            Step::Pass(verdict) => ResponseFuture::serving(throttle, self.inner.call(request), verdict),
            Step::Answer(response) => ResponseFuture::answered(throttle, response),
            Step::Wait(wait) => {
                ResponseFuture::waiting(throttle, wait, (Shared(self.inner.clone()), request))
            }
        }
    }
}
