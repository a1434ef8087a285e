//! The future of one request of actix-web through an admission, on the thread that serves it.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use actix_web::Error;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use http::{HeaderMap, Request};
use pin_project_lite::pin_project;
use traffik_core::storage::BoxFuture;

use super::head;
use crate::ResponseBody;
use crate::middleware::admission::{Action, Admission, Completion};
use crate::middleware::body::in_turn;

pin_project! {
    /// The future of a response of actix-web behind a throttle. It appears in the signature of the
    /// middleware; programs need not name it.
    ///
    /// It waits for the throttle, if that has to wait, and then for the service behind. It boxes nothing
    /// unless the throttle waits. Dropping it drops the request and gives up a turn that has not come.
    /// Without a turn, a charge that was made stays.
    ///
    /// ```
    /// # #[cfg(feature = "actix")] {
    /// use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
    /// use std::rc::Rc;
    /// use traffik::web::{ActixFuture, MemoryThrottle, Throttled};
    ///
    /// fn call<T, B>(
    ///     service: &Throttled<Rc<T>, MemoryThrottle<traffik::TokenBucket>>,
    ///     request: ServiceRequest,
    /// ) -> ActixFuture<T, B, MemoryThrottle<traffik::TokenBucket>>
    /// where
    ///     T: Service<ServiceRequest, Response = ServiceResponse<B>, Error = actix_web::Error>,
    ///     B: actix_web::body::MessageBody,
    /// {
    ///     service.call(request)
    /// }
    /// # }
    /// ```
    #[must_use = "futures do nothing unless polled"]
    pub struct ActixFuture<T, B, G>
    where
        T: Service<ServiceRequest>,
        G: Admission,
    {
        admission: G,
        #[pin]
        state: ActixFutureState<T, T::Future, B, G::Permit, G::Work>,
    }
}

pin_project! {
    #[project = ActixFutureStateProjection]
    enum ActixFutureState<T, F, B, P, W> {
        /// Waits for the admission; the request is not passed on yet.
        Waiting { work: BoxFuture<'static, W>, next: Option<(Rc<T>, Request<()>, ServiceRequest)> },
        /// Waits for the inner service.
        Serving { #[pin] inner: F, permit: Option<P>, background: Option<BoxFuture<'static, ()>> },
        /// Has the response, and waits for its charges to be settled.
        Done { before: Option<BoxFuture<'static, ()>>, outcome: Option<ServiceResult<B>> },
    }
}

type ServiceResult<B> = Result<ServiceResponse<ResponseBody<B>>, Error>;

impl<T: Service<ServiceRequest>, B, G: Admission> ActixFuture<T, B, G> {
    pub(super) fn of(admission: G, service: Rc<T>, request: ServiceRequest) -> Self {
        let state = match head::head_of(&request) {
            Ok(head) => {
                let action = admission.enter((&head).into());
                follow(&admission, action, (service, head, request))
            }
            Err(refusal) => answered(request, refusal.response()),
        };
        Self { admission, state }
    }
}

type FutureStateOf<T, B, G> = ActixFutureState<
    T,
    <T as Service<ServiceRequest>>::Future,
    B,
    <G as Admission>::Permit,
    <G as Admission>::Work,
>;

fn follow<T: Service<ServiceRequest>, B, G: Admission>(
    admission: &G,
    action: Action<G::Permit, G::Work>,
    (service, mut head, request): (Rc<T>, Request<()>, ServiceRequest),
) -> FutureStateOf<T, B, G> {
    match action {
        Action::Pass(mut permit) => {
            // Marks are written before the extensions go back, so that handlers find them.
            let background = admission.mark(&mut permit, head.extensions_mut());
            head::give_back(head, &request);
            ActixFutureState::Serving { inner: service.call(request), permit: Some(permit), background }
        }
        Action::Answer(response) => {
            head::give_back(head, &request);
            answered(request, response)
        }
        Action::Wait(work) => ActixFutureState::Waiting { work, next: Some((service, head, request)) },
    }
}

fn answered<T, F, B, P, W>(
    request: ServiceRequest,
    response: http::Response<bytes::Bytes>,
) -> ActixFutureState<T, F, B, P, W> {
    ActixFutureState::Done { before: None, outcome: Some(Ok(head::answer(request, response))) }
}

/// Settles a request by the response or the error of the inner service.
fn conclude<G: Admission, B>(
    admission: &G,
    permit: G::Permit,
    served: Result<ServiceResponse<B>, Error>,
) -> (Option<BoxFuture<'static, ()>>, ServiceResult<B>) {
    match served {
        Ok(mut response) => {
            let Completion { before, meter } = head::leave(admission, permit, &mut response);
            (before, Ok(response.map_body(|_, body| ResponseBody::of(body, meter))))
        }
        // An outer middleware makes the response of an error, and can make it only once. So only the status
        // is read here.
        Err(error) => {
            let status = error.as_response_error().status_code();
            let Completion { before, meter } =
                admission.leave(permit, &mut head::head_with(status, HeaderMap::new()));
            (in_turn(before, meter.and_then(|meter| meter.settle(0))), Err(error))
        }
    }
}

impl<T, B, G> Future for ActixFuture<T, B, G>
where
    T: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    G: Admission,
{
    type Output = ServiceResult<B>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                ActixFutureStateProjection::Waiting { work, next } => {
                    let work = ready!(work.as_mut().poll(context));
                    // A future that is polled after its end stays pending.
                    let Some(next) = next.take() else { return Poll::Pending };
                    let action = this.admission.resume((&next.1).into(), work);
                    follow(this.admission, action, next)
                }
                ActixFutureStateProjection::Serving { inner, permit, background } => {
                    // The report of a shadow runs beside the service, which alone decides when this future
                    // ends.
                    if let Some(future) = background
                        && future.as_mut().poll(context).is_ready()
                    {
                        *background = None;
                    }
                    let served = ready!(inner.poll(context));
                    let Some(permit) = permit.take() else { return Poll::Pending };
                    let (before, outcome) = conclude(this.admission, permit, served);
                    ActixFutureState::Done { before, outcome: Some(outcome) }
                }
                ActixFutureStateProjection::Done { before, outcome } => {
                    // No client may see the response before the charge is settled.
                    if let Some(before) = before {
                        ready!(before.as_mut().poll(context));
                    }
                    return outcome.take().map_or(Poll::Pending, Poll::Ready);
                }
            };
            this.state.set(next);
        }
    }
}

impl<T: Service<ServiceRequest>, B, G: Admission> fmt::Debug for ActixFuture<T, B, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ActixFuture").finish_non_exhaustive()
    }
}
