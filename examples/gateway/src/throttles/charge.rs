//! Charges a client of a throttle by its key, as a door without HTTP requests does.

use std::any::Any;

use traffik::storage::BoxFuture;
use traffik::web::{ClientKey, HeaderFormat, Quota, Throttle};
use traffik::{All, Class, Decision, Rate, Strategy, Verdict};

use crate::limits::limit::{Limit, all_of};
use crate::limits::plan::{OnErrorSpec, ThrottlePlan};
use crate::limits::strategy::RateLimits;
use crate::stores::store::AnyStorage;

/// The handle of a throttle for charges by key, of one type for all strategies.
pub(crate) struct ChargeControl {
    /// The cost of one hit.
    pub(crate) cost: u32,
    pub(crate) headers: HeaderFormat,
    pub(crate) on_error: OnErrorSpec,
    pub(crate) is_shadow: bool,
    /// Adds a charge to a quota. A rate replaces that of the throttle.
    pub(crate) charge: ChargeFn,
    /// Returns the current figures of each limit, without a charge.
    pub(crate) status: StatusFn,
}

/// Adds the charge of a client to a quota. Fails if the strategy cannot have the rate.
type ChargeFn = Box<dyn Fn(&Quota, ClientKey, Class, u32, Option<Rate>) -> Result<(), String> + Send + Sync>;

/// Returns the current figures of a client.
type StatusFn = Box<
    dyn Fn(ClientKey, Class, Option<Rate>) -> BoxFuture<'static, Result<Vec<Decision>, String>> + Send + Sync,
>;

impl ChargeControl {
    /// Builds the handle of a throttle.
    pub(crate) fn new<L: Limit, const N: usize>(
        plan: &ThrottlePlan,
        throttle: &Throttle<All<L, N>, AnyStorage<All<L, N>>>,
    ) -> Self {
        let (throttle, spec, is_shadow) = (throttle.clone(), plan.strategy.clone(), plan.shadow);
        let client_at = move |key, class, rate: Option<Rate>| {
            let client = throttle.client_for(key).class(class);
            Ok::<_, String>(match rate {
                Some(rate) => client.strategy(at_rate::<L, N>(spec.limits("limit", "strategy", &[rate])?)?),
                None => client,
            })
        };
        let asked_at = client_at.clone();
        let charge: ChargeFn = Box::new(move |quota, key, class, cost, rate| {
            quota.charge(client_at(key, class, rate)?.cost(cost).enforced(!is_shadow));
            Ok(())
        });
        let status: StatusFn = Box::new(move |key, class, rate| {
            let client = match asked_at(key, class, rate) {
                Ok(client) => client,
                Err(error) => return Box::pin(async { Err(error) }),
            };
            Box::pin(async move {
                let verdict = client.status().await.map_err(|error| error.to_string())?;
                let mut decisions = Vec::new();
                verdict.for_each(&mut |decision| decisions.push(*decision));
                Ok(decisions)
            })
        });
        let (cost, headers, on_error) = (plan.cost, plan.headers, plan.on_error);
        Self { cost, headers, on_error, is_shadow, charge, status }
    }
}

/// Returns the strategy of one rate, in an array of the length that the throttle has.
fn at_rate<L: Limit, const N: usize>(limits: RateLimits) -> Result<All<L, N>, String>
where
    All<L, N>: Strategy,
{
    let limit: Box<dyn Any> = match limits {
        RateLimits::Any(limits) => Box::new(limits.into_iter().next()),
        RateLimits::Log(limits) => Box::new(limits.into_iter().next()),
    };
    let limit = limit.downcast::<Option<L>>().ok().and_then(|limit| *limit);
    let limit = limit.ok_or("the strategy of the throttle has changed")?;
    all_of([limit])
}
