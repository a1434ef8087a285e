//! By the value of a header, such as an API key.

use http::HeaderName;

use super::{Identify, Identity, RequestParts};

/// Counts by the value of a header, the first if there are several. Requests without it share one limit.
///
/// Whoever can write the header can choose a new name with every request, so use it behind something that
/// checks the value.
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
}
