//! The parts of a request that keys and rules compare, in one form for all spellings.

use http::header::HOST;
use percent_encoding::percent_decode_str;
use traffik::web::RequestParts;

/// Returns the host that a request is for, folded; `None` if it names none.
///
/// # Errors
///
/// Fails if the request names several hosts, with a text for the client.
pub(crate) fn host(request: RequestParts<'_>) -> Result<Option<String>, String> {
    // The target takes precedence over the header (RFC 9112, section 3.2.2).
    if let Some(host) = request.uri.host() {
        return Ok(Some(folded_host(host)));
    }
    let mut hosts = request.headers.get_all(HOST).iter().map(|it| String::from_utf8_lossy(it.as_bytes()));
    match (hosts.next(), hosts.next()) {
        (None, _) => Ok(None),
        (Some(host), None) => Ok(Some(folded_host(&host)).filter(|host| !host.is_empty())),
        _ => Err("the header host is sent more than once; send it with one value".to_owned()),
    }
}

/// Returns a host in small letters, without its port and the dot at its end.
pub(crate) fn folded_host(text: &str) -> String {
    let text = text.trim();
    // The colons of an IPv6 address stand in brackets.
    let end = match text.find(']') {
        Some(bracket) => bracket + 1,
        None => text.find(':').unwrap_or(text.len()),
    };
    let host = text.get(..end).unwrap_or(text);
    host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase()
}

/// Yields the parameters of the query, decoded.
pub(crate) fn parameters<'a>(request: RequestParts<'a>) -> impl Iterator<Item = (String, String)> + use<'a> {
    let pairs = request.uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (form_decoded(name), form_decoded(value))
    })
}

/// Decodes a name or a value of a form: a plus is a space.
fn form_decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}
