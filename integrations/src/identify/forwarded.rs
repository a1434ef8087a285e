//! The header `Forwarded` of RFC 7239. It is read from its end, since a client's text is at its beginning.

use std::net::IpAddr;

use super::address::address;

/// The hops of one line, the nearest first. A hop without an address is `None` and ends the iteration.
///
/// The line is split from its end, so that an unclosed quote at its beginning cannot swallow what a proxy
/// has appended: the last element is the shortest end, from a comma on, that is an element.
///
/// A line takes time linear in its length, although a proxy may copy long text of a client into an element. A
/// reading starts after each comma, and stops at the first byte that shows that it is no element. At most two
/// readings pass over the same byte: one is within quotes there and the other is not, so the next comma ends
/// one of them.
pub(super) struct Hops<'a>(Option<&'a [u8]>);

impl<'a> Hops<'a> {
    pub(super) const fn of(line: &'a [u8]) -> Self {
        Self(Some(line))
    }
}

impl Iterator for Hops<'_> {
    type Item = Option<IpAddr>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = self.0.take()?;
            let mut end = line.len();
            let node = loop {
                // The end from this comma on, or the whole line.
                let at = line.get(..end).and_then(|line| line.iter().rposition(|byte| *byte == b','));
                let node = element_node(line.get(at.map_or(0, |at| at + 1)..).unwrap_or_default());
                match (node, at) {
                    (Some(node), _) => {
                        self.0 = at.and_then(|at| line.get(..at));
                        break node;
                    }
                    (None, Some(at)) => end = at,
                    (None, None) => break ForwardedNode::Other,
                }
            };
            match node {
                // RFC 9110, section 5.6.1: recipients ignore empty elements of a list.
                ForwardedNode::Empty => {}
                ForwardedNode::Address(address) => return Some(Some(address)),
                ForwardedNode::Other => {
                    self.0 = None;
                    return Some(None);
                }
            }
        }
    }
}

/// The node that an element names after `for=`.
enum ForwardedNode {
    /// An element without pairs.
    Empty,
    Address(IpAddr),
    /// Unknown, hidden, or missing.
    Other,
}

/// Reads one element; `None` if the bytes are not an element. Stops at the first byte that shows this.
fn element_node(element: &[u8]) -> Option<ForwardedNode> {
    let mut rest = after_blanks(element);
    if rest.is_empty() {
        return Some(ForwardedNode::Empty);
    }
    let mut named = None;
    let mut twice = false;
    loop {
        let (name, after) = split_while(rest, is_token);
        let (value, after) = value(after.strip_prefix(b"=").filter(|_| !name.is_empty())?)?;
        if name.eq_ignore_ascii_case(b"for") {
            twice = named.replace(value).is_some();
        }
        rest = after_blanks(after);
        if rest.is_empty() {
            break;
        }
        rest = after_blanks(rest.strip_prefix(b";")?);
        if rest.is_empty() {
            break;
        }
    }
    Some(
        named
            .filter(|_| !twice)
            .and_then(|node| node.address())
            .map_or(ForwardedNode::Other, ForwardedNode::Address),
    )
}

/// A value as written, without its quotes.
struct Value<'a> {
    bytes: &'a [u8],
    is_quoted: bool,
}

/// Reads a value, quoted or not, and returns the rest.
fn value(text: &[u8]) -> Option<(Value<'_>, &[u8])> {
    let Some(quoted) = text.strip_prefix(b"\"") else {
        // More lenient than RFC 7239: some proxies write addresses with a colon without quotes.
        let (bytes, rest) = split_while(text, |byte| byte.is_ascii_graphic() && !b"\",;=\\".contains(&byte));
        return if bytes.is_empty() { None } else { Some((Value { bytes, is_quoted: false }, rest)) };
    };
    let mut escaped = false;
    let end = quoted.iter().position(|byte| match byte {
        _ if escaped => {
            escaped = false;
            false
        }
        b'\\' => {
            escaped = true;
            false
        }
        byte => *byte == b'"',
    })?;
    Some((Value { bytes: quoted.get(..end)?, is_quoted: true }, quoted.get(end + 1..)?))
}

impl Value<'_> {
    /// Parses the value as an address.
    fn address(&self) -> Option<IpAddr> {
        /// The longest value in bytes: an address with zone and port, each character escaped, is shorter.
        const LONGEST: usize = 256;
        let bytes = Some(self.bytes).filter(|bytes| bytes.len() <= LONGEST)?;
        let (mut plain, mut length) = ([0; LONGEST], 0);
        let mut escaped = false;
        for byte in bytes {
            escaped = self.is_quoted && *byte == b'\\' && !escaped;
            if !escaped {
                *plain.get_mut(length)? = *byte;
                length += 1;
            }
        }
        address(plain.get(..length)?)
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Splits before the first byte that is not of this kind.
fn split_while(text: &[u8], is_so: impl Fn(u8) -> bool) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !is_so(*byte)).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, b""))
}

fn after_blanks(text: &[u8]) -> &[u8] {
    split_while(text, |byte| byte == b' ' || byte == b'\t').1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hops(line: &str) -> String {
        let hop = |hop: Option<IpAddr>| hop.map_or("?".to_owned(), |address| address.to_string());
        Hops::of(line.as_bytes()).map(hop).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn elements_are_read_from_the_end() {
        for (line, expected) in [
            ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60"),
            ("for=192.0.2.43, For=198.51.100.17", "198.51.100.17 192.0.2.43"),
            (r#"for="[2001:db8:cafe::17]:4711""#, "2001:db8:cafe::17"),
            (r#"for="\[2001:db8::1\]";x="a,b;c=\"d,""#, "2001:db8::1"),
            (r#"for=1.1.1.1;x="a,b,c", for=2.2.2.2"#, "2.2.2.2 1.1.1.1"),
            ("for=1.1.1.1, for=unknown, for=2.2.2.2", "2.2.2.2 ?"),
            ("for=1.1.1.1, for=_hidden", "?"),
            ("for=1.1.1.1, by=2.2.2.2", "?"),
            ("for=1.1.1.1;for=2.2.2.2", "?"),
            (" , for=1.1.1.1 ;, ,", "1.1.1.1"),
            ("", ""),
            // A quote that the client left open does not swallow the proxy's element.
            (r#"for="9.9.9.9, for=2.2.2.2"#, "2.2.2.2 ?"),
            (r#"for="9.9.9.9, for=2.2.2.2;by="a,b""#, "2.2.2.2 ?"),
            (r#"for=2.2.2.2;host="x, for=9.9.9.9""#, "2.2.2.2"),
            (r#"for=2.2.2.2;host="x,for=";by="_p""#, "2.2.2.2"),
            ("for=2.2.2.2 for=9.9.9.9", "?"),
            ("nonsense, for=2.2.2.2", "2.2.2.2 ?"),
        ] {
            assert_eq!(hops(line), expected, "{line}");
        }
    }

    #[test]
    fn however_long_an_element_is_it_is_read() {
        let long = "y".repeat(100_000);
        assert_eq!(hops(&format!("for=1.1.1.1;x={long}")), "1.1.1.1");
        assert_eq!(hops(&format!("for=1.1.1.1, for=2.2.2.2;host=\"{long}\"")), "2.2.2.2 1.1.1.1");
        let commas = "a\\\",".repeat(10_000);
        assert_eq!(hops(&format!("for=1.1.1.1;x=\"{commas}\", for=2.2.2.2")), "2.2.2.2 1.1.1.1");
        assert_eq!(hops(&format!("for=1.1.1.1, for={long}")), "?");
    }

    #[test]
    fn what_is_no_text_hides_nothing() {
        let hops = |line: &[u8]| Hops::of(line).collect::<Vec<_>>();
        let address = Some(IpAddr::from([2, 2, 2, 2]));
        assert_eq!(hops(b"\xe9, for=2.2.2.2"), [address, None]);
        assert_eq!(hops(b"for=2.2.2.2;host=\"\xe9\""), [address]);
    }
}
