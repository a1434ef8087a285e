//! A path as the service behind may take it, whatever way it was spelled.

use std::borrow::Cow;

/// A path by which rules go, and how it was spelled.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FoldedPath<'a> {
    /// The path without what a server may leave out.
    pub(crate) text: Cow<'a, str>,
    /// Whether nothing was left out but escapes, and a slash at the end: every server takes it for the same
    /// path.
    pub(crate) is_plain: bool,
}

/// Folds a path: without what a server may leave out, for any other spelling would be a way round a rule.
///
/// * Letters, digits and `-._~` that are escaped stand for themselves; all other escapes are in capitals,
///   also of what should have been escaped, such as `é`.
/// * What follows a `;` in a segment is left out, and an escaped slash is a slash.
/// * Segments `.` and `..` are followed, slashes after slashes left out, and so is the one at the end.
///
/// Nothing is allocated for a path that is spelled plainly.
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

/// Whether folding leaves a path as it is, but for a slash at its end.
fn is_folded(path: &str) -> bool {
    let mut before = 0;
    path.starts_with('/')
        && path.bytes().all(|byte| {
            let is_left_out = before == b'/' && matches!(byte, b'/' | b'.');
            before = byte;
            byte.is_ascii_graphic() && !matches!(byte, b'%' | b';') && !is_left_out
        })
}

/// With those octets plain that mean the same escaped (RFC 3986, section 2.3), and those escaped that no path
/// can hold.
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
            // It should have been escaped itself: alone, it could become an escape with what follows.
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

    /// A segment of letters, with how each of them is written and what stands before it that means nothing.
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
            // Some servers end a path there, or leave a dot out: told apart, since most do not.
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
