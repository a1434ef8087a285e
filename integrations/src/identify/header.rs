//! The identifiers by a header, such as an API key, and by a cookie.

use std::fmt;

use http::StatusCode;
use http::header::{COOKIE, HeaderName, HeaderValue};

use super::{Identify, Identity, RequestParts};
use crate::http::request::Refusal;

/// Identifies clients by the value of a header.
///
/// Choose it if an outer layer or a proxy checks the value: a client that can write the header can choose a
/// new name with every request. For a secret choose [`ApiKey`].
///
/// ```
/// use traffik::web::{Header, Identify, Identity};
///
/// let by_user = Header::new("x-user".parse()?);
/// let of = |user: &str| {
///     let request = http::Request::builder().header("x-user", user).body(()).unwrap();
///     by_user.identify((&request).into())
/// };
/// assert_ne!(of("alice"), of("bob"));
/// assert_eq!(by_user.identify((&http::Request::new(())).into()), Identity::anonymous());
/// # Ok::<(), http::header::InvalidHeaderName>(())
/// ```
///
/// Requests without the header are [anonymous](super::Anonymous). Requests with several are refused with
/// 400, since the service behind may believe another value than the counted one. A storage sees only a hash
/// of the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header(HeaderName);

impl Header {
    /// Counts by the header of this name.
    #[must_use]
    pub const fn new(name: HeaderName) -> Self {
        Self(name)
    }
}

impl Identify for Header {
    fn identify(&self, request: RequestParts<'_>) -> Identity {
        of_header(b'h', request, &self.0)
    }
}

/// Identifies clients by a secret in a header, such as an API key.
///
/// Choose it for values that nobody may read: storages and [names](traffik_core::Key::name) in logs contain
/// only a part of a hash. Missing and repeated headers are treated as by [`Header`].
///
/// ```
/// use traffik::{TokenBucket, rate};
/// use traffik::web::{ApiKey, Throttle};
///
/// let throttle = Throttle::in_memory("api", TokenBucket::new(rate!("100/min")))
///     .identifier(ApiKey::new("x-api-key".parse()?))
///     .build()?;
/// # let _ = throttle;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey(HeaderName);

impl ApiKey {
    /// Counts by the secret in the header of this name.
    #[must_use]
    pub const fn new(name: HeaderName) -> Self {
        Self(name)
    }
}

impl Identify for ApiKey {
    fn identify(&self, request: RequestParts<'_>) -> Identity {
        of_header(b'k', request, &self.0)
    }
}

/// Identifies clients by the value of a cookie, as a secret.
///
/// Choose it for session cookies. Requests without the cookie are [anonymous](super::Anonymous). Requests
/// with several cookies of this name are refused with 400, so give cookies of different paths different
/// names.
///
/// ```
/// use traffik::web::{Cookie, Identify, Identity};
///
/// let by_session = Cookie::new("session");
/// let request = http::Request::builder().header("cookie", "theme=dark; session=abc").body(())?;
/// assert_ne!(by_session.identify((&request).into()), Identity::anonymous());
/// # Ok::<(), http::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie(String);

impl Cookie {
    /// Counts by the cookie of this name. Names are compared with their case.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }
}

impl Identify for Cookie {
    fn identify(&self, request: RequestParts<'_>) -> Identity {
        // HTTP/2 may split the header into several lines.
        let lines = request.headers.get_all(COOKIE).into_iter();
        let pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
        let values = pairs.filter_map(|pair| {
            let pair = pair.trim_ascii();
            let at = pair.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (pair.get(..at)?, pair.get(at + 1..)?);
            (name.trim_ascii() == self.0.as_bytes()).then(|| value.trim_ascii())
        });
        single(b'k', values, &format_args!("the cookie {:?}", self.0))
    }
}

/// Returns the client of a header.
fn of_header(way: u8, request: RequestParts<'_>, name: &HeaderName) -> Identity {
    let values = request.headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
    single(way, values, &format_args!("the header {name}"))
}

/// Returns the client of the only value; refuses several. `what` names their place in the refusal.
fn single<'a>(way: u8, mut values: impl Iterator<Item = &'a [u8]>, what: &dyn fmt::Display) -> Identity {
    match (values.next(), values.next()) {
        (None, _) => Identity::anonymous(),
        (Some(value), None) => Identity::of(way, value),
        _ => {
            let detail = format!("{what} is sent more than once; send it with one value");
            Identity::Refused(Refusal::new(StatusCode::BAD_REQUEST, detail))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_header_is_not_an_empty_one() {
        let header = Header::new(HeaderName::from_static("x-api-key"));
        let with = |value: &'static str| {
            let request = http::Request::builder().header("X-Api-Key", value).body(()).unwrap();
            header.identify((&request).into())
        };
        assert_eq!(header.identify((&http::Request::new(())).into()), Identity::anonymous());
        assert_ne!(with(""), Identity::anonymous());
        assert_ne!(with("a"), with("b"));
        assert_eq!(with("a"), with("a"));
    }

    /// Otherwise a decoy could be counted while the service behind uses the other value.
    #[test]
    fn a_value_sent_twice_is_refused() {
        let name = || HeaderName::from_static("x-api-key");
        let identifiers: [(Box<dyn Identify>, &str, [&str; 2]); 4] = [
            (Box::new(Header::new(name())), "x-api-key", ["decoy", "real"]),
            (Box::new(ApiKey::new(name())), "x-api-key", ["decoy", "real"]),
            (Box::new(Cookie::new("session")), "cookie", ["session=decoy", "session=real"]),
            (Box::new(Cookie::new("session")), "cookie", ["a=b", "session=decoy; session=real"]),
        ];
        for (identifier, header, values) in identifiers {
            let request = values.iter().fold(http::Request::builder(), |it, value| it.header(header, *value));
            let Identity::Refused(refusal) = identifier.identify((&request.body(()).unwrap()).into()) else {
                panic!("{values:?}")
            };
            assert_eq!(refusal.status, StatusCode::BAD_REQUEST);
            assert!(refusal.detail.ends_with("is sent more than once; send it with one value"), "{refusal}");
        }
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let of = |lines: &[&'static str]| {
            let request = lines.iter().fold(http::Request::builder(), |it, line| it.header("cookie", *line));
            Cookie::new("session").identify((&request.body(()).unwrap()).into())
        };
        let found = Identity::of(b'k', b"abc=");
        for lines in [
            &["session=abc="][..],
            &["a=b; session=abc=; c=d"],
            &["a=b;session=abc=; sessions=other"],
            &["a=b", "c=d; session=abc="],
            &["; =x; session = abc= "],
        ] {
            assert_eq!(of(lines), found, "{lines:?}");
        }
        for lines in [&[][..], &[""], &["sessions=abc="], &["xsession=abc="], &["session"], &["Session=abc="]]
        {
            assert_eq!(of(lines), Identity::anonymous(), "{lines:?}");
        }
    }
}
