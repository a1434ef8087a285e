//! The live page: a document, its script and its style.

use http::header::{CONTENT_SECURITY_POLICY, HeaderValue, X_CONTENT_TYPE_OPTIONS};

use crate::response::{GatewayResponse, typed};

/// The page loads its own script and style, and asks its own gateway, and nothing else. No name of a client
/// can become a part of it: text that is no part of these files is no script and no style.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
     require-trusted-types-for 'script'; trusted-types 'none'",
);

/// Returns the document.
pub(crate) fn document() -> GatewayResponse {
    file("text/html; charset=utf-8", include_str!("page.html"))
}

/// Returns the script.
pub(crate) fn script() -> GatewayResponse {
    file("text/javascript; charset=utf-8", include_str!("page.js"))
}

/// Returns the style.
pub(crate) fn style() -> GatewayResponse {
    file("text/css; charset=utf-8", include_str!("page.css"))
}

fn file(kind: &'static str, content: &'static str) -> GatewayResponse {
    let mut reply = as_declared(typed(kind, content));
    reply.headers_mut().insert(CONTENT_SECURITY_POLICY, POLICY);
    reply
}

/// Keeps browsers from taking a reply for another type than it declares, such as the name of a client for a
/// page.
pub(crate) fn as_declared(mut reply: GatewayResponse) -> GatewayResponse {
    reply.headers_mut().insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    reply
}
