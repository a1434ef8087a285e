//! Charges that a handler collects, and applies together.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::Request;
use smallvec::{SmallVec, smallvec};
use traffik_core::storage::AsyncStorage;
use traffik_core::{Class, Decision, Strategy, debug_fields};

use super::contract::{ErrorOutcome, Evaluation, EvaluationPart};
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
    /// Returns the positions of the charges that were added up here, counted from 0.
    fn positions(&mut self) -> &mut Positions;
    /// Returns the part of an evaluation; `order` is the position of this charge in it.
    fn part(&self, order: usize) -> Box<dyn EvaluationPart>;
}

/// The positions of charges among all charges of a quota.
type Positions = SmallVec<[usize; 4]>;

/// A function that receives the figures of a charge.
type Visitor<'a> = &'a mut (dyn FnMut(usize, &str, &Decision) + Send);

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
    positions: Positions,
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

    fn positions(&mut self) -> &mut Positions {
        &mut self.positions
    }

    fn part(&self, order: usize) -> Box<dyn EvaluationPart> {
        let mut planned = PlannedThrottle::new(self.throttle.clone(), Arc::clone(&self.plan));
        planned.order = order;
        Box::new(planned)
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
        self.add(Box::new(ThrottleCharge { throttle, plan: Arc::new(plan), positions: smallvec![0] }));
    }

    /// Adds a charge to the one with its subject, if there is one. Its positions follow those before.
    fn add(&self, mut charge: Box<dyn PendingCharge>) {
        let mut charges = self.lock();
        // Each charge has one position, so their number is the next one.
        let next: usize = charges.iter_mut().map(|known| known.positions().len()).sum();
        for (offset, position) in charge.positions().iter_mut().enumerate() {
            *position = next.saturating_add(offset);
        }
        match charges.iter_mut().find_map(|known| known.merge(&*charge).then_some(known)) {
            Some(known) => known.positions().append(charge.positions()),
            None => charges.push(charge),
        }
    }

    /// Puts charges back that were not applied. Charges added meanwhile follow them.
    fn put_back(&self, charges: Vec<Box<dyn PendingCharge>>) {
        let meanwhile = std::mem::replace(&mut *self.lock(), charges);
        meanwhile.into_iter().for_each(|charge| self.add(charge));
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
        self.decide(false, &mut |_, _, _| {}).await
    }

    /// Charges everything that was collected, or nothing, and passes the figures of each charge to `visit`:
    /// the position of the charge, counted from 0 in the order of [`charge`](Self::charge), and the name and
    /// the decision of each of its limits.
    ///
    /// Choose it over [`apply`](Self::apply) where the caller reports on each charge, such as a rate limit
    /// service. The figures come from the decision itself, without another call to a storage. Charges that
    /// are added up have the figures of their sum. After a denial the figures of the other charges are those
    /// without the request. A charge has no figures if the evaluation ended before its storage was asked, or
    /// if the storage failed and [`on_error`](crate::ThrottleBuilder::on_error) admits.
    ///
    /// ```
    /// # async fn answer(request: http::Request<()>) -> Result<(), Box<dyn std::error::Error>> {
    /// use traffik::{TokenBucket, rate};
    /// use traffik::web::{Quota, Throttle};
    ///
    /// let throttle = Throttle::in_memory("credits", TokenBucket::new(rate!("100/h"))).build()?;
    /// let quota = Quota::new();
    /// quota.charge(throttle.client(&request).await?.ok_or("exempt")?.cost(2));
    /// let mut left = Vec::new();
    /// quota.apply_each(|at, policy, decision| left.push((at, policy.to_owned(),
    /// decision.remaining()))).await?; assert_eq!(left, [(0, "credits".to_owned(), 98)]);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// Waits as `apply` does, and a dropped future leaves the same behind.
    ///
    /// # Errors
    ///
    /// Fails with a [`Rejection`] if a throttle denies, or if its storage has failed and
    /// [`on_error`](crate::ThrottleBuilder::on_error) does not admit. Unlike `apply`, this follows
    /// `on_error`, whose function receives a request without headers. The charges stay in the quota.
    pub async fn apply_each(
        &self,
        mut visit: impl FnMut(usize, &str, &Decision) + Send,
    ) -> Result<(), Rejection> {
        self.decide(true, &mut visit).await
    }

    /// Decides on all charges. `follows` says whether failures are handled as `on_error` says.
    async fn decide(&self, follows: bool, visit: Visitor<'_>) -> Result<(), Rejection> {
        let mut charges = std::mem::take(&mut *self.lock());
        let parts = charges.iter().enumerate().map(|(order, charge)| charge.part(order)).collect();
        let mut decided = decide(parts).await;
        loop {
            match decided {
                Evaluation::Admitted { mut parts, timer, beside } => {
                    visit_all(&mut charges, &parts, visit);
                    if let Some(beside) = beside {
                        beside.await;
                    }
                    if let Some(timer) = timer {
                        await_turn(&timer, &mut parts).await;
                    }
                    return Ok(());
                }
                Evaluation::Denied { parts, first, outcome } => {
                    visit_all(&mut charges, &parts, visit);
                    let throttles: Vec<_> = parts.iter().map(|part| part.disclosure()).collect();
                    let limits: Policies<'_> =
                        throttles.iter().flat_map(|it| it.limits.iter().copied()).collect();
                    let response = response::denied(false, outcome, &limits);
                    let denying = throttles.get(first);
                    let names = names(&charges);
                    let name = denying.map_or(&*names, |it| &it.profile.uid);
                    let client = denying.map(|it| it.client.clone());
                    let rejection = Rejection::new(name, client, Cause::Denied(outcome), response);
                    self.put_back(charges);
                    return Err(rejection);
                }
                Evaluation::Failed { failed, others } => {
                    let mut rejection = None;
                    for (failing, failure) in failed {
                        let request = Request::new(());
                        // Without a request this only reports the failure to observers.
                        let reaction = failing(follows.then(|| (&request).into()), &failure);
                        let cause = match reaction.get().await {
                            ErrorOutcome::Passes(_) if follows => continue,
                            ErrorOutcome::Answered(response) => {
                                Rejection::new(&names(&charges), None, Cause::Failed(failure), response)
                            }
                            _ => Rejection::stopped(&names(&charges), false, RequestError::Failed(failure)),
                        };
                        rejection = Some(cause);
                    }
                    if let Some(rejection) = rejection {
                        self.put_back(charges);
                        return Err(rejection);
                    }
                    // `on_error` admits, so the throttles that have not failed decide.
                    decided = decide(others).await;
                }
                // Refusals come from functions of a request, which ran when the clients were made.
                Evaluation::Refused(_) => return Ok(()),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Box<dyn PendingCharge>>> {
        // No code under the lock panics halfway, so a poisoned list is whole.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes the figures of all parts that have any.
fn visit_all(charges: &mut [Box<dyn PendingCharge>], parts: &[Box<dyn EvaluationPart>], visit: Visitor<'_>) {
    for part in parts {
        let Some(charge) = charges.get_mut(part.order()) else { continue };
        for limit in part.disclosure().limits {
            charge.positions().iter().for_each(|position| visit(*position, limit.name, &limit.decision));
        }
    }
}

/// Returns the names of the throttles of all charges, as one text.
fn names(charges: &[Box<dyn PendingCharge>]) -> String {
    charges.iter().map(|charge| charge.uid()).collect::<Vec<_>>().join(", ")
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
