//! A client of a throttle, for checks within a service.

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

/// One client of a throttle, with the operations of a limiter: [`check`](Self::check),
/// [`status`](Self::status), [`charge`](Self::charge), [`refund`](Self::refund).
///
/// Choose it to charge something else than a whole request, or a client that no request names. Most handlers
/// want [`hit`](Throttle::hit). Operations go to the storage even if the throttle is disabled or not
/// [enforced](crate::Enforcement) for the client; the caller acts on their results.
///
/// ```
/// # async fn export(request: &http::Request<()>) -> Result<(), Box<dyn std::error::Error>> {
/// use traffik::{TokenBucket, rate};
/// use traffik::web::Throttle;
///
/// let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("100/min"))).build()?;
/// // Exports cost ten, in a separate bucket.
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
    /// Returns the client that a request is counted for; `None` if the request is not counted.
    ///
    /// Waits for asynchronous functions of the request, without a bound. Calls no storage, so a dropped
    /// future leaves nothing behind.
    ///
    /// # Errors
    ///
    /// Fails with a [`Rejection`] if a function of the request has refused it or has failed. A failure is a
    /// 503, whatever [`on_error`](crate::ThrottleBuilder::on_error) says, since the caller decides. If the
    /// throttle is not [enforced](crate::Enforcement) for the request, this returns `None` instead.
    pub fn client<'a>(
        &self,
        request: impl Into<RequestParts<'a>>,
    ) -> impl Future<Output = Result<Option<Client<S, M>>, Rejection>> + Send {
        // A request's body need not be `Sync`, so the future must not hold a reference to the whole request.
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

    /// Returns the client with this key, such as one that an [identifier](crate::Identify) returned before.
    ///
    /// Functions of the request are not called, since there is no request. Where the strategy or the storage
    /// is such a function, set it by [`Client::strategy`] or [`Client::storage`]. In place of a function, the
    /// cost is 1 and the class is the default one.
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
    /// Sets the scope.
    #[must_use]
    pub fn scope(mut self, scope: impl Into<Scope>) -> Self {
        self.plan.scope = Some(scope.into());
        self
    }

    /// Sets the cost of the operations.
    #[must_use]
    pub const fn cost(mut self, cost: S::Cost) -> Self {
        self.plan.hit.cost = cost;
        self
    }

    /// Sets the class of the operations.
    #[must_use]
    pub const fn class(mut self, class: Class) -> Self {
        self.plan.hit.class = class;
        self
    }

    /// Sets whether a [`Quota`](crate::Quota) enforces the limit. A client that is not enforced is checked
    /// and reported to observers as a [shadow](crate::Enforcement), and denies nothing.
    ///
    /// Defaults to the enforcement of the request for [`Throttle::client`], and to true for
    /// [`Throttle::client_for`].
    ///
    /// ```
    /// # async fn check() -> Result<(), Box<dyn std::error::Error>> {
    /// use traffik::{FixedWindow, rate};
    /// use traffik::web::{ClientKey, Quota, Throttle};
    ///
    /// let throttle = Throttle::in_memory("trial", FixedWindow::new(rate!("1/h"))).build()?;
    /// let quota = Quota::new();
    /// quota.charge(throttle.client_for(ClientKey::of("alice")).cost(2).enforced(false));
    /// quota.apply().await?; // over the limit, and not denied
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub const fn enforced(mut self, enforced: bool) -> Self {
        self.plan.enforced = enforced;
        self
    }

    /// Sets the strategy. A strategy of another type or period than the throttle's has a separate state; see
    /// [`strategy_by`](crate::ThrottleBuilder::strategy_by).
    #[must_use]
    pub fn strategy(mut self, strategy: S) -> Self {
        self.plan.strategy = Some(strategy);
        self
    }

    /// Sets the storage.
    #[must_use]
    pub fn storage(mut self, storage: M) -> Self {
        self.plan.storage = Some(storage);
        self
    }

    /// Returns the key of the client.
    #[must_use]
    pub const fn key(&self) -> &ClientKey {
        &self.plan.client
    }

    /// Decides, and charges the cost if the client is admitted.
    ///
    /// Waits for the storage, as long as its timeout allows. A dropped reply may leave the client charged.
    ///
    /// # Errors
    ///
    /// Fails with a [`BackendError`] if the storage fails, or if the strategy or the storage is a function
    /// of the request and none was set.
    pub fn check(&self) -> Reply<S::Verdict> {
        self.throttle.apply(&self.plan, &Op::Check(self.plan.hit))
    }

    /// Returns the verdict that [`check`](Self::check) would return, without charging. Its figures are
    /// those after the hit; the current ones are in [`status`](Self::status).
    ///
    /// Waits for the storage. A dropped reply changes nothing.
    ///
    /// # Errors
    ///
    /// Fails as [`check`](Self::check) does.
    pub fn peek(&self) -> Reply<S::Verdict> {
        self.throttle.apply(&self.plan, &Op::Peek(self.plan.hit))
    }

    /// Returns the current figures without charging. A client never seen has the whole limit. It is the
    /// verdict on a hit of cost 0, so it always admits.
    ///
    /// Waits for the storage. A dropped reply changes nothing.
    ///
    /// # Errors
    ///
    /// Fails as [`check`](Self::check) does.
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

    /// Charges what has already happened, even beyond the limit. Returns the figures after that.
    ///
    /// Waits for the storage. A dropped reply may leave the client charged.
    ///
    /// # Errors
    ///
    /// Fails as [`check`](Self::check) does.
    pub fn charge(&self) -> Reply<S::Verdict> {
        self.throttle.apply(&self.plan, &Op::Charge(self.plan.hit))
    }

    /// Refunds an admission by the receipt in its verdict, at the client's cost. Returns the figures after
    /// that.
    ///
    /// Waits for the storage. A dropped reply may leave the refund undone.
    ///
    /// # Errors
    ///
    /// Fails as [`check`](Self::check) does.
    pub fn refund(&self, receipt: <S::Verdict as Verdict>::Receipt) -> Reply<S::Verdict> {
        self.throttle.apply(&self.plan, &Op::Refund(self.plan.hit, receipt))
    }

    /// Deletes the client's state in its scope, so that the client has the whole limit again.
    ///
    /// Where the strategy is chosen for each request, this deletes the state under the client's
    /// [strategy](Self::strategy), which strategies of the same type and period share. Other states stay:
    /// reset the client under each strategy.
    ///
    /// Waits for the storage. A dropped reply may leave the state in place.
    ///
    /// # Errors
    ///
    /// Fails as [`check`](Self::check) does.
    pub fn reset(&self) -> Reply<S::Verdict> {
        self.throttle.apply(&self.plan, &Op::Reset)
    }

    /// Returns the strategy's own figures for the client and its class.
    ///
    /// Waits for the storage. A dropped future changes nothing.
    ///
    /// # Errors
    ///
    /// Fails as [`check`](Self::check) does.
    pub async fn stat(&self) -> Result<S::Stat, BackendError> {
        self.throttle.figures(&self.plan).await
    }
}
