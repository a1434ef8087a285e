//! A throttle asked within a service: by request, or by who is known to ask.

use std::fmt;
use std::future::Future;

use traffik_core::storage::{AsyncStorage, BackendError, Reply};
use traffik_core::{Class, Cost, Hit, Op, Strategy, Verdict};

use super::handle::Throttle;
use super::plan::{Plan, SkipReason, Skipped};
use super::profile::Scope;
use super::rejection::Rejection;
use crate::http::request::RequestParts;
use crate::identify::ClientKey;

/// One client of a throttle, with the verbs of a limiter.
///
/// They go to the storage whatever the throttle's [enforcement](crate::Enforcement) is; what their answers mean is for
/// the caller to say.
///
/// ```
/// # async fn export(request: &http::Request<()>) -> Result<(), Box<dyn std::error::Error>> {
/// use traffik::{TokenBucket, rate};
/// use traffik::web::Throttle;
///
/// let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("100/min"))).build()?;
/// // Exports cost ten, in a bucket of their own.
/// if let Some(client) = throttle.client(request).await? {
///     let decision = client.scope("export").cost(10).check().await?;
///     if !decision.is_allowed() {
///         return Err("no more exports for now".into());
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Client<S: Strategy, M> {
    pub(crate) throttle: Throttle<S, M>,
    pub(crate) plan: Plan<S, M>,
}

impl<S: Strategy, M> fmt::Debug for Client<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (throttle, hit) = (&self.throttle, &self.plan.hit);
        f.debug_struct("Client").field("throttle", throttle).field("hit", hit).finish_non_exhaustive()
    }
}

impl<S: Strategy, M: AsyncStorage<S> + 'static> Throttle<S, M> {
    /// Returns the client that sends a request; `None` if it is not counted. Waits for functions of the
    /// request that answer asynchronously, and for no storage.
    ///
    /// # Errors
    ///
    /// Fails with a [`Rejection`] if the request is refused, or a function of it has failed: with a 503,
    /// whatever [`on_error`](crate::ThrottleBuilder::on_error) says, for the caller decides. A throttle that
    /// is not [enforced](crate::Enforcement) for the request returns `None` instead.
    pub fn client<'a>(
        &self,
        request: impl Into<RequestParts<'a>>,
    ) -> impl Future<Output = Result<Option<Client<S, M>>, Rejection>> + Send {
        // The body of a request need not be `Sync`, so a future must not hold a reference to the whole.
        let request = request.into();
        async move {
            match self.prepare(request, None).get().await {
                Ok(plan) => Ok(Some(Client { throttle: self.clone(), plan })),
                Err(Skipped { reason: SkipReason::NotCounted(_), .. } | Skipped { enforced: false, .. }) => {
                    Ok(None)
                }
                Err(Skipped { reason: SkipReason::Error(stop), .. }) => {
                    Err(Rejection::stopped(self.uid(), request.is_grpc(), stop))
                }
            }
        }
    }

    /// The client that is known by this key, such as what an [identifier](crate::Identify) said of it before.
    ///
    /// There is no request to ask: where the limit or the storage is a function of it, give the client
    /// [one](Client::strategy); a cost that is a function of it counts as 1, a class as the default one.
    #[must_use]
    pub fn client_for(&self, client: ClientKey) -> Client<S, M> {
        let settings = self.0.settings.load_full();
        let cost = settings.cost.fixed().copied().unwrap_or_else(|| S::Cost::uniform(1));
        let class = settings.class.fixed().copied().unwrap_or_default();
        let (hit, scope) = (Hit::new(cost).with_class(class), self.0.profile.scope.clone());
        let plan = Plan { settings, strategy: None, storage: None, client, scope, hit, enforced: true };
        Client { throttle: self.clone(), plan }
    }
}

impl<S: Strategy, M: AsyncStorage<S> + 'static> Client<S, M> {
    /// The same client in this scope.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<Scope>) -> Self {
        self.plan.scope = Some(scope.into());
        self
    }

    /// The same client, asking for this much.
    #[must_use]
    pub const fn cost(mut self, cost: S::Cost) -> Self {
        self.plan.hit.cost = cost;
        self
    }

    /// The same client, asking in this class.
    #[must_use]
    pub const fn class(mut self, class: Class) -> Self {
        self.plan.hit.class = class;
        self
    }

    /// The same client under this limit. One of another strategy or period than the throttle's own has a
    /// state of its own; see [`strategy_by`](crate::ThrottleBuilder::strategy_by).
    #[must_use]
    pub fn strategy(mut self, strategy: S) -> Self {
        self.plan.strategy = Some(strategy);
        self
    }

    /// The same client in this storage.
    #[must_use]
    pub fn storage(mut self, storage: M) -> Self {
        self.plan.storage = Some(storage);
        self
    }

    /// Who it is.
    #[must_use]
    pub const fn key(&self) -> &ClientKey {
        &self.plan.client
    }

    /// Asks, and takes it if it is admitted.
    pub fn check(&self) -> Reply<S::Verdict> {
        self.throttle.apply(&self.plan, &Op::Check(self.plan.hit))
    }

    /// What [`check`](Self::check) would answer, taking nothing: its figures are those after the hit. What is
    /// left now is [`status`](Self::status).
    pub fn peek(&self) -> Reply<S::Verdict> {
        self.throttle.apply(&self.plan, &Op::Peek(self.plan.hit))
    }

    /// Reports what the client has left now, charging nothing: one never seen has the whole limit. It is the
    /// answer to a hit of cost 0, so it admits.
    ///
    /// ```
    /// # async fn left(request: &http::Request<()>) -> Result<(), Box<dyn std::error::Error>> {
    /// use traffik::{TokenBucket, rate};
    /// use traffik::web::Throttle;
    ///
    /// let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("10/min"))).build()?;
    /// if let Some(client) = throttle.client(request).await? {
    ///     assert_eq!(client.status().await?.remaining(), 10);
    ///     assert_eq!(client.peek().await?.remaining(), 9); // what a check would leave
    /// }
    /// # Ok(())
    /// # }
    /// ```
    pub fn status(&self) -> Reply<S::Verdict> {
        self.throttle.apply(&self.plan, &Op::Peek(self.plan.hit.free()))
    }

    /// Books what has already happened, whether or not it was allowed. Answers what is left.
    pub fn charge(&self) -> Reply<S::Verdict> {
        self.throttle.apply(&self.plan, &Op::Charge(self.plan.hit))
    }

    /// Takes back the cost of an admission, by the receipt in its verdict. Answers what is left.
    pub fn refund(&self, receipt: <S::Verdict as Verdict>::Receipt) -> Reply<S::Verdict> {
        self.throttle.apply(&self.plan, &Op::Refund(self.plan.hit, receipt))
    }

    /// Forgets the client: it starts afresh.
    ///
    /// Where the limit is chosen for each request, the state under the client's [limit](Self::strategy) is
    /// forgotten, with those of the same strategy and period. Limits of others keep what was used: reset the
    /// client under each.
    pub fn reset(&self) -> Reply<S::Verdict> {
        self.throttle.apply(&self.plan, &Op::Reset)
    }

    /// The strategy's own figures for the client, as they are for its class.
    pub async fn stat(&self) -> Result<S::Stat, BackendError> {
        self.throttle.figures(&self.plan).await
    }
}
