//! The layer for tower's clients.

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

/// A tower client whose calls wait for their turn, made by the layer [`Outgoing`]. Name it where a struct of
/// yours holds the client.
///
/// ```
/// # #[cfg(feature = "tower")] {
/// use traffik::Gcra;
/// use traffik::web::Paced;
///
/// struct Api<T, M> {
///     client: Paced<T, Gcra, M>,
/// }
/// # }
/// ```
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

    /// Reports whether the client behind is ready. The turn is waited for in `call`: a caller that polls for
    /// readiness need not call.
    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.client.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The client that reported ready goes with the call, since tower allows a call only after that
        // report; its clone, which stays here, may not be ready yet.
        let clone = self.client.clone();
        let ready = mem::replace(&mut self.client, clone);
        let turn = self.outgoing.until_ready(&request);
        // The wait begins when the future is polled, so a call that is never polled takes no turn.
        CallFuture { state: CallState::Waiting { turn, next: Some((ready, request)) } }
    }
}

pin_project! {
    /// The future of a call through [`Paced`]: waits for the turn of the call, then for the client.
    ///
    /// It waits for its turn for at most [`max_wait`](Outgoing::max_wait), if that is set, and for the
    /// storage. Dropping it gives up the turn. If the call has begun, dropping it drops the call, which stays
    /// charged.
    ///
    /// ```
    /// # #[cfg(feature = "tower")] {
    /// use tower::Service;
    /// use traffik::web::{CallFuture, Paced};
    /// use traffik::storage::AsyncStorage;
    ///
    /// type Request = http::Request<String>;
    ///
    /// fn call<T, M>(client: &mut Paced<T, traffik::Gcra, M>, request: Request) -> CallFuture<T, Request>
    /// where
    ///     T: Service<Request, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Clone,
    ///     M: AsyncStorage<traffik::Gcra> + 'static,
    /// {
    ///     client.call(request)
    /// }
    /// # }
    /// ```
    #[must_use = "futures do nothing unless polled"]
    pub struct CallFuture<T: Service<R>, R> {
        #[pin]
        state: CallState<T, R, T::Future>,
    }
}

pin_project! {
    #[project = CallStateProjection]
    enum CallState<T, R, F> {
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
                CallStateProjection::Waiting { turn, next } => {
                    ready!(turn.as_mut().poll(context))?;
                    // `next` is taken once: a future that is polled after an error stays pending.
                    let Some((mut client, request)) = next.take() else { return Poll::Pending };
                    client.call(request)
                }
                CallStateProjection::Calling { inner } => return inner.poll(context).map_err(Into::into),
            };
            this.state.set(CallState::Calling { inner });
        }
    }
}

impl<T: Service<R>, R> fmt::Debug for CallFuture<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallFuture").finish_non_exhaustive()
    }
}
