//! One decision on all descriptors of a call.

use std::time::Duration;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use tonic::Status;
use traffik::web::{Quota, Rejection};
use traffik::{Decision, Outcome};

use crate::limits::plan::OnErrorSpec;
use crate::observe::counters::{self, COUNTERS};
use crate::rls::answer::{self, LimitFigures};
use crate::rls::matches::{self, Match};
use crate::throttles::pipeline::Pipeline;

/// Decides on a call: all descriptors are charged, or none.
///
/// # Errors
///
/// Fails with `INVALID_ARGUMENT` if a part of the call is outside its bounds, and with `UNAVAILABLE` if a
/// storage fails whose throttle does not let requests pass then.
pub(super) async fn decide(
    pipeline: &Pipeline,
    call: &RateLimitRequest,
) -> Result<RateLimitResponse, Status> {
    let (matches, unmatched) = matches::find(pipeline, call)?;
    if unmatched > 0 {
        counters::add(&COUNTERS.rls_unmatched, unmatched as u64);
    }
    let mut figures = Vec::with_capacity(matches.len());
    let mut denial = ask(&matches, &mut figures).await?;
    if denial.is_none() {
        denial = charge(&matches, &mut figures).await?;
    }
    let code = if denial.is_some() { Code::OverLimit } else { Code::Ok };
    Ok(RateLimitResponse {
        overall_code: code.into(),
        statuses: answer::statuses(call.descriptors.len(), &matches, &figures),
        response_headers_to_add: answer::headers(&matches, &figures, denial.flatten()),
        ..RateLimitResponse::default()
    })
}

/// A denial, with the wait until the call can succeed; `None` inside if that is never.
type CallDenial = Option<Option<Duration>>;

/// Reads the figures of the descriptors that only ask. Denies if nothing remains of a limit.
async fn ask<'a>(
    matches: &'a [Match<'_>],
    figures: &mut Vec<LimitFigures<'a>>,
) -> Result<CallDenial, Status> {
    let mut denial: CallDenial = None;
    for (of, found) in matches.iter().enumerate().filter(|(_, found)| found.cost == 0) {
        let charge = &found.control.charge;
        let decisions = match (charge.status)(found.key.clone(), found.control.class, found.rate).await {
            Ok(decisions) => decisions,
            Err(_) if charge.is_shadow || charge.on_error == OnErrorSpec::Allow => continue,
            Err(error) => return Err(Status::unavailable(error)),
        };
        for (policy, decision) in found.control.names.iter().zip(decisions) {
            let denies = !charge.is_shadow && !decision.is_unlimited() && decision.remaining() == 0;
            if denies {
                let wait = decision.more_after();
                // The longest wait counts; without one, waiting does not help.
                denial = Some(denial.map_or(wait, |known| known.zip(wait).map(|(a, b)| a.max(b))));
            }
            figures.push(LimitFigures { of, policy, decision, denies });
        }
    }
    Ok(denial)
}

/// Charges all descriptors that have a cost, or none.
async fn charge<'a>(
    matches: &'a [Match<'_>],
    figures: &mut Vec<LimitFigures<'a>>,
) -> Result<CallDenial, Status> {
    let (quota, mut charged) = (Quota::new(), Vec::with_capacity(matches.len()));
    for (of, found) in matches.iter().enumerate().filter(|(_, found)| found.cost > 0) {
        let (key, class) = (found.key.clone(), found.control.class);
        (found.control.charge.charge)(&quota, key, class, found.cost, found.rate)
            .map_err(Status::invalid_argument)?;
        charged.push((of, found));
    }
    let visit = |at: usize, name: &str, decision: &Decision| {
        let Some((of, found)) = charged.get(at) else { return };
        // The unlimited strategies that fill an array up have no name of their own.
        let policies = &found.control.names;
        let Some(policy) = policies.iter().find(|policy| *policy == name) else { return };
        let is_filler = decision.is_unlimited() && policies.len() > 1;
        if !is_filler {
            let denies = !decision.is_allowed() && !found.control.charge.is_shadow;
            figures.push(LimitFigures { of: *of, policy, decision: *decision, denies });
        }
    };
    match quota.apply_each(visit).await {
        Ok(()) => Ok(None),
        Err(rejection) => denial(&rejection).map(Some),
    }
}

/// Returns the wait of a denial.
fn denial(rejection: &Rejection) -> Result<Option<Duration>, Status> {
    match rejection.outcome() {
        Some(Outcome::Deny { retry_after }) => Ok(Some(retry_after)),
        Some(_) => Ok(None),
        // Envoy decides by `failure_mode_deny`; OVER_LIMIT would claim a use that nobody has counted.
        None => Err(Status::unavailable(rejection.to_string())),
    }
}
