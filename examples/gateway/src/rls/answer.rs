//! The answer to a call: the status of each descriptor, and the headers of the response.

use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::HeaderValue;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{
    Code, DescriptorStatus, RateLimit,
};
use envoy_types::pb::google::protobuf;
use http::HeaderMap;
use http::header::RETRY_AFTER;
use traffik::Decision;
use traffik::web::{HeaderFormat, PolicyDecision};

use crate::rls::matches::Match;
use crate::rls::units::unit;

/// The figures of one limit in a match.
pub(super) struct LimitFigures<'a> {
    pub(super) of: usize,
    pub(super) policy: &'a str,
    pub(super) decision: Decision,
    /// Whether the limit denies the call.
    pub(super) denies: bool,
}

/// Returns the status of each descriptor: that of its tightest limit. Without figures it is OK.
pub(super) fn statuses(
    descriptors: usize,
    matches: &[Match<'_>],
    figures: &[LimitFigures<'_>],
) -> Vec<DescriptorStatus> {
    let plain = DescriptorStatus { code: Code::Ok.into(), ..DescriptorStatus::default() };
    let mut statuses = vec![plain; descriptors];
    let mut tightest: Vec<Option<&LimitFigures<'_>>> = vec![None; descriptors];
    // A denial comes first, and a limit before none; then the fewest hits left.
    let rank = |it: &LimitFigures<'_>| (!it.denies, it.decision.is_unlimited(), it.decision.remaining());
    for it in figures {
        let place = matches.get(it.of).and_then(|found| tightest.get_mut(found.descriptor));
        if let Some(place) = place.filter(|place| place.is_none_or(|known| rank(it) < rank(known))) {
            *place = Some(it);
        }
    }
    for (status, it) in statuses.iter_mut().zip(tightest) {
        let Some((it, found)) = it.and_then(|it| Some((it, matches.get(it.of)?))) else { continue };
        if it.denies {
            status.code = Code::OverLimit.into();
        }
        if it.decision.is_unlimited() {
            // The protocol has no word for a limit without end.
            status.limit_remaining = u32::MAX;
            continue;
        }
        status.current_limit = Some(limit(it, found));
        let most = status.current_limit.as_ref().map_or(0, |limit| limit.requests_per_unit);
        status.limit_remaining = it.decision.remaining().min(most);
        let reset = it.decision.reset_after();
        status.duration_until_reset = Some(protobuf::Duration {
            seconds: i64::try_from(reset.as_secs()).unwrap_or(i64::MAX),
            nanos: i32::try_from(reset.subsec_nanos()).unwrap_or(0),
        });
    }
    statuses
}

/// Describes a limit. A period that the protocol has no unit for is unknown.
fn limit(figures: &LimitFigures<'_>, found: &Match<'_>) -> RateLimit {
    let decision = &figures.decision;
    let named = found.control.descriptors.as_ref().and_then(|spec| spec.limit_name.clone());
    let (requests, period) = match decision.rate() {
        Some(rate) => (rate.limit(), rate.period()),
        None => (decision.limit(), decision.window()),
    };
    RateLimit {
        name: named.unwrap_or_else(|| figures.policy.to_owned()),
        requests_per_unit: requests,
        unit: unit(period).into(),
    }
}

/// Returns the headers of the response: the limits in the dialect of their throttles, and `Retry-After`.
pub(super) fn headers(
    matches: &[Match<'_>],
    figures: &[LimitFigures<'_>],
    retry_after: Option<Duration>,
) -> Vec<HeaderValue> {
    let mut headers = HeaderMap::new();
    if let Some(wait) = retry_after {
        // ceil(wait / 1 s), and at least 1.
        let seconds = wait.as_secs().saturating_add(u64::from(wait.subsec_nanos() > 0)).max(1);
        headers.insert(RETRY_AFTER, seconds.into());
    }
    let format = |it: &LimitFigures<'_>| matches.get(it.of).map(|found| found.control.charge.headers);
    let enforced = |it: &LimitFigures<'_>| matches.get(it.of).is_some_and(|it| !it.control.charge.is_shadow);
    let mut written = Vec::new();
    for format_now in figures.iter().filter_map(format) {
        if format_now == HeaderFormat::None || written.contains(&format_now) {
            continue;
        }
        written.push(format_now);
        // Charges of one client were added up, so each has the same figures; they are shown once.
        let mut shown: Vec<PolicyDecision<'_>> = Vec::new();
        for it in figures.iter().filter(|it| format(it) == Some(format_now) && enforced(it)) {
            if !shown.iter().any(|known| known.name == it.policy && known.decision == it.decision) {
                shown.push(PolicyDecision { name: it.policy, decision: it.decision });
            }
        }
        format_now.write(&mut shown.into_iter().collect(), &mut headers);
    }
    let text = |value: &http::HeaderValue| value.to_str().unwrap_or_default().to_owned();
    let header = |(name, value): (&http::HeaderName, &http::HeaderValue)| HeaderValue {
        key: name.to_string(),
        value: text(value),
        ..HeaderValue::default()
    };
    headers.iter().map(header).collect()
}
