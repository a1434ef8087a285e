//! The request that a proxy asks about, from the fields in which proxies describe it.

use std::net::{IpAddr, SocketAddr};

use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{Method, Request, Uri};
use traffik::web::{ClientAddress, ForwardedHeader, Networks, PeerAddress};

use crate::throttles::doors::AskedByProxy;

/// The fields of the method.
const METHOD: [&str; 2] = ["x-forwarded-method", "x-original-method"];
/// The fields of the path and query. The last one is a whole URL.
const TARGET: [&str; 3] = ["x-forwarded-uri", "x-original-uri", "x-original-url"];
/// The field of the host, unless the target names it.
const HOSTS: [&str; 1] = ["x-forwarded-host"];
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
/// Fails with the reason if a field is missing, malformed or repeated, or if two fields contradict each
/// other. A proxy may pass on fields that the client wrote: to prefer one field would let the client
/// choose.
pub(crate) fn asked<B>(
    question: Request<B>,
    proxy: SocketAddr,
    trusted: &Networks,
) -> Result<Request<()>, String> {
    let mut request = question.map(|_| ());
    // The functions that read the client's address find the proxy here, and then the client itself.
    request.extensions_mut().insert(PeerAddress::new(proxy));
    let headers = request.headers();
    let method = named(headers, &METHOD, "the method", |text| text.parse::<Method>().ok())?;
    let (path, authority) = named(headers, &TARGET, "the path", target)?;
    let host = match authority {
        Some(authority) => authority,
        None => named(headers, &HOSTS, "the host", |text| text.parse::<Authority>().ok())?,
    };
    let client = client(&request, trusted)?;
    *request.method_mut() = method;
    *request.uri_mut() = Uri::from(path);
    let host = HeaderValue::from_str(host.as_str()).map_err(|error| error.to_string())?;
    request.headers_mut().insert(HOST, host);
    request.extensions_mut().insert(PeerAddress::new((client, 0).into()));
    request.extensions_mut().insert(AskedByProxy);
    Ok(request)
}

/// Parses a path with its query, or a whole URL.
fn target(text: &str) -> Option<(PathAndQuery, Option<Authority>)> {
    let uri: Uri = text.parse().ok()?;
    let path = uri.path_and_query().filter(|path| path.as_str().starts_with(['/', '*']))?;
    Some((path.clone(), uri.authority().cloned()))
}

/// Returns the address of the client, from the fields that the proxy writes.
fn client(question: &Request<()>, trusted: &Networks) -> Result<IpAddr, String> {
    let read = |name: &str, header| {
        let is_sent = question.headers().contains_key(name);
        is_sent.then(|| ClientAddress::new(trusted.clone(), header).of(question.into())).flatten()
    };
    let forwarded = read(FORWARDED_FOR, ForwardedHeader::XForwardedFor);
    // Behind two proxies this is the address of the outer one.
    let real = read(REAL_IP, ForwardedHeader::XRealIp);
    match (forwarded, real.filter(|address| forwarded.is_none() || !trusted.contains(*address))) {
        (Some(one), Some(other)) if one != other => Err(format!(
            "{FORWARDED_FOR} and {REAL_IP} name different clients; let the proxy write both, or one"
        )),
        (Some(address), _) | (None, Some(address)) => Ok(address),
        (None, None) => Err(missing(&[FORWARDED_FOR, REAL_IP], "the client's address")),
    }
}

/// Returns the value of the fields of these names, which all that are present must agree on.
fn named<T: PartialEq>(
    headers: &HeaderMap,
    names: &[&'static str],
    subject: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<T, String> {
    let mut found: Option<(&str, T)> = None;
    for name in names {
        let mut lines = headers.get_all(HeaderName::from_static(name)).iter();
        let Some(line) = lines.next() else { continue };
        if lines.next().is_some() {
            return Err(format!("{name} is sent twice"));
        }
        let value = line.to_str().ok().and_then(&read);
        let value = value.ok_or_else(|| format!("{name} cannot be read: {line:?}"))?;
        match &found {
            Some((other, known)) if *known != value => {
                return Err(format!(
                    "{other} and {name} contradict each other; let the proxy write both, or one"
                ));
            }
            Some(_) => {}
            None => found = Some((name, value)),
        }
    }
    found.map(|(_, value)| value).ok_or_else(|| missing(names, subject))
}

fn missing(names: &[&str], subject: &str) -> String {
    format!("the proxy does not send {subject}; let it write {}", names.join(" or "))
}
