//! The budget of outgoing calls.

use std::sync::Arc;
use std::time::Duration;

use traffik_backends::Memory;
use traffik_core::storage::{AsyncStorage, BackendError, BoxFuture, Local};
use traffik_core::{AsyncLimiter, Class, Cost, Hit, Key, Strategy, Timer, WaitError, debug_fields};

use crate::RequestParts;
use crate::throttle::DelayTimer;

/// A rate limit on outgoing calls, which wait for their turn. Choose it for clients of an API that limits its
/// callers, so that the API never has to deny; a [`Throttle`](crate::Throttle) limits incoming calls.
///
/// It is a tower layer (feature `tower`) for clients such as those of hyper and tonic, and a middleware of
/// `reqwest-middleware` (feature `reqwest`). Any other client awaits [`until_ready`](Self::until_ready).
///
/// ```
/// # #[cfg(feature = "tower")] {
/// # mod traffik {
/// #     pub use traffik::*;
/// #     pub mod web { pub use traffik::web::*; }
/// #     pub mod runtime { pub use traffik::runtime::*; }
/// # }
/// use std::time::Duration;
/// use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
/// use traffik::web::Outgoing;
/// use traffik::runtime::Tokio;
/// use traffik::{Gcra, rate};
///
/// // Ten calls a second to each host, evenly spaced; none waits for longer than five seconds.
/// let outgoing = Outgoing::in_memory(Gcra::new(rate!("10/s")), Tokio)
///     .key_by(|call| call.uri.host().unwrap_or_default().to_owned())
///     .max_wait(Duration::from_secs(5));
/// # let client = service_fn(async |_: http::Request<String>| {
/// #     Ok::<_, std::convert::Infallible>(http::Response::new(()))
/// # });
/// let mut client = ServiceBuilder::new().layer(outgoing).service(client); // hyper's, or tonic's channel
/// # async move {
/// let call = http::Request::get("http://api.test/").body(String::new())?;
/// let response = client.ready().await?.call(call).await?;
/// # Ok::<_, Box<dyn std::error::Error + Send + Sync>>(response)
/// # };
/// # }
/// ```
///
/// * **Order.** Within one process, the calls of a key and class are made in the order in which they began to
///   wait. Processes that share a storage share one budget; their calls have no common order.
/// * **Duration.** A call waits without a bound unless [`max_wait`](Self::max_wait) sets one. The check on a
///   shared storage takes as long as the storage does, so give the storage a timeout.
/// * **Drop.** A call that is dropped while it waits leaves the queue, and the calls behind it move up. It is
///   not charged, except in the two cases that [`AsyncLimiter::until_ready`] names for a shared storage. A
///   call whose turn has come stays charged.
///
/// Clones share the budget.
///
/// # Errors
///
/// A call that is not made fails with a [`WaitError<BackendError>`](WaitError):
///
/// * `TooLong { wait }` if it would have to wait for `wait`, which is longer than the bound; also if the
///   limiter's queue is bounded and full.
/// * `Never` if its cost exceeds the limit.
/// * `Storage` if the storage fails, unless [`fail_open`](Self::fail_open) is set.
///
/// The tower layer boxes the error, as tower's own layers do. With reqwest it is inside
/// `reqwest_middleware::Error::Middleware`. Use `downcast_ref` on either.
pub struct Outgoing<S: Strategy, M> {
    budget: Budget<S, M>,
    cost: Arc<dyn Fn(RequestParts<'_>) -> S::Cost + Send + Sync>,
    class: Arc<dyn Fn(RequestParts<'_>) -> Class + Send + Sync>,
    wait: Arc<WaitFn<S, M>>,
}

/// A function that waits for the turn of a call.
type WaitFn<S, M> =
    dyn Fn(&Budget<S, M>, RequestParts<'_>, Hit<<S as Strategy>::Cost>) -> CallTurn + Send + Sync;

/// The wait for the turn of a call.
type CallTurn = BoxFuture<'static, Result<(), WaitError<BackendError>>>;

/// The limiter of the calls, and how they wait for it.
struct Budget<S, M> {
    limiter: Arc<AsyncLimiter<S, M>>,
    timer: Arc<DelayTimer>,
    max_wait: Option<Duration>,
    fails_open: bool,
}

impl<S: Strategy> Outgoing<S, Local<Memory<S>>> {
    /// Returns a limit on calls by `strategy`, in a new memory with room for 65 536 keys. Calls wait on
    /// `timer`.
    pub fn in_memory(strategy: S, timer: impl Timer + Send + Sync + 'static) -> Self {
        Self::new(AsyncLimiter::new(strategy, Local(Memory::builder().build())), timer)
    }
}

impl<S: Strategy, M: AsyncStorage<S> + 'static> Outgoing<S, M> {
    /// Returns a limit on calls by `limiter`. Calls wait on `timer`.
    ///
    /// Every call costs 1, and all calls share one budget, under the key `"outgoing"`. Give budgets that
    /// share a storage different keys by [`key_by`](Self::key_by).
    pub fn new(limiter: AsyncLimiter<S, M>, timer: impl Timer + Send + Sync + 'static) -> Self {
        let (limiter, timer) = (Arc::new(limiter), Arc::new(DelayTimer::on(timer)));
        Self {
            budget: Budget { limiter, timer, max_wait: None, fails_open: false },
            cost: Arc::new(|_| S::Cost::uniform(1)),
            class: Arc::new(|_| Class::default()),
            wait: Arc::new(|budget, _, hit| budget.turn("outgoing", hit)),
        }
    }

    /// Gives each key a separate budget, for example each host. A limiter that checks the same key on the
    /// same storage, such as a user's, shares the budget.
    #[must_use]
    pub fn key_by<K: Key + Send + Sync + 'static>(
        self,
        key: impl Fn(RequestParts<'_>) -> K + Send + Sync + 'static,
    ) -> Self {
        Self { wait: Arc::new(move |budget, call, hit| budget.turn(key(call), hit)), ..self }
    }

    /// Charges each call the cost that `cost` returns. Defaults to 1.
    #[must_use]
    pub fn cost_by(self, cost: impl Fn(RequestParts<'_>) -> S::Cost + Send + Sync + 'static) -> Self {
        Self { cost: Arc::new(cost), ..self }
    }

    /// Checks each call in the class that `class` returns, for strategies that treat classes differently. The
    /// calls of each class wait in a separate queue.
    #[must_use]
    pub fn class_by(self, class: impl Fn(RequestParts<'_>) -> Class + Send + Sync + 'static) -> Self {
        Self { class: Arc::new(class), ..self }
    }

    /// Bounds the wait of a call. Defaults to no bound.
    ///
    /// A call fails at once, and is not charged, if its turn cannot come in time behind the calls that wait
    /// already. The time in which the client behind gets ready does not count. A client that has reported
    /// ready waits with its call, so put a limit on concurrency outside of this layer, not behind it.
    #[must_use]
    pub fn max_wait(mut self, max_wait: Duration) -> Self {
        self.budget.max_wait = Some(max_wait);
        self
    }

    /// Lets calls pass unlimited while the storage fails. Defaults to failing them with `Storage`.
    #[must_use]
    pub fn fail_open(mut self) -> Self {
        self.budget.fails_open = true;
        self
    }

    /// Waits for the turn of a call, for clients other than those of tower and reqwest.
    ///
    /// Waits for at most [`max_wait`](Self::max_wait) and the time that the storage takes to answer; without
    /// a bound if there is no `max_wait`. Dropping the future leaves the queue and charges nothing, with the
    /// exceptions named [above](Self).
    ///
    /// # Errors
    ///
    /// Fails with `TooLong` if the turn would come too late or the queue is full. Fails with `Never` if the
    /// cost exceeds the limit. Fails with `Storage` if the storage fails, unless
    /// [`fail_open`](Self::fail_open) is set. See [above](Self#errors).
    pub fn until_ready<'a>(
        &self,
        call: impl Into<RequestParts<'a>>,
    ) -> BoxFuture<'static, Result<(), WaitError<BackendError>>> {
        let call = call.into();
        (self.wait)(&self.budget, call, Hit::new((self.cost)(call)).with_class((self.class)(call)))
    }
}

impl<S: Strategy, M: AsyncStorage<S> + 'static> Budget<S, M> {
    fn turn<K: Key + Send + Sync + 'static>(&self, key: K, hit: Hit<S::Cost>) -> CallTurn {
        let Self { limiter, timer, max_wait, fails_open } = self.clone();
        Box::pin(async move {
            let waited = match max_wait {
                Some(within) => limiter.until_ready_within(&key, hit, within, &*timer).await,
                None => limiter.until_ready_n(&key, hit, &*timer).await,
            };
            match waited {
                Err(WaitError::Storage(_)) if fails_open => Ok(()),
                waited => waited.map(drop),
            }
        })
    }
}

impl<S, M> Clone for Budget<S, M> {
    fn clone(&self) -> Self {
        Self { limiter: Arc::clone(&self.limiter), timer: Arc::clone(&self.timer), ..*self }
    }
}

impl<S: Strategy, M> Clone for Outgoing<S, M> {
    fn clone(&self) -> Self {
        let (cost, class, wait) = (Arc::clone(&self.cost), Arc::clone(&self.class), Arc::clone(&self.wait));
        Self { budget: self.budget.clone(), cost, class, wait }
    }
}

debug_fields!([S: Strategy, M] Outgoing<S, M>:
    max_wait = |it| it.budget.max_wait, fails_open = |it| it.budget.fails_open);

impl Timer for DelayTimer {
    fn sleep(&self, wait: Duration) -> impl Future<Output = ()> + Send + 'static {
        (self.sleep)(wait)
    }

    fn stopwatch(&self) -> impl Fn() -> Option<Duration> + Send + Sync + 'static {
        let watch = (self.watch)();
        move || Some(watch())
    }
}
