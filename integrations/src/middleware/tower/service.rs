//! A throttled tower service.

use std::mem;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower_service::Service;

use crate::middleware::admission::{Action, Admission};
use crate::{Forward, ResponseBody, ResponseFuture, Throttled};

/// A tower service that has said it is ready.
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
        let gate = self.gate.clone();
        match gate.enter((&request).into()) {
            Action::Pass(mut pass) => {
                let beside = gate.mark(&mut pass, request.extensions_mut());
                ResponseFuture::serving(gate, self.inner.call(request), pass, beside)
            }
            Action::Answer(response) => ResponseFuture::answered(gate, request.method(), response),
            Action::Wait(work) => {
                // The service that said it is ready goes with the request; its clone may not be ready yet.
                let clone = self.inner.clone();
                let ready = Ready(mem::replace(&mut self.inner, clone));
                ResponseFuture::waiting(gate, work, (ready, request))
            }
        }
    }
}
