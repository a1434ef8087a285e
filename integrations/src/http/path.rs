//! A path as the service behind will take it, whatever way it was spelled.

use std::borrow::Cow;

/// The path without what a server may leave out: letters, digits and `-._~` that were escaped, segments `.` and `..`,
/// and slashes after slashes; and with escapes in capitals, also of what should have been escaped, such as `é`. Else another
/// spelling would be a way round a rule. An escaped slash is none.
///
/// Nothing is allocated for a path that is spelled plainly.
pub(crate) fn normal(path: &str) -> Cow<'_, str> {
    if is_normal(path) {
        return Cow::Borrowed(path);
    }
    let unescaped = unescaped(path);
    let mut normal = String::with_capacity(unescaped.len());
    let ends_open = unescaped.ends_with('/') || unescaped.ends_with("/.") || unescaped.ends_with("/..");
    for segment in unescaped.split('/') {
        match segment {
            "" | "." => {}
            ".." => normal.truncate(normal.rfind('/').unwrap_or(0)),
            segment => normal.extend(["/", segment]),
        }
    }
    if ends_open || normal.is_empty() {
        normal.push('/');
    }
    Cow::Owned(normal)
}

fn is_normal(path: &str) -> bool {
    let mut before = 0;
    path.bytes().all(|byte| {
        let is_left_out = before == b'/' && matches!(byte, b'/' | b'.');
        before = byte;
        byte != b'%' && byte.is_ascii_graphic() && !is_left_out
    })
}

/// With those octets plain that mean the same escaped (RFC 3986, section 2.3), and those escaped that no path can hold.
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
            None => {
                plain.push('%');
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
            prop_assert_eq!(normal(&written), plain, "{}", written);
        }

        #[test]
        fn any_text_is_taken(path in "[/.%0-9a-zé]{0,40}") {
            let normal = normal(&path);
            prop_assert!(!normal.contains("//") || !path.contains('/'), "{} {}", path, normal);
        }
    }

    #[test]
    fn one_path_has_one_spelling() {
        for (path, expected) in [
            ("/login", "/login"),
            ("/%6Cogin", "/login"),
            ("//login", "/login"),
            ("/./login", "/login"),
            ("/a/../login", "/login"),
            ("/../../login", "/login"),
            ("/a/%2e%2E/login", "/login"),
            ("/a%2flogin", "/a%2Flogin"),
            ("/login//", "/login/"),
            ("/a/..", "/"),
            ("/.hidden/x", "/.hidden/x"),
            ("/caf%c3%a9%20", "/caf%C3%A9%20"),
            ("/café", "/caf%C3%A9"),
            ("/café/%é%4/..", "/caf%C3%A9/"),
            ("/100%", "/100%"),
            ("/%zz%4", "/%zz%4"),
            ("*", "*"),
            ("", ""),
        ] {
            assert_eq!(normal(path), expected, "{path}");
            assert_eq!(normal(&normal(path)), expected, "{path} twice");
        }
    }
}
