//! A throttled tower service.

use std::mem;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;
use traffik_core::Strategy;
use traffik_core::storage::AsyncStorage;

use crate::{Forward, ResponseBody, ResponseFuture, Step, Throttled};

/// A tower service that has said it is ready.
#[derive(Debug)]
pub struct Ready<T>(T);

impl<T: Service<R>, R> Forward<R> for Ready<T> {
    type Future = T::Future;

    fn forward(mut self, request: R) -> T::Future {
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
    type Future = ResponseFuture<Ready<T>, R, S, M>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), T::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        let throttle = self.throttle.clone();
        match throttle.decide((&request).into()) {
            Step::Pass(verdict) => ResponseFuture::serving(throttle, self.inner.call(request), verdict),
            Step::Answer(response) => ResponseFuture::answered(throttle, response),
            Step::Wait(wait) => {
                // The service that said it is ready goes with the request; its clone may not be ready yet.
                let clone = self.inner.clone();
                let ready = Ready(mem::replace(&mut self.inner, clone));
                ResponseFuture::waiting(throttle, wait, (ready, request))
            }
        }
    }
}
