//! Addresses as proxies write them, and the choice of the client among them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Parses `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:80`. A zone is
/// ignored, and an IPv4 address mapped into IPv6 is returned as IPv4.
pub(super) fn address(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?.trim_matches([' ', '\t']);
    if let Some(rest) = text.strip_prefix('[') {
        let (address, rest) = rest.split_once(']')?;
        let in_order = rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port);
        return if in_order { ipv6(address) } else { None };
    }
    match text.split_once(':') {
        None => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        Some((address, port)) if !port.contains(':') => {
            if is_port(port) {
                address.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
            } else {
                None
            }
        }
        Some(_) => ipv6(text),
    }
}

fn ipv6(text: &str) -> Option<IpAddr> {
    let text = text.split_once('%').map_or(text, |(address, _zone)| address);
    text.parse::<Ipv6Addr>().ok().map(|address| IpAddr::V6(address).to_canonical())
}

/// Reports whether text is a port: a number, or a name after an underscore (RFC 7239, section 6).
fn is_port(text: &str) -> bool {
    let named = text.strip_prefix('_').filter(|name| !name.is_empty());
    match named {
        Some(name) => name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)),
        None => (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// The address that a request is counted for.
#[derive(Clone, Copy, Debug)]
pub(super) struct ForwardedClient {
    pub(super) address: IpAddr,
    /// Whether the address is certainly the client's: false if an entry was not an address.
    pub(super) is_known: bool,
}

/// Returns the client, given the hops that the headers list, the nearest first: the first address that is not
/// trusted, or the farthest if all are. If a hop is not an address, the hop that passed it on counts as the
/// client.
pub(super) fn client(
    peer: IpAddr,
    hops: impl Iterator<Item = Option<IpAddr>>,
    is_trusted: impl Fn(IpAddr) -> bool,
) -> ForwardedClient {
    let mut address = peer;
    for hop in hops {
        let Some(hop) = hop else { return ForwardedClient { address, is_known: false } };
        address = hop;
        if !is_trusted(hop) {
            break;
        }
    }
    ForwardedClient { address, is_known: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_every_form() {
        let of = |text: &str| address(text.as_bytes()).map(|address| address.to_string());
        for (text, expected) in [
            ("192.0.2.1", "192.0.2.1"),
            (" 192.0.2.1:8080\t", "192.0.2.1"),
            ("192.0.2.1:_port", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:DB8::1]:443", "2001:db8::1"),
            ("fe80::1%eth0", "fe80::1"),
            ("[fe80::1%25eth0]:1", "fe80::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("[::ffff:192.0.2.1]:5", "192.0.2.1"),
        ] {
            assert_eq!(of(text).as_deref(), Some(expected), "{text}");
        }
        for text in [
            "",
            "unknown",
            "_hidden",
            "192.0.2",
            "192.0.2.256",
            "192.0.2.1:",
            "192.0.2.1:123456",
            "192.0.2.1:a",
            "[192.0.2.1]",
            "[2001:db8::1",
            "2001:db8::1]",
            "[2001:db8::1]x",
            "[2001:db8::1]:",
            "1:2",
            "01.2.3.4",
            "::1 x",
        ] {
            assert_eq!(of(text), None, "{text}");
        }
    }
}
