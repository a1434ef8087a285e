//! The rate-limit headers, in the formats in use.

use std::fmt::{self, Write};
use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use smallvec::SmallVec;
use traffik_core::Origin;

use super::merge;

mod policy_decision;

/// The format of the headers that show a client its limits.
///
/// Choose [`Draft10`](Self::Draft10) for new clients, and another one for clients that already read it.
///
/// ```
/// use traffik::{TokenBucket, rate};
/// use traffik::web::{HeaderFormat, Throttle};
///
/// let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("100/min")))
///     .headers(HeaderFormat::Draft10) // RateLimit-Policy: "api";q=100;w=60
///     .build()?;
/// # let _ = throttle;
/// assert_eq!(HeaderFormat::default(), HeaderFormat::None);
/// # Ok::<(), traffik::web::ThrottleError>(())
/// ```
///
/// In every format the limit is that of the [rate](traffik_core::Decision::rate), and `remaining` is never
/// above it. The burst may be another number. Times are whole seconds, rounded up; a reset is the time until
/// nothing is in use. A denial carries `Retry-After` unless waiting does not help. All formats but
/// [`None`](Self::None) also send `X-RateLimit-Source`, with [a word](Origin::name) for the origin, if a
/// cache, a fallback or a failure decided or the client is exempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HeaderFormat {
    /// No headers, except `Retry-After` on denials.
    #[default]
    None,
    /// `RateLimit-Policy` and `RateLimit` of draft-ietf-httpapi-ratelimit-headers-10, as structured fields
    /// of RFC 9651.
    ///
    /// They list all policies, the tightest first: `q` in `w` seconds, of which `r` remains, and more in `t`
    /// seconds ([`more_after`](traffik_core::Decision::more_after)). `t` is absent if no more becomes
    /// available, if more is available already, and if `Retry-After` is earlier.
    Draft10,
    /// `RateLimit: limit=…, remaining=…, reset=…` and `RateLimit-Policy: …;w=…` of draft 07, for the
    /// tightest limit.
    Draft07,
    /// `RateLimit-Limit`, `RateLimit-Remaining`, `RateLimit-Reset` of drafts up to 06, for the tightest
    /// limit.
    Draft06,
    /// `X-RateLimit-Limit`, `X-RateLimit-Remaining`, `X-RateLimit-Reset` (seconds from now), for the
    /// tightest limit.
    XRateLimit,
}

// A type of signatures that users do not name.
#[doc(hidden)]
pub use policy_decision::PolicyDecision;

/// The limits of one response.
pub type Policies<'a> = SmallVec<[PolicyDecision<'a>; 4]>;

impl HeaderFormat {
    /// Adds the headers of this format for these limits, without unlimited ones.
    ///
    /// Headers may hold limits that the service or another layer has written. A format with a list adds to
    /// them, the tightest first; a format with one limit keeps the tighter one.
    pub fn write(self, limits: &mut Policies<'_>, headers: &mut HeaderMap) {
        arrange(limits);
        self.put(limits, headers);
    }

    /// Adds the headers of this format for limits that are [arranged](arrange).
    pub(crate) fn put(self, limits: &Policies<'_>, headers: &mut HeaderMap) {
        if self == Self::None {
            return;
        }
        let Some(tightest) = limits.first() else { return };
        self.write_origin(
            limits.iter().map(|limit| limit.decision.origin()).max().unwrap_or_default(),
            headers,
        );
        let (limit, remaining) = (tightest.quota(), tightest.remaining());
        let reset = seconds(tightest.decision.reset_after());
        match self {
            Self::None => {}
            Self::Draft10 => {
                let (mut policies, mut rates) = (String::new(), String::new());
                let retry_after = retry_after(headers);
                for policy in limits {
                    let window = seconds(policy.decision.window());
                    item(&mut policies, policy.name, 'q', policy.quota(), 'w', window);
                    let more = seconds(policy.more_after().unwrap_or_default());
                    // A `t` after `Retry-After` would contradict it. 0 leaves `t` out.
                    let more = if more > retry_after { 0 } else { more };
                    item(&mut rates, policy.name, 'r', policy.remaining(), 't', more);
                }
                merge::list(headers, HeaderName::from_static("ratelimit-policy"), policies);
                merge::list(headers, HeaderName::from_static("ratelimit"), rates);
            }
            Self::Draft07 if merge::is_tighter(headers, "ratelimit", "remaining=", remaining) => {}
            Self::Draft07 => {
                let figures = format!("limit={limit}, remaining={remaining}, reset={reset}");
                set(headers, HeaderName::from_static("ratelimit"), figures);
                let policy = format!("{limit};w={}", seconds(tightest.decision.window()));
                set(headers, HeaderName::from_static("ratelimit-policy"), policy);
            }
            Self::Draft06 | Self::XRateLimit => {
                let [a, b, c] = match self {
                    Self::Draft06 => ["ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"],
                    _ => ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"],
                };
                if !merge::is_tighter(headers, b, "", remaining) {
                    headers.insert(HeaderName::from_static(a), limit.into());
                    headers.insert(HeaderName::from_static(b), remaining.into());
                    headers.insert(HeaderName::from_static(c), reset.into());
                }
            }
        }
    }
}

impl HeaderFormat {
    /// Writes the origin of a decision if that is not the store. Writes nothing for a request that passes by
    /// a rule, because the throttle is disabled, or because it is not enforced.
    pub(crate) fn write_origin(self, origin: Origin, headers: &mut HeaderMap) {
        match origin {
            Origin::Store | Origin::Bypassed | Origin::Disabled | Origin::Shadow => {}
            _ if self == Self::None => {}
            shown => {
                let name = HeaderName::from_static("x-ratelimit-source");
                headers.insert(name, HeaderValue::from_static(shown.name()));
            }
        }
    }
}

/// Sorts limits, the tightest first, and removes unlimited ones.
pub(crate) fn arrange(limits: &mut Policies<'_>) {
    limits.retain(|limit| !limit.decision.is_unlimited());
    if limits.len() > 1 {
        limits.sort_by_key(|limit| (limit.decision.is_allowed(), limit.remaining(), limit.quota()));
    }
}

/// Appends an item of a structured field with a number and, unless it is zero, a time.
fn item(list: &mut String, name: &str, key: char, number: u32, time_key: char, seconds: u64) {
    let comma = if list.is_empty() { "" } else { ", " };
    // Writing to a string cannot fail.
    let _ = write!(list, "{comma}\"{}\";{key}={number}", EscapedName(name));
    if seconds > 0 {
        let _ = write!(list, ";{time_key}={seconds}");
    }
}

/// Returns the seconds of `Retry-After`, the bound of `t`. Without the header there is no bound (`u64::MAX`);
/// a date counts as 0.
fn retry_after(headers: &HeaderMap) -> u64 {
    // Not `get`: it has one caller, on the path of each denial, and a second one would keep it from being
    // inlined there.
    let Some(value) = headers.get_all(RETRY_AFTER).iter().next() else { return u64::MAX };
    value.to_str().ok().and_then(|seconds| seconds.parse().ok()).unwrap_or(0)
}

/// A name within a string of a structured field (RFC 9651, section 3.3.3), which holds only ASCII. Other
/// bytes are percent-encoded.
struct EscapedName<'a>(&'a str);

impl fmt::Display for EscapedName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |byte: u8| matches!(byte, b' '..=b'~') && !matches!(byte, b'"' | b'\\');
        if self.0.bytes().all(is_plain) {
            return f.write_str(self.0);
        }
        for byte in self.0.bytes() {
            match byte {
                b'"' | b'\\' => write!(f, "\\{}", char::from(byte))?,
                b' '..=b'~' => f.write_char(char::from(byte))?,
                _ => write!(f, "%{byte:02X}")?,
            }
        }
        Ok(())
    }
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: String) {
    // `build` checks the names, and the rest is digits and punctuation.
    if let Ok(value) = HeaderValue::try_from(value) {
        headers.insert(name, value);
    }
}

/// Returns whole seconds, rounded up, at most the fifteen digits of a structured field's integer.
#[must_use]
pub fn seconds(time: Duration) -> u64 {
    // ceil(time / 1 s): one more if there is a fraction.
    let seconds = time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0));
    seconds.min(999_999_999_999_999)
}

/// Returns whole milliseconds, rounded up.
pub(crate) const fn millis(time: Duration) -> u64 {
    // ceil(time / 1 ms) = secs * 1000 + ceil(nanos / 10^6)
    time.as_secs().saturating_mul(1_000).saturating_add(time.subsec_nanos().div_ceil(1_000_000) as u64)
}

/// Returns a number as the value of a header. A number below 100, such as most waits, takes no allocation.
pub(crate) fn number(number: u64) -> HeaderValue {
    const PAIRS: &str = "\
        0001020304050607080910111213141516171819202122232425262728293031323334353637383940414243444546474849\
        5051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";
    // The two digits of `number` are at index 2 * number.
    let pair = usize::try_from(number).ok().and_then(|number| {
        let at = number.checked_mul(2)?;
        PAIRS.get(at..at.checked_add(2)?)
    });
    match pair {
        Some(pair) => HeaderValue::from_static(pair.strip_prefix('0').unwrap_or(pair)),
        None => number.into(),
    }
}

#[cfg(test)]
mod tests {
    use traffik_core::Decision;

    use super::*;

    fn written(format: HeaderFormat) -> Vec<(String, String)> {
        let daily = Decision::deny(1000, 0, Duration::from_millis(1), Duration::from_millis(59_001))
            .with_window(Duration::from_secs(86_400));
        let burst = Decision::allow(10, 9, Duration::ZERO).with_window(Duration::from_millis(1_500));
        let limits = [("burst", burst), ("free", Decision::unlimited()), ("daily", daily)];
        let mut limits =
            limits.into_iter().map(|(name, decision)| PolicyDecision { name, decision }).collect();
        let mut headers = HeaderMap::new();
        format.write(&mut limits, &mut headers);
        headers.iter().map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect()
    }

    fn pairs<const N: usize>(pairs: [(&str, &str); N]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn every_dialect() {
        assert_eq!(written(HeaderFormat::None), []);
        assert_eq!(
            written(HeaderFormat::Draft10),
            pairs([
                ("ratelimit-policy", r#""daily";q=1000;w=86400, "burst";q=10;w=2"#),
                ("ratelimit", r#""daily";r=0;t=1, "burst";r=9"#),
            ])
        );
        assert_eq!(
            written(HeaderFormat::Draft07),
            pairs([("ratelimit", "limit=1000, remaining=0, reset=60"), ("ratelimit-policy", "1000;w=86400")])
        );
        assert_eq!(
            written(HeaderFormat::Draft06),
            pairs([("ratelimit-limit", "1000"), ("ratelimit-remaining", "0"), ("ratelimit-reset", "60")])
        );
        assert_eq!(
            written(HeaderFormat::XRateLimit),
            pairs([
                ("x-ratelimit-limit", "1000"),
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", "60")
            ])
        );
    }

    #[test]
    fn a_number_is_written_in_digits() {
        for figure in (0..1_000).chain([u64::MAX]) {
            assert_eq!(number(figure), figure.to_string());
        }
    }

    #[test]
    fn seconds_round_up_and_fit_a_structured_field() {
        assert_eq!(seconds(Duration::from_nanos(1)), 1);
        assert_eq!(seconds(Duration::from_secs(2)), 2);
        assert_eq!(seconds(Duration::MAX), 999_999_999_999_999);
    }
}
