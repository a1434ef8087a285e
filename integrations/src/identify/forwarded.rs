//! The header `Forwarded` of RFC 7239, read from its end: what a client wrote stands at the beginning.

use std::borrow::Cow;
use std::net::IpAddr;

use super::address::address;

/// The most bytes of one element that are read: more than any proxy writes.
const LONGEST: usize = 512;
/// The most commas within one element.
const COMMAS: usize = 8;

/// The hops of one line, the nearest first; `None` for one that names no address, where the list ends.
///
/// The line is taken apart from its end, so that an unclosed quote at its beginning cannot swallow what a proxy has
/// appended: the last element is the shortest end, from a comma on, that is an element by itself.
pub(super) struct Hops<'a>(Option<&'a str>);

impl<'a> Hops<'a> {
    pub(super) const fn of(line: &'a str) -> Self {
        Self(Some(line))
    }
}

impl Iterator for Hops<'_> {
    type Item = Option<IpAddr>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let line = self.0?;
            let mut commas = line.rmatch_indices(',').map(|(at, _)| at);
            let mut found = None;
            for _ in 0..=COMMAS {
                // The end from this comma on, or the whole line.
                let at = commas.next();
                let element = match at {
                    Some(at) => line.get(at + 1..).unwrap_or_default(),
                    None => line,
                };
                if element.len() > LONGEST {
                    break;
                }
                if let Some(node) = element_node(element) {
                    found = Some((at, node));
                    break;
                }
                if at.is_none() {
                    break;
                }
            }
            let Some((at, node)) = found else {
                self.0 = None;
                return Some(None);
            };
            self.0 = at.and_then(|at| line.get(..at));
            match node {
                // An empty element is none at all.
                Node::Empty => {}
                Node::Address(address) => return Some(Some(address)),
                Node::Other => {
                    self.0 = None;
                    return Some(None);
                }
            }
        }
    }
}

/// Whom an element says a request was for.
enum Node {
    /// It has no pairs.
    Empty,
    Address(IpAddr),
    /// Unknown, hidden, or not said.
    Other,
}

/// Reads one element; `None` if it is none.
fn element_node(element: &str) -> Option<Node> {
    let mut rest = trimmed(element);
    if rest.is_empty() {
        return Some(Node::Empty);
    }
    let mut named: Option<Cow<'_, str>> = None;
    let mut twice = false;
    loop {
        let (name, after) = rest.split_once('=')?;
        if name.is_empty() || !name.bytes().all(is_token) {
            return None;
        }
        let (value, after) = value(after)?;
        if name.eq_ignore_ascii_case("for") {
            twice = named.replace(value).is_some();
        }
        rest = trimmed(after);
        if rest.is_empty() {
            break;
        }
        rest = trimmed(rest.strip_prefix(';')?);
        if rest.is_empty() {
            break;
        }
    }
    match named.filter(|_| !twice).and_then(|node| address(&node)) {
        Some(address) => Some(Node::Address(address)),
        None => Some(Node::Other),
    }
}

/// A value, quoted or not, and what comes after it.
fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        // Stricter than many a proxy would be: these write addresses with a colon without quotes.
        let plain = |character: char| character.is_ascii_graphic() && !"\",;=\\".contains(character);
        let end = text.find(|character| !plain(character)).unwrap_or(text.len());
        let (value, rest) = text.split_at_checked(end)?;
        return if value.is_empty() { None } else { Some((value.into(), rest)) };
    };
    let end = quoted.find(['"', '\\'])?;
    if quoted.get(end..)?.starts_with('"') {
        return Some((quoted.get(..end)?.into(), quoted.get(end + 1..)?));
    }
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Some((value.into(), quoted.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn trimmed(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hops(line: &str) -> String {
        let hop = |hop: Option<IpAddr>| hop.map_or("?".to_owned(), |address| address.to_string());
        Hops::of(line).map(hop).collect::<Vec<_>>().join(" ")
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
            // What the client left open does not swallow what the proxy has said.
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
    fn what_is_longer_than_any_proxy_writes_is_not_read() {
        assert_eq!(hops(&format!("for=1.1.1.1;x={}", "y".repeat(600))), "?");
        assert_eq!(hops(&format!("for=1.1.1.1;x=\"{}\", for=2.2.2.2", ",".repeat(9))), "2.2.2.2 ?");
    }
}
