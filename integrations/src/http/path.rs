//! The normal form of a path, for all spellings that a server may read as the same path.

use std::borrow::Cow;

/// The normal form of a path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FoldedPath<'a> {
    /// The path without the parts that a server may ignore.
    pub(crate) text: Cow<'a, str>,
    /// Whether only escapes and a slash at the end were changed: every server reads those as the same path.
    pub(crate) is_plain: bool,
}

/// Returns the normal form of a path, so that no other spelling evades a rule.
///
/// * Escaped letters, digits and `-._~` are unescaped. All other escapes are in capitals, also of
///   characters that should have been escaped, such as `é`.
/// * Parameters after a `;` in a segment are removed, and an escaped slash is a slash.
/// * Segments `.` and `..` are resolved. Repeated slashes and the one at the end are removed.
///
/// A path in normal form, or with one slash more at its end, takes no allocation.
pub(crate) fn fold(path: &str) -> FoldedPath<'_> {
    if matches!(path, "" | "*" | "/") {
        return FoldedPath { text: Cow::Borrowed(path), is_plain: true };
    }
    if is_folded(path) {
        return FoldedPath { text: Cow::Borrowed(path.strip_suffix('/').unwrap_or(path)), is_plain: true };
    }
    let unescaped = unescaped(path);
    let slashed = unescaped.replace("%2F", "/");
    let mut folded = String::with_capacity(slashed.len());
    for segment in slashed.split('/') {
        match segment.split_once(';').map_or(segment, |(segment, _parameters)| segment) {
            "" | "." => {}
            ".." => folded.truncate(folded.rfind('/').unwrap_or(0)),
            segment => folded.extend(["/", segment]),
        }
    }
    if folded.is_empty() {
        folded.push('/');
    }
    let is_plain = [&folded, &[&folded, "/"].concat()].contains(&&unescaped) && unescaped != "//";
    FoldedPath { text: Cow::Owned(folded), is_plain }
}

/// Reports whether a path is in normal form, except for a slash at its end.
fn is_folded(path: &str) -> bool {
    let mut before = 0;
    path.starts_with('/')
        && path.bytes().all(|byte| {
            let is_removed = before == b'/' && matches!(byte, b'/' | b'.');
            before = byte;
            byte.is_ascii_graphic() && !matches!(byte, b'%' | b';') && !is_removed
        })
}

/// Unescapes unreserved octets, whose escapes are equivalent to them (RFC 3986, section 2.3). Escapes octets
/// that a path cannot hold.
fn unescaped(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    let add = |plain: &mut String, text: &str| {
        for part in text.split_inclusive(|character: char| !character.is_ascii_graphic()) {
            let graphic = part.trim_end_matches(|character: char| !character.is_ascii_graphic());
            plain.push_str(graphic);
            part.bytes().skip(graphic.len()).for_each(|octet| escape(plain, octet));
        }
    };
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        add(&mut plain, before);
        let digits = after.get(..2).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
        match digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(octet) if octet.is_ascii_alphanumeric() || b"-._~".contains(&octet) => {
                plain.push(char::from(octet));
                rest = after.get(2..).unwrap_or_default();
            }
            Some(octet) => {
                escape(&mut plain, octet);
                rest = after.get(2..).unwrap_or_default();
            }
            // A bare `%` could form an escape with the digits that follow, so it is escaped itself.
            None => {
                escape(&mut plain, b'%');
                rest = after;
            }
        }
    }
    add(&mut plain, rest);
    plain
}

fn escape(path: &mut String, octet: u8) {
    let digit = |four: u8| char::from_digit(four.into(), 16).unwrap_or('0').to_ascii_uppercase();
    path.extend(['%', digit(octet >> 4), digit(octet & 15)]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A segment of letters, the spelling of each, and a meaningless prefix.
    fn segment() -> impl Strategy<Value = (String, String)> {
        let letter =
            (prop_oneof![Just('a'), Just('Z'), Just('~'), Just('-')], 0..3).prop_map(|(letter, form)| {
                let written = match form {
                    0 => letter.to_string(),
                    1 => format!("%{:02x}", letter as u32),
                    _ => format!("%{:02X}", letter as u32),
                };
                (letter, written)
            });
        let before = prop_oneof![
            4 => Just("/"),
            1 => Just("//"),
            1 => Just("/./"),
            1 => Just("/%2e/"),
            1 => Just("/x/../"),
            1 => Just("/x/%2E./"),
        ];
        (before, prop::collection::vec(letter, 1..5)).prop_map(|(before, letters)| {
            let plain = letters.iter().map(|(letter, _)| *letter).collect();
            (plain, letters.iter().fold(before.to_owned(), |written, (_, letter)| written + letter))
        })
    }

    proptest! {
        #[test]
        fn however_a_path_is_spelled_it_is_the_same(segments in prop::collection::vec(segment(), 1..5)) {
            let plain = segments.iter().fold(String::new(), |path, (plain, _)| path + "/" + plain);
            let written: String = segments.iter().map(|(_, written)| written.as_str()).collect();
            prop_assert_eq!(fold(&written).text, plain, "{}", written);
        }

        #[test]
        fn any_text_is_taken(path in "[/.;%0-9a-zé]{0,40}") {
            let folded = fold(&path).text;
            prop_assert!(!folded.contains("//"), "{} {}", path, folded);
            prop_assert_eq!(&fold(&folded), &FoldedPath { text: folded.clone(), is_plain: true });
        }
    }

    #[test]
    fn one_path_has_one_spelling() {
        for (path, expected, is_plain) in [
            ("/login", "/login", true),
            ("/%6Cogin", "/login", true),
            ("/login/", "/login", true),
            ("/%6Cogin/", "/login", true),
            ("//login", "/login", false),
            ("/./login", "/login", false),
            ("/a/../login", "/login", false),
            ("/../../login", "/login", false),
            ("/a/%2e%2E/login", "/login", false),
            ("/a%2flogin", "/a/login", false),
            ("/login%2f", "/login", false),
            ("/login;a=b", "/login", false),
            ("/login;a=b/c;d", "/login/c", false),
            ("/x/..;/login", "/login", false),
            ("/x/..;a=b%2f./login", "/login", false),
            ("login", "/login", false),
            ("/login//", "/login", false),
            ("/a/..", "/", false),
            ("/.hidden/x", "/.hidden/x", true),
            ("/caf%c3%a9%20", "/caf%C3%A9%20", true),
            ("/café", "/caf%C3%A9", true),
            ("/café/%é%4/..", "/caf%C3%A9", false),
            ("/100%", "/100%25", true),
            ("/%zz%4", "/%25zz%254", true),
            ("/%a%30", "/%25a0", true),
            // Few servers end a path there or drop the dot, so these are different paths.
            ("/login%00", "/login%00", true),
            ("/login.", "/login.", true),
            ("/LOGIN", "/LOGIN", true),
            ("/login%252f", "/login%252f", true),
            ("/", "/", true),
            ("//", "/", false),
            ("*", "*", true),
            ("", "", true),
        ] {
            assert_eq!(fold(path), FoldedPath { text: expected.into(), is_plain }, "{path}");
            assert_eq!(fold(expected), FoldedPath { text: expected.into(), is_plain: true }, "{path} twice");
        }
    }
}
