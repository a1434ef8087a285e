//! Charges that a handler collects, and applies together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use traffik_core::storage::AsyncStorage;
use traffik_core::{Class, Strategy, debug_fields};

use super::contract::{Evaluation, EvaluationPart};
use super::decide::{await_turn, decide};
use super::planned::PlannedThrottle;
use crate::http::headers::Policies;
use crate::http::request::RequestError;
use crate::http::response;
use crate::throttle::{Cause, Client, Plan, Rejection, Scope, Throttle};

/// Charges that a handler collects while it works, and applies together: all of them, or none.
///
/// Choose it when the cost of a request becomes known only step by step. Clones share the charges, so a quota
/// can travel in the extensions of a request.
///
/// ```
/// # async fn handler(request: http::Request<()>) -> Result<(), Box<dyn std::error::Error>> {
/// use traffik::{TokenBucket, rate};
/// use traffik::web::{Quota, Throttle};
///
/// let throttle = Throttle::in_memory("credits", TokenBucket::new(rate!("100/h"))).build()?;
/// let quota = Quota::new();
/// quota.charge(throttle.client(&request).await?.ok_or("exempt")?.cost(2)); // for reading
/// {
///     let search = quota.nested();
///     search.charge(throttle.client(&request).await?.ok_or("exempt")?.cost(5));
///     search.end(); // without this, the search would cost nothing
/// }
/// quota.apply().await?; // 7, or nothing
/// # Ok(())
/// # }
/// ```
///
/// * Charges that are not [applied](Self::apply) cost nothing, as when a handler fails before that.
/// * Charges of one client with one throttle, in one scope and class, are added up. Where the throttle
///   chooses its strategy or storage for each request, or its settings have changed meanwhile, charges are
///   checked one by one.
#[derive(Clone, Default)]
pub struct Quota(Arc<Mutex<Vec<Box<dyn PendingCharge>>>>);

/// A part of a [`Quota`] whose charges count only once [`end`](Self::end) is called.
///
/// [`Quota::nested`] makes it. Choose it for a step of the work that may be abandoned.
///
/// ```
/// use traffik::web::Quota;
///
/// let quota = Quota::new();
/// let step = quota.nested();
/// step.end();
/// assert_eq!(quota.cost(), 0);
/// ```
#[must_use = "its charges count only once `end` is called"]
#[derive(Debug)]
pub struct QuotaScope {
    quota: Quota,
    into: Quota,
}

/// A charge that has not been made yet.
trait PendingCharge: Send + Sync {
    /// Adds the cost of another charge if both have the same subject. Reports whether it was added.
    fn merge(&mut self, other: &dyn PendingCharge) -> bool;
    /// Returns the subject; `None` if the strategy or the storage was chosen for the request.
    fn subject(&self) -> Option<ChargeSubject>;
    fn uid(&self) -> &str;
    fn cost(&self) -> u32;
    fn part(&self) -> Box<dyn EvaluationPart>;
}

/// The client and the throttle that charges must share to be added up.
#[derive(PartialEq)]
struct ChargeSubject {
    throttle: usize,
    settings: usize,
    client: Vec<u8>,
    scope: Option<Scope>,
    class: Class,
}

/// A charge with one throttle.
struct ThrottleCharge<S: Strategy, M> {
    throttle: Throttle<S, M>,
    plan: Arc<Plan<S, M>>,
}

impl<S: Strategy<Cost = u32>, M: AsyncStorage<S> + 'static> PendingCharge for ThrottleCharge<S, M> {
    fn merge(&mut self, other: &dyn PendingCharge) -> bool {
        // `get_mut` fails while an evaluation holds the plan: a charge under way must not grow.
        let same = self.subject().is_some_and(|subject| other.subject() == Some(subject));
        match Arc::get_mut(&mut self.plan) {
            Some(plan) if same => {
                plan.hit.cost = plan.hit.cost.saturating_add(other.cost());
                true
            }
            _ => false,
        }
    }

    fn subject(&self) -> Option<ChargeSubject> {
        let plan = &*self.plan;
        (plan.strategy.is_none() && plan.storage.is_none()).then(|| ChargeSubject {
            throttle: Arc::as_ptr(&self.throttle.0).addr(),
            settings: Arc::as_ptr(&plan.settings).addr(),
            client: plan.client.as_bytes().to_vec(),
            scope: plan.scope.clone(),
            class: plan.hit.class,
        })
    }

    fn uid(&self) -> &str {
        self.throttle.uid()
    }

    fn cost(&self) -> u32 {
        self.plan.hit.cost
    }

    fn part(&self) -> Box<dyn EvaluationPart> {
        Box::new(PlannedThrottle::new(self.throttle.clone(), Arc::clone(&self.plan)))
    }
}

impl Quota {
    /// Returns a quota without charges.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the hit of a client, at its cost.
    pub fn charge<S: Strategy<Cost = u32>, M: AsyncStorage<S> + 'static>(&self, client: Client<S, M>) {
        let Client { throttle, plan } = client;
        self.add(Box::new(ThrottleCharge { throttle, plan: Arc::new(plan) }));
    }

    /// Adds a charge to the one with its subject, if there is one.
    fn add(&self, charge: Box<dyn PendingCharge>) {
        let mut charges = self.lock();
        if !charges.iter_mut().any(|known| known.merge(&*charge)) {
            charges.push(charge);
        }
    }

    /// Returns a part of the quota whose charges count once `end` is called on it. It has the methods of a
    /// quota, so parts can have parts. Dropped without `end`, its charges are gone.
    pub fn nested(&self) -> QuotaScope {
        QuotaScope { quota: Self::new(), into: self.clone() }
    }

    /// Returns the sum of all charges, of all clients.
    #[must_use]
    pub fn cost(&self) -> u32 {
        self.lock().iter().fold(0, |sum, charge| sum.saturating_add(charge.cost()))
    }

    /// Removes all charges that are not applied.
    pub fn give_up(&self) {
        self.lock().clear();
    }

    /// Charges everything that was collected, or nothing. After success the quota is empty.
    ///
    /// Waits for the storages (without a bound, so give them a timeout), and with a
    /// [runtime](crate::ThrottleBuilder::runtime) for the delay of a queueing strategy, at most
    /// [`max_delay`](crate::ThrottleBuilder::max_delay). A future that is polled and then dropped has emptied
    /// the quota: the collected charges are lost. Charges that a storage has made by then stay, unless a
    /// [spawner](crate::ThrottleBuilder::spawner) finishes the evaluation. If the future waits for a turn,
    /// the turn is given up.
    ///
    /// # Errors
    ///
    /// Fails with a [`Rejection`] if a throttle denies or its storage has failed. The charges stay in the
    /// quota, so that it can be applied again after the wait. There is no request here, so the rejection's
    /// answer has no headers and no handler of the throttles. A failure is a 503, whatever
    /// [`on_error`](crate::ThrottleBuilder::on_error) says.
    pub async fn apply(&self) -> Result<(), Rejection> {
        let charges = std::mem::take(&mut *self.lock());
        let decided = decide(charges.iter().map(|charge| charge.part()).collect()).await;
        let names = charges.iter().map(|charge| charge.uid().to_owned()).collect::<Vec<_>>().join(", ");
        if !matches!(decided, Evaluation::Admitted { .. }) {
            charges.into_iter().for_each(|charge| self.add(charge));
        }
        match decided {
            Evaluation::Admitted { mut parts, timer, beside } => {
                if let Some(beside) = beside {
                    beside.await;
                }
                if let Some(timer) = timer {
                    await_turn(&timer, &mut parts).await;
                }
                Ok(())
            }
            Evaluation::Denied { parts, first, outcome } => {
                let throttles: Vec<_> = parts.iter().map(|part| part.disclosure()).collect();
                let limits: Policies<'_> =
                    throttles.iter().flat_map(|it| it.limits.iter().copied()).collect();
                let response = response::denied(false, outcome, &limits);
                let denying = throttles.get(first);
                let name = denying.map_or(&*names, |it| &it.profile.uid);
                let client = denying.map(|it| it.client.clone());
                Err(Rejection::new(name, client, Cause::Denied(outcome), response))
            }
            Evaluation::Failed { failed, .. } => {
                let mut answer = Ok(());
                for (failing, failure) in failed {
                    // This only reports the failure to observers; the caller decides on it.
                    let _ = failing(None, &failure);
                    answer = Err(Rejection::stopped(&names, false, RequestError::Failed(failure)));
                }
                answer
            }
            // Refusals come from functions of a request, which ran when the clients were made.
            Evaluation::Refused(_) => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Box<dyn PendingCharge>>> {
        // No code under the lock panics halfway, so a poisoned list is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::ops::Deref for QuotaScope {
    type Target = Quota;

    fn deref(&self) -> &Quota {
        &self.quota
    }
}

impl QuotaScope {
    /// Adds the charges of this part to the quota that it belongs to.
    pub fn end(self) {
        let charges = std::mem::take(&mut *self.quota.lock());
        charges.into_iter().for_each(|charge| self.into.add(charge));
    }
}

debug_fields!([] Quota: cost = |it| it.cost());
