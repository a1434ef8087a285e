//! The service of actix-web.

use std::future::{Ready, ready};
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};

use crate::{ActixFuture, Admission, ResponseBody, ThrottleLayer, Throttled};

impl<T, G, B> Transform<T, ServiceRequest> for ThrottleLayer<G>
where
    T: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    G: Admission,
    B: MessageBody,
{
    type Response = ServiceResponse<ResponseBody<B>>;
    type Error = Error;
    type Transform = Throttled<Rc<T>, G>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: T) -> Self::Future {
        ready(Ok(Throttled::new(Rc::new(service), self.admission.clone())))
    }
}

impl<T, G, B> Service<ServiceRequest> for Throttled<Rc<T>, G>
where
    T: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    G: Admission,
    B: MessageBody,
{
    type Response = ServiceResponse<ResponseBody<B>>;
    type Error = Error;
    type Future = ActixFuture<T, B, G>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        ActixFuture::of(self.admission.clone(), Rc::clone(&self.inner), request)
    }
}
