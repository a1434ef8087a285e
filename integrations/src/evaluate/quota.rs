//! Charges that add up while a request is handled, and are applied together at its end.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use traffik_core::storage::AsyncStorage;
use traffik_core::{Class, Strategy, debug_fields};

use super::contract::{Evaluation, EvaluationPart};
use super::decide::{decide, sit_out};
use super::planned::PlannedThrottle;
use crate::http::headers::Policies;
use crate::http::request::RequestError;
use crate::http::response;
use crate::throttle::{Cause, Client, Plan, Rejection, Scope, Throttle};

/// Charges that add up and are applied together: all of them, or none.
///
/// Clones are the same quota, so that one can travel in the extensions of a request. What is not
/// [applied](Self::apply) is never charged: a handler that fails on its way has cost nothing. What one client
/// is charged with one throttle, in one scope and class, is checked as one sum; but each charge for itself
/// where the throttle chooses its limit or storage for each request.
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
///     search.end(); // left without this, the search would cost nothing
/// }
/// quota.apply().await?; // 7, or nothing
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Quota(Arc<Mutex<Vec<Box<dyn PendingCharge>>>>);

/// A part of a [`Quota`] that is given up unless it is ended.
#[must_use = "what is charged in it counts only once it is ended"]
#[derive(Debug)]
pub struct QuotaScope {
    quota: Quota,
    into: Quota,
}

/// A charge that has not been made yet.
trait PendingCharge: Send + Sync {
    /// Adds another charge, if both have the same subject.
    fn merge(&mut self, other: &dyn PendingCharge) -> bool;
    /// `None` if it is like no other: its limit or its storage was chosen for its request.
    fn subject(&self) -> Option<ChargeSubject>;
    fn uid(&self) -> &str;
    fn cost(&self) -> u32;
    fn part(&self) -> Box<dyn EvaluationPart>;
}

/// Whom a charge is for, and with which throttle, as it is set up.
#[derive(PartialEq)]
struct ChargeSubject {
    throttle: usize,
    settings: usize,
    client: Vec<u8>,
    scope: Option<Scope>,
    class: Class,
}

struct ThrottleCharge<S: Strategy, M> {
    throttle: Throttle<S, M>,
    plan: Arc<Plan<S, M>>,
}

impl<S: Strategy<Cost = u32>, M: AsyncStorage<S> + 'static> PendingCharge for ThrottleCharge<S, M> {
    fn merge(&mut self, other: &dyn PendingCharge) -> bool {
        // While it is being applied it stays what it is.
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
    /// Nothing is charged yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds what a client's hit costs.
    pub fn charge<S: Strategy<Cost = u32>, M: AsyncStorage<S> + 'static>(&self, client: Client<S, M>) {
        let Client { throttle, plan } = client;
        self.add(Box::new(ThrottleCharge { throttle, plan: Arc::new(plan) }));
    }

    fn add(&self, charge: Box<dyn PendingCharge>) {
        let mut charges = self.lock();
        if !charges.iter_mut().any(|known| known.merge(&*charge)) {
            charges.push(charge);
        }
    }

    /// A part of it that can be given up by itself: it has the methods of a quota, and counts once `end` is
    /// called. Parts can have parts.
    pub fn nested(&self) -> QuotaScope {
        QuotaScope { quota: Self::new(), into: self.clone() }
    }

    /// What has added up so far, of all clients.
    #[must_use]
    pub fn cost(&self) -> u32 {
        self.lock().iter().fold(0, |sum, charge| sum.saturating_add(charge.cost()))
    }

    /// Gives up all that has added up.
    pub fn give_up(&self) {
        self.lock().clear();
    }

    /// Charges all that has added up, or nothing. Charged, it starts anew; a delay is sat out where there is
    /// a [runtime](crate::ThrottleBuilder::runtime).
    ///
    /// # Errors
    ///
    /// Fails with a [`Rejection`] if a throttle denies, or its storage has failed. What has added up is still
    /// there, so that it can be applied once the wait is over. There is no request here, so the answer of the
    /// rejection is the plain one over HTTP: without the headers and handlers of the throttles, and with a
    /// 503 for a failure whatever [`on_error`](crate::ThrottleBuilder::on_error) says.
    pub async fn apply(&self) -> Result<(), Rejection> {
        let charges = std::mem::take(&mut *self.lock());
        let decided = decide(charges.iter().map(|charge| charge.part()).collect()).await;
        let names = charges.iter().map(|charge| charge.uid().to_owned()).collect::<Vec<_>>().join(", ");
        if !matches!(decided, Evaluation::Admitted { .. }) {
            charges.into_iter().for_each(|charge| self.add(charge));
        }
        match decided {
            Evaluation::Admitted { mut parts, pause, beside } => {
                if let Some(beside) = beside {
                    beside.await;
                }
                if let Some(pause) = pause {
                    sit_out(&pause, &mut parts).await;
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
                    // The caller gets the failure, and decides.
                    let _ = failing(None, &failure);
                    answer = Err(Rejection::stopped(&names, false, RequestError::Failed(failure)));
                }
                answer
            }
            // Nothing is found out here that could be refused.
            Evaluation::Refused(_) => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Box<dyn PendingCharge>>> {
        // Nothing is left half done under the lock.
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
    /// Adds what it comes to to the quota it is a part of.
    pub fn end(self) {
        let charges = std::mem::take(&mut *self.quota.lock());
        charges.into_iter().for_each(|charge| self.into.add(charge));
    }
}

debug_fields!([] Quota: cost = |it| it.cost());
