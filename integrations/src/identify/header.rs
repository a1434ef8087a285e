//! By the value of a header, such as an API key, or of a cookie.

use http::HeaderName;
use http::header::COOKIE;

use super::{Identify, Identity, RequestParts};

/// Counts by the value of a header, the first if there are several. Requests without it are
/// [anonymous](super::Anonymous).
///
/// Whoever can write the header can choose a new name with every request, so use it behind something that
/// checks the value. A storage sees only a hash of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header(pub HeaderName);

impl Identify for Header {
    fn identify(&self, request: RequestParts<'_>) -> Identity {
        match request.headers.get(&self.0) {
            Some(value) => Identity::of(b'h', value.as_bytes()),
            None => Identity::anonymous(),
        }
    }
}

/// The same for a secret, such as an API key: nobody is told it, neither a storage nor people who read
/// [names](traffik_core::Key::name).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiKey(pub HeaderName);

impl Identify for ApiKey {
    fn identify(&self, request: RequestParts<'_>) -> Identity {
        match request.headers.get(&self.0) {
            Some(value) => Identity::of(b'k', value.as_bytes()),
            None => Identity::anonymous(),
        }
    }
}

/// Counts by the value of a cookie, the first if there are several, as a secret. Requests without it are
/// [anonymous](super::Anonymous).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cookie(pub String);

impl Identify for Cookie {
    fn identify(&self, request: RequestParts<'_>) -> Identity {
        // HTTP/2 may cut the header into several.
        let lines = request.headers.get_all(COOKIE).into_iter();
        let mut pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
        let value = pairs.find_map(|pair| {
            let pair = pair.trim_ascii();
            let at = pair.iter().position(|byte| *byte == b'=')?;
            let (name, value) = (pair.get(..at)?, pair.get(at + 1..)?);
            (name.trim_ascii() == self.0.as_bytes()).then(|| value.trim_ascii())
        });
        value.map_or_else(Identity::anonymous, |value| Identity::of(b'k', value))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_header_is_not_an_empty_one() {
        let header = Header(HeaderName::from_static("x-api-key"));
        let with = |value: &'static str| {
            let request = http::Request::builder().header("X-Api-Key", value).body(()).unwrap();
            header.identify((&request).into())
        };
        assert_eq!(header.identify((&http::Request::new(())).into()), Identity::anonymous());
        assert_ne!(with(""), Identity::anonymous());
        assert_ne!(with("a"), with("b"));
        assert_eq!(with("a"), with("a"));
    }

    #[test]
    fn a_cookie_is_found_among_others() {
        let of = |lines: &[&'static str]| {
            let request = lines.iter().fold(http::Request::builder(), |it, line| it.header("cookie", *line));
            Cookie("session".to_owned()).identify((&request.body(()).unwrap()).into())
        };
        let found = Identity::of(b'k', b"abc=");
        for lines in [
            &["session=abc="][..],
            &["a=b; session=abc=; c=d"],
            &["a=b;session=abc=; session=other"],
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
