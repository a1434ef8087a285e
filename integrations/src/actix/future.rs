//! The way of one request through a gate, on the thread that serves it.

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
    /// The response of actix-web to a request that went through a gate.
    ///
    /// Nothing in it is boxed unless something has to be waited for. Dropping it drops the request; what it
    /// was charged stays charged, but a turn that has not come is given up.
    #[must_use = "futures do nothing unless polled"]
    pub struct ActixFuture<T, B, G>
    where
        T: Service<ServiceRequest>,
        G: Admission,
    {
        gate: G,
        #[pin]
        state: State<T, T::Future, B, G::Permit, G::Work>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<T, F, B, P, W> {
        /// Not passed on yet.
        Waiting { work: BoxFuture<'static, W>, next: Option<(Rc<T>, Request<()>, ServiceRequest)> },
        /// With the inner service.
        Serving { #[pin] inner: F, pass: Option<P>, beside: Option<BoxFuture<'static, ()>> },
        /// Served, or answered in its stead; its headers may yet be added.
        Done { before: Option<BoxFuture<'static, ()>>, outcome: Option<Outcome<B>> },
    }
}

type Outcome<B> = Result<ServiceResponse<ResponseBody<B>>, Error>;

impl<T: Service<ServiceRequest>, B, G: Admission> ActixFuture<T, B, G> {
    pub(super) fn of(gate: G, service: Rc<T>, request: ServiceRequest) -> Self {
        let state = match head::head_of(&request) {
            Ok(head) => {
                let step = gate.enter((&head).into());
                follow(&gate, step, (service, head, request))
            }
            Err(refusal) => answered(request, refusal.response()),
        };
        Self { gate, state }
    }
}

type StateOf<T, B, G> =
    State<T, <T as Service<ServiceRequest>>::Future, B, <G as Admission>::Permit, <G as Admission>::Work>;

fn follow<T: Service<ServiceRequest>, B, G: Admission>(
    gate: &G,
    step: Action<G::Permit, G::Work>,
    (service, mut head, request): (Rc<T>, Request<()>, ServiceRequest),
) -> StateOf<T, B, G> {
    match step {
        Action::Pass(mut pass) => {
            let beside = gate.mark(&mut pass, head.extensions_mut());
            head::give_back(head, &request);
            State::Serving { inner: service.call(request), pass: Some(pass), beside }
        }
        Action::Answer(response) => {
            head::give_back(head, &request);
            answered(request, response)
        }
        Action::Wait(work) => State::Waiting { work, next: Some((service, head, request)) },
    }
}

fn answered<T, F, B, P, W>(
    request: ServiceRequest,
    response: http::Response<bytes::Bytes>,
) -> State<T, F, B, P, W> {
    State::Done { before: None, outcome: Some(Ok(head::answer(request, response))) }
}

/// Settles a request by what the inner service came to.
fn conclude<G: Admission, B>(
    gate: &G,
    pass: G::Permit,
    served: Result<ServiceResponse<B>, Error>,
) -> (Option<BoxFuture<'static, ()>>, Outcome<B>) {
    match served {
        Ok(mut response) => {
            let Completion { before, meter } = head::leave(gate, pass, &mut response);
            (before, Ok(response.map_body(|_, body| ResponseBody::of(body, meter))))
        }
        // The response that it becomes further out can be made once only, so its status alone is asked for.
        Err(error) => {
            let status = error.as_response_error().status_code();
            let Completion { before, meter } =
                gate.leave(pass, &mut head::head_with(status, HeaderMap::new()));
            (in_turn(before, meter.and_then(|meter| meter.settle(0))), Err(error))
        }
    }
}

impl<T, B, G> Future for ActixFuture<T, B, G>
where
    T: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    G: Admission,
{
    type Output = Outcome<B>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Waiting { work, next } => {
                    let work = ready!(work.as_mut().poll(context));
                    // As with every future, polling again after the end is the caller's mistake.
                    let Some(next) = next.take() else { return Poll::Pending };
                    let step = this.gate.resume((&next.1).into(), work);
                    follow(this.gate, step, next)
                }
                StateProjection::Serving { inner, pass, beside } => {
                    if let Some(future) = beside
                        && future.as_mut().poll(context).is_ready()
                    {
                        *beside = None;
                    }
                    let served = ready!(inner.poll(context));
                    let Some(pass) = pass.take() else { return Poll::Pending };
                    let (before, outcome) = conclude(this.gate, pass, served);
                    State::Done { before, outcome: Some(outcome) }
                }
                StateProjection::Done { before, outcome } => {
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
