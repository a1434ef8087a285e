//! Addresses and names of servers. Keys are spread by a server's name.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use crate::util::namespace;

/// The port of an address that names none.
const PORT: &str = "11211";

/// One server of a storage's list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Address {
    /// The explicit name, or the canonical address.
    pub(super) name: Arc<str>,
    /// The address in canonical form, by which two spellings of one server are recognized.
    pub(super) canonical: String,
    /// The address as it was written, with a port.
    pub(super) dialed: String,
}

impl Address {
    /// Reads `HOST`, `HOST:PORT` or `NAME=HOST:PORT`.
    ///
    /// # Errors
    ///
    /// Fails with what is wrong and what to write.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (name, address) = match text.split_once('=') {
            Some((name, address)) => (Some(name), address),
            None => (None, text),
        };
        let dialed = with_port(address);
        let canonical = canonical(&dialed)?;
        if let Some(name) = name
            && namespace::check(name).is_err()
        {
            return Err(format!(
                "{name:?} is not a name for a server; use 1 to 64 letters, digits, or . : _ - @ /"
            ));
        }
        Ok(Self { name: name.unwrap_or(&canonical).into(), canonical, dialed })
    }

    /// Returns the server's name for failures and warnings.
    pub(super) fn title(&self) -> String {
        if *self.name == *self.canonical {
            return format!("memcached at {}", self.dialed);
        }
        format!("memcached {} at {}", self.name, self.dialed)
    }
}

fn with_port(address: &str) -> String {
    let is_bracketed = address.starts_with('[');
    match address.matches(':').count() {
        // Several colons without brackets are an IPv6 address without a port.
        2.. if !is_bracketed => format!("[{address}]:{PORT}"),
        1.. if !address.ends_with(']') => address.to_owned(),
        _ => format!("{address}:{PORT}"),
    }
}

/// Returns the canonical form of an address with a port: all spellings of one address have the same.
fn canonical(address: &str) -> Result<String, String> {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, PORT));
    let Some(port) = port.parse::<u16>().ok().filter(|port| *port > 0) else {
        return Err(format!("{address}: {port:?} is not a port; write 1 to 65535"));
    };
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(SocketAddr::new(ip.to_canonical(), port).to_string());
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let is_odd = |it: char| it.is_whitespace() || it.is_control() || ['=', ','].contains(&it);
    match &*host {
        odd if odd.is_empty() || odd.contains(is_odd) => {
            Err(format!("{address:?} names no host; write HOST:PORT"))
        }
        "localhost" => Ok(format!("{}:{port}", Ipv4Addr::LOCALHOST)),
        host => Ok(format!("{host}:{port}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_added_where_there_is_none() {
        for (text, meant) in [
            ("cache", "cache:11211"),
            ("cache:7", "cache:7"),
            ("10.0.0.7", "10.0.0.7:11211"),
            ("::1", "[::1]:11211"),
            ("[::1]", "[::1]:11211"),
            ("[::1]:7", "[::1]:7"),
        ] {
            let address = Address::parse(text).unwrap();
            assert_eq!((&*address.name, &*address.dialed), (meant, meant));
        }
    }

    #[test]
    fn spellings_of_one_server_have_one_name() {
        for (text, name) in [
            ("localhost", "127.0.0.1:11211"),
            ("LocalHost.:11211", "127.0.0.1:11211"),
            ("Cache.Internal.:7", "cache.internal:7"),
            ("0:0::1", "[::1]:11211"),
            ("[2001:DB8:0::7]:011211", "[2001:db8::7]:11211"),
            ("[::ffff:10.0.0.7]:7", "10.0.0.7:7"),
            ("::FFFF:a00:7", "10.0.0.7:11211"),
            ("a=CACHE", "a"),
        ] {
            assert_eq!(&*Address::parse(text).unwrap().name, name, "{text}");
        }
        assert_eq!(Address::parse("cache-a=10.0.0.7:1").unwrap().title(), "memcached cache-a at 10.0.0.7:1");
        assert_eq!(Address::parse("localhost:1").unwrap().title(), "memcached at localhost:1");
    }

    #[test]
    fn an_address_that_is_none_is_refused_with_what_to_write() {
        for (wrong, words) in [
            ("h:99999", "1 to 65535"),
            ("h:0", "1 to 65535"),
            ("h:", "1 to 65535"),
            (":7", "HOST:PORT"),
            ("a b=h", "1 to 64 letters"),
            ("=h", "1 to 64 letters"),
            ("a=b=h", "HOST:PORT"),
            ("a b", "HOST:PORT"),
        ] {
            let message = Address::parse(wrong).unwrap_err();
            assert!(message.contains(words), "{wrong}: {message}");
        }
    }
}
