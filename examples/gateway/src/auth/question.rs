//! The request that a proxy asks about, from the fields in which proxies describe it.

use std::net::SocketAddr;

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{Method, Request, Uri};
use traffik::web::{ClientAddress, ForwardedHeader, Networks, PeerAddress};

use crate::throttles::doors::AskedByProxy;

/// The fields of the method, the first that is present counts.
const METHOD: [&str; 2] = ["x-forwarded-method", "x-original-method"];
/// The fields of the path and query.
const TARGET: [&str; 3] = ["x-forwarded-uri", "x-original-uri", "x-original-url"];
/// The field of the host, unless the target names it.
const FORWARDED_HOST: &str = "x-forwarded-host";
/// The fields of the client's address.
const FORWARDED_FOR: &str = "x-forwarded-for";
const REAL_IP: &str = "x-real-ip";

/// Returns the request that a trusted proxy asks about.
///
/// Its peer is the client's address, so identities by peer and by forwarded address are the same client as on
/// the other listeners.
///
/// # Errors
///
/// Fails with the reason if a field is missing, malformed or repeated: a guess would count the wrong client or
/// miss a rule.
pub(crate) fn asked<B>(
    question: &Request<B>,
    proxy: SocketAddr,
    trusted: &Networks,
) -> Result<Request<()>, String> {
    let headers = question.headers();
    let method = named(headers, &METHOD, "the method")?;
    let method: Method = method.1.parse().map_err(|_| malformed(&method))?;
    let target = named(headers, &TARGET, "the path")?;
    let read: Uri = target.1.parse().map_err(|_| malformed(&target))?;
    let path = read.path_and_query().filter(|path| path.as_str().starts_with(['/', '*']));
    let path: PathAndQuery = path.cloned().ok_or_else(|| malformed(&target))?;
    let host = match read.authority() {
        Some(authority) => authority.clone(),
        None => {
            let host = named(headers, &[FORWARDED_HOST], "the host")?;
            host.1.parse::<Authority>().map_err(|_| malformed(&host))?
        }
    };
    let client = client(question, proxy, trusted)?;
    let mut request = Request::new(());
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from(path);
    *request.headers_mut() = headers.clone();
    let host = HeaderValue::from_str(host.as_str()).map_err(|error| error.to_string())?;
    request.headers_mut().insert(HOST, host);
    request.extensions_mut().insert(PeerAddress::new(client));
    request.extensions_mut().insert(AskedByProxy);
    Ok(request)
}

/// Returns the address of the client, from the field that the proxy writes.
fn client<B>(question: &Request<B>, proxy: SocketAddr, trusted: &Networks) -> Result<SocketAddr, String> {
    let headers = question.headers();
    let header = match (headers.contains_key(FORWARDED_FOR), headers.contains_key(REAL_IP)) {
        (true, _) => ForwardedHeader::XForwardedFor,
        (false, true) => ForwardedHeader::XRealIp,
        (false, false) => return Err(missing(&[FORWARDED_FOR, REAL_IP], "the client's address")),
    };
    let mut seen = Request::new(());
    *seen.headers_mut() = headers.clone();
    seen.extensions_mut().insert(PeerAddress::new(proxy));
    let address = ClientAddress::new(trusted.clone(), header).of((&seen).into());
    address.map(|address| (address, 0).into()).ok_or_else(|| "the client's address cannot be read".to_owned())
}

/// Returns the first of these fields that is present, with its name.
fn named<'a>(
    headers: &'a HeaderMap,
    names: &[&'static str],
    subject: &str,
) -> Result<(&'static str, &'a str), String> {
    let found = names.iter().find(|name| headers.contains_key(**name));
    let name = *found.ok_or_else(|| missing(names, subject))?;
    let mut lines = headers.get_all(HeaderName::from_static(name)).iter();
    match (lines.next().map(HeaderValue::to_str), lines.next()) {
        (Some(Ok(text)), None) => Ok((name, text)),
        (_, Some(_)) => Err(format!("{name} is sent twice")),
        _ => Err(format!("{name} holds bytes that are no text")),
    }
}

fn missing(names: &[&str], subject: &str) -> String {
    format!("the proxy does not send {subject}; let it write {}", names.join(" or "))
}

fn malformed((name, text): &(&str, &str)) -> String {
    format!("{name} cannot be read: {text:?}")
}
