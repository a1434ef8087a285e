//! The throttles that apply to the descriptors of a call, with the clients and the hits.

use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::RateLimitOverride;
use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitRequest;
use tonic::Status;
use traffik::Rate;
use traffik::web::ClientKey;

use crate::rls::units::period;
use crate::throttles::pipeline::{Pipeline, ThrottleControl};

/// Most descriptors of a call.
const MOST: usize = 100;

/// Most hits of a descriptor, the bound of the protocol.
const MOST_HITS: u64 = 1_000_000_000;

/// A throttle that applies to a descriptor.
pub(super) struct Match<'a> {
    pub(super) descriptor: usize,
    pub(super) control: &'a ThrottleControl,
    pub(super) key: ClientKey,
    /// The cost; 0 only asks.
    pub(super) cost: u32,
    /// The rate in place of that of the throttle.
    pub(super) rate: Option<Rate>,
}

/// Returns the throttles of all descriptors, and the number of descriptors without one.
///
/// # Errors
///
/// Fails with `INVALID_ARGUMENT` if a part of the call is outside its bounds.
pub(super) fn find<'a>(
    pipeline: &'a Pipeline,
    call: &RateLimitRequest,
) -> Result<(Vec<Match<'a>>, usize), Status> {
    if call.domain.is_empty() || call.descriptors.is_empty() {
        return Err(Status::invalid_argument("the domain and the descriptors must not be empty"));
    }
    // Each descriptor may be a call to a store.
    if call.descriptors.len() > MOST {
        let number = call.descriptors.len();
        return Err(Status::invalid_argument(format!("{number} descriptors; at most {MOST} are taken")));
    }
    let (mut matches, mut unmatched) = (Vec::new(), 0);
    for (at, descriptor) in call.descriptors.iter().enumerate() {
        let hits = hits(call, descriptor)?;
        let rate = descriptor.limit.as_ref().map(rate).transpose()?;
        let mut is_matched = false;
        for throttle in pipeline.descriptors.find(&call.domain, &descriptor.entries) {
            let Some(control) = pipeline.controls.get(throttle) else { continue };
            is_matched = true;
            // Exempt clients are matched, so they do not count as unmatched.
            let Some(key) = key(control, descriptor) else { continue };
            let cost = control.charge.cost.saturating_mul(hits);
            matches.push(Match { descriptor: at, control, key, cost, rate });
        }
        unmatched += usize::from(!is_matched);
    }
    drop_replaced(&mut matches);
    Ok((matches, unmatched))
}

/// Removes the limits that another limit of the call replaces.
fn drop_replaced(matches: &mut Vec<Match<'_>>) {
    let specs = matches.iter().filter_map(|it| it.control.descriptors.as_ref());
    let replaced: Vec<_> = specs.flat_map(|spec| spec.replaces.iter()).collect();
    // Most calls end here.
    if replaced.is_empty() {
        return;
    }
    let is_kept = |it: &Match<'_>| {
        let name = it.control.descriptors.as_ref().and_then(|spec| spec.limit_name.as_ref());
        name.is_none_or(|name| !replaced.contains(&name))
    };
    let kept: Vec<_> = matches.iter().map(is_kept).collect();
    let mut kept = kept.into_iter();
    matches.retain(|_| kept.next().unwrap_or(true));
}

/// Returns the client of a descriptor; `None` if it is exempt.
fn key(control: &ThrottleControl, descriptor: &RateLimitDescriptor) -> Option<ClientKey> {
    let specs = control.descriptors.iter().flat_map(|spec| &spec.entries);
    let counted = specs.zip(&descriptor.entries).filter(|(spec, _)| spec.is_counted);
    let texts: Vec<_> = counted.map(|(_, entry)| entry.value.as_str()).collect();
    control.keys.of_texts(&texts)
}

/// Returns the hits of a descriptor: its own, else those of the call, of which 0 counts as 1.
fn hits(call: &RateLimitRequest, descriptor: &RateLimitDescriptor) -> Result<u32, Status> {
    if descriptor.is_negative_hits {
        return Err(Status::invalid_argument(
            "is_negative_hits is not supported: a refund needs the decision that it takes back",
        ));
    }
    let hits = match &descriptor.hits_addend {
        Some(own) => own.value,
        // An unset number is 0 on the wire.
        None => call.hits_addend.max(1).into(),
    };
    match u32::try_from(hits) {
        Ok(number) if hits <= MOST_HITS => Ok(number),
        _ => Err(Status::invalid_argument(format!("hits_addend {hits} is above {MOST_HITS}"))),
    }
}

/// Returns the rate that a descriptor asks for.
fn rate(limit: &RateLimitOverride) -> Result<Rate, Status> {
    let wrong = || Status::invalid_argument(format!("limit has the unknown unit {}", limit.unit));
    let period = period(limit.unit).ok_or_else(wrong)?;
    Rate::new(limit.requests_per_unit, period).map_err(|error| Status::invalid_argument(error.to_string()))
}
