//! By the value of a header, such as an API key, or of a cookie.

use std::fmt;

use http::StatusCode;
use http::header::{COOKIE, HeaderName, HeaderValue};

use super::{Identify, Identity, RequestParts};
use crate::http::request::Refusal;

/// Counts by the value of a header. Requests without it are [anonymous](super::Anonymous); those with several
/// are refused with 400, since the service behind may believe another one than was counted.
///
/// Whoever can write the header can choose a new name with every request, so use it behind something that
/// checks the value. A storage sees only a hash of it.
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

/// The same for a secret, such as an API key: nobody is told it, neither a storage nor people who read
/// [names](traffik_core::Key::name).
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

/// Counts by the value of a cookie, as a secret. Requests without it are [anonymous](super::Anonymous); those
/// with several of this name are refused with 400, so give cookies that differ by path names that differ.
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
        // HTTP/2 may cut the header into several.
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

fn of_header(way: u8, request: RequestParts<'_>, name: &HeaderName) -> Identity {
    let values = request.headers.get_all(name).into_iter().map(HeaderValue::as_bytes);
    single(way, values, &format_args!("the header {name}"))
}

/// The client of the only value that `what` has in a request.
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

    /// The decoy would be counted, and the other one believed by the service behind.
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
