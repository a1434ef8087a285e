//! Outgoing calls of tower's clients.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Request;
use pin_project_lite::pin_project;
use tower_layer::Layer;
use tower_service::Service;
use traffik_core::storage::{AsyncStorage, BackendError, BoxFuture};
use traffik_core::{Strategy, WaitError, debug_fields};

use super::Outgoing;

type BoxError = Box<dyn Error + Send + Sync>;

impl<T, S: Strategy, M> Layer<T> for Outgoing<S, M> {
    type Service = Paced<T, S, M>;

    fn layer(&self, client: T) -> Self::Service {
        Paced { client, outgoing: self.clone() }
    }
}

/// A client whose calls wait for their turn.
pub struct Paced<T, S: Strategy, M> {
    client: T,
    outgoing: Outgoing<S, M>,
}

impl<T: Clone, S: Strategy, M> Clone for Paced<T, S, M> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), outgoing: self.outgoing.clone() }
    }
}

debug_fields!([T, S: Strategy, M] Paced<T, S, M>: outgoing);

impl<T, S, M, B> Service<Request<B>> for Paced<T, S, M>
where
    T: Service<Request<B>, Error: Into<BoxError>> + Clone,
    S: Strategy,
    M: AsyncStorage<S> + 'static,
{
    type Response = T::Response;
    type Error = BoxError;
    type Future = CallFuture<T, Request<B>>;

    /// Says whether the client is ready. No turn is waited for here: who is ready need not call.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.client.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The client that said it is ready goes with the call; its clone may not be ready yet.
        let clone = self.client.clone();
        let ready = mem::replace(&mut self.client, clone);
        let turn = self.outgoing.until_ready(&request);
        CallFuture { state: State::Waiting { turn, next: Some((ready, request)) } }
    }
}

pin_project! {
    /// The response to a call that waits for its turn.
    #[must_use = "futures do nothing unless polled"]
    pub struct CallFuture<T: Service<R>, R> {
        #[pin]
        state: State<T, R, T::Future>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<T, R, F> {
        Waiting { turn: BoxFuture<'static, Result<(), WaitError<BackendError>>>, next: Option<(T, R)> },
        Calling { #[pin] inner: F },
    }
}

impl<T: Service<R, Error: Into<BoxError>>, R> Future for CallFuture<T, R> {
    type Output = Result<T::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let inner = match this.state.as_mut().project() {
                StateProjection::Waiting { turn, next } => {
                    ready!(turn.as_mut().poll(context))?;
                    // As with every future, polling again after the end is the caller's mistake.
                    let Some((mut client, request)) = next.take() else { return Poll::Pending };
                    client.call(request)
                }
                StateProjection::Calling { inner } => return inner.poll(context).map_err(Into::into),
            };
            this.state.set(State::Calling { inner });
        }
    }
}

impl<T: Service<R>, R> fmt::Debug for CallFuture<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallFuture").finish_non_exhaustive()
    }
}
