//! The budget of calls that leave this process.

use std::sync::Arc;
use std::time::Duration;

use traffik_backends::Memory;
use traffik_core::storage::{AsyncStorage, BackendError, BoxFuture, Local};
use traffik_core::{AsyncLimiter, Class, Cost, Hit, Key, Strategy, Timer, WaitError, debug_fields};

use crate::RequestParts;
use crate::throttle::DelayTimer;

/// A limit that outgoing calls keep to by waiting for their turn. Choose it in front of an API that counts
/// its callers, so that it never has to deny; a [`Throttle`](crate::Throttle) limits calls that come in.
///
/// It is a tower layer (feature `tower`) for clients such as those of hyper and tonic, a middleware of
/// `reqwest-middleware` (feature `reqwest`), and can be [asked](Self::until_ready) by any other client.
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
/// * **Order.** In one process the calls of a key and class are made in the order in which they began to
///   wait. On a shared storage several processes have one budget; between them there is no order.
/// * **Duration.** A call waits without bound unless there is a [`max_wait`](Self::max_wait). A question to
///   a shared storage takes as long as the storage does, so give that a timeout.
/// * **Drop.** A call that is dropped while it waits keeps no place, and those behind it move up. It has
///   taken nothing, but for the two cases of [`AsyncLimiter::until_ready`] on a shared storage. Once its turn
///   has come, it stays charged, whatever becomes of it.
///
/// A clone shares the budget.
///
/// # Errors
///
/// A call that is not made fails with a [`WaitError<BackendError>`](WaitError): `TooLong { wait }` says for how
/// long it would have had to wait, `Never` that its cost is beyond the limit, and `Storage` what the storage
/// failed with, unless such calls are [let pass](Self::fail_open). The tower layer boxes it, as tower's own
/// layers do, and with reqwest it is within `reqwest_middleware::Error::Middleware`; from either it is had
/// by `downcast_ref`.
pub struct Outgoing<S: Strategy, M> {
    budget: Budget<S, M>,
    cost: Arc<dyn Fn(RequestParts<'_>) -> S::Cost + Send + Sync>,
    class: Arc<dyn Fn(RequestParts<'_>) -> Class + Send + Sync>,
    wait: Arc<Wait<S, M>>,
}

/// Waits for the turn of a call.
type Wait<S, M> = dyn Fn(&Budget<S, M>, RequestParts<'_>, Hit<<S as Strategy>::Cost>) -> Turn + Send + Sync;

type Turn = BoxFuture<'static, Result<(), WaitError<BackendError>>>;

/// Gives calls their turns.
struct Budget<S, M> {
    limiter: Arc<AsyncLimiter<S, M>>,
    timer: Arc<DelayTimer>,
    max_wait: Option<Duration>,
    fails_open: bool,
}

impl<S: Strategy> Outgoing<S, Local<Memory<S>>> {
    /// Runs `limit` in a memory of its own with room for 65 536 keys; calls wait on `timer`.
    pub fn in_memory(strategy: S, timer: impl Timer + Send + Sync + 'static) -> Self {
        Self::new(AsyncLimiter::new(strategy, Local(Memory::builder().build())), timer)
    }
}

impl<S: Strategy, M: AsyncStorage<S> + 'static> Outgoing<S, M> {
    /// Gives calls their turns by `limiter`; they wait on `timer`. All of them cost 1, and have one budget
    /// under the key `"outgoing"`: budgets that share a storage are told apart by [`key_by`](Self::key_by).
    pub fn new(limiter: AsyncLimiter<S, M>, timer: impl Timer + Send + Sync + 'static) -> Self {
        let (limiter, timer) = (Arc::new(limiter), Arc::new(DelayTimer::on(timer)));
        Self {
            budget: Budget { limiter, timer, max_wait: None, fails_open: false },
            cost: Arc::new(|_| S::Cost::uniform(1)),
            class: Arc::new(|_| Class::default()),
            wait: Arc::new(|budget, _, hit| budget.turn("outgoing", hit)),
        }
    }

    /// Gives each of these keys a budget of its own, such as the host. The key of a limiter elsewhere, say
    /// that of a user, has the same budget there and here.
    #[must_use]
    pub fn key_by<K: Key + Send + Sync + 'static>(
        self,
        key: impl Fn(RequestParts<'_>) -> K + Send + Sync + 'static,
    ) -> Self {
        Self { wait: Arc::new(move |budget, call, hit| budget.turn(key(call), hit)), ..self }
    }

    /// Charges each call what `cost` says, instead of 1.
    #[must_use]
    pub fn cost_by(self, cost: impl Fn(RequestParts<'_>) -> S::Cost + Send + Sync + 'static) -> Self {
        Self { cost: Arc::new(cost), ..self }
    }

    /// Asks for each call in the class that `class` says, for limits that treat classes differently. Calls of
    /// each class wait in a line of their own.
    #[must_use]
    pub fn class_by(self, class: impl Fn(RequestParts<'_>) -> Class + Send + Sync + 'static) -> Self {
        Self { class: Arc::new(class), ..self }
    }

    /// Lets no call wait for longer than this. One whose turn cannot come by then, behind those that wait
    /// already, fails at once and takes nothing. Defaults to no bound. The time in which the client behind
    /// gets ready is not counted; and a client that said it is ready waits with its call, so a limit on
    /// concurrency stands outside of this, not behind it.
    #[must_use]
    pub fn max_wait(mut self, max_wait: Duration) -> Self {
        self.budget.max_wait = Some(max_wait);
        self
    }

    /// Lets calls pass unlimited while the storage fails. Defaults to failing them with its failure.
    #[must_use]
    pub fn fail_open(mut self) -> Self {
        self.budget.fails_open = true;
        self
    }

    /// Waits for the turn of a call, for a client that is neither tower's nor reqwest's.
    ///
    /// # Errors
    ///
    /// Fails as said [above](Self#errors).
    pub fn until_ready<'a>(
        &self,
        call: impl Into<RequestParts<'a>>,
    ) -> BoxFuture<'static, Result<(), WaitError<BackendError>>> {
        let call = call.into();
        (self.wait)(&self.budget, call, Hit::new((self.cost)(call)).with_class((self.class)(call)))
    }
}

impl<S: Strategy, M: AsyncStorage<S> + 'static> Budget<S, M> {
    fn turn<K: Key + Send + Sync + 'static>(&self, key: K, hit: Hit<S::Cost>) -> Turn {
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
