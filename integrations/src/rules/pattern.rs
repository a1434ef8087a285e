//! Patterns of paths, [spelled](path::normal) as the paths are that they are held against.

use std::fmt;

use matchit::Router;

use crate::error::ThrottleError;
use crate::http::path;

/// Tells which paths it means.
pub(crate) trait PathMatch: Send + Sync {
    fn matches(&self, path: &str) -> bool;

    /// How many characters of a path it spells out.
    fn literal(&self) -> usize;

    /// Whether it means one path only.
    fn is_exact(&self) -> bool {
        false
    }

    /// What it takes to look, beside others.
    fn effort(&self) -> u8;
}

/// One path.
#[derive(Debug)]
pub(super) struct Exact(String);

impl Exact {
    pub(super) fn new(path: &str) -> Self {
        Self(path::normal(path).into_owned())
    }
}

impl PathMatch for Exact {
    fn matches(&self, path: &str) -> bool {
        path == self.0
    }

    fn literal(&self) -> usize {
        self.0.len()
    }

    fn is_exact(&self) -> bool {
        true
    }

    fn effort(&self) -> u8 {
        0
    }
}

/// A path and all below it.
#[derive(Debug)]
pub(super) struct Prefix(String);

impl Prefix {
    pub(super) fn new(prefix: &str) -> Self {
        Self(path::normal(prefix).trim_end_matches('/').to_owned())
    }
}

impl PathMatch for Prefix {
    fn matches(&self, path: &str) -> bool {
        let rest = path.strip_prefix(&self.0);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || self.0.is_empty())
    }

    fn literal(&self) -> usize {
        self.0.len()
    }

    fn effort(&self) -> u8 {
        1
    }
}

/// A route's template.
pub(super) struct Template {
    router: Router<()>,
    literal: usize,
}

impl Template {
    pub(super) fn new(template: &str) -> Result<Self, ThrottleError> {
        let (mut router, spelled) = (Router::new(), path::normal(template));
        router.insert(&*spelled, ()).map_err(|reason| ThrottleError::route(template, reason))?;
        let mut depth = 0u32;
        let spelled = spelled.chars().filter(|character| {
            match character {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => return depth == 0,
            }
            false
        });
        Ok(Self { literal: spelled.count(), router })
    }
}

impl fmt::Debug for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Template")
    }
}

impl PathMatch for Template {
    fn matches(&self, path: &str) -> bool {
        self.router.at(path).is_ok()
    }

    fn literal(&self) -> usize {
        self.literal
    }

    fn effort(&self) -> u8 {
        2
    }
}

/// A pattern with `?`, `*` and `**`.
#[derive(Debug)]
pub(super) struct Glob {
    segments: Vec<Segment>,
    literal: usize,
}

#[derive(Debug)]
enum Segment {
    /// Any number of segments.
    Many,
    One(Vec<char>),
}

impl Glob {
    pub(super) fn new(pattern: &str) -> Self {
        let pattern = path::normal(pattern);
        let segment =
            |text: &str| if text == "**" { Segment::Many } else { Segment::One(text.chars().collect()) };
        let literal = pattern.chars().filter(|character| !matches!(character, '*' | '?')).count();
        Self { segments: pattern.split('/').map(segment).collect(), literal }
    }
}

impl PathMatch for Glob {
    fn matches(&self, path: &str) -> bool {
        let path: Vec<&str> = path.split('/').collect();
        wild(
            &self.segments,
            &path,
            |segment| matches!(segment, Segment::Many),
            |segment, text| match segment {
                Segment::Many => false,
                Segment::One(pattern) => {
                    let text: Vec<char> = text.chars().collect();
                    wild(pattern, &text, |it| *it == '*', |it, character| *it == '?' || it == character)
                }
            },
        )
    }

    fn literal(&self) -> usize {
        self.literal
    }

    fn effort(&self) -> u8 {
        3
    }
}

/// Whether a sequence matches a pattern in which some items stand for any number of others.
///
/// When nothing fits any more only the last such item takes one more: those before it have no need to. So it takes time
/// that grows with the product of both lengths, whatever a client sends.
fn wild<P, T>(
    pattern: &[P],
    text: &[T],
    is_many: impl Fn(&P) -> bool,
    fits: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut at, mut next) = (0, 0);
    let mut last_many: Option<(usize, usize)> = None;
    while let Some(item) = text.get(next) {
        match pattern.get(at) {
            Some(many) if is_many(many) => {
                last_many = Some((at, next));
                at += 1;
            }
            Some(one) if fits(one, item) => {
                at += 1;
                next += 1;
            }
            _ => match &mut last_many {
                Some((many, taken)) => {
                    *taken += 1;
                    (at, next) = (*many + 1, *taken);
                }
                None => return false,
            },
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(is_many)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_pattern_is_spelled_as_paths_are() {
        let patterns = |spelled: &str| -> Vec<Box<dyn PathMatch>> {
            vec![
                Box::new(Exact::new(spelled)),
                Box::new(Prefix::new(spelled)),
                Box::new(Template::new(spelled).unwrap()),
                Box::new(Glob::new(spelled)),
            ]
        };
        for spelled in ["/café/x y", "/caf%c3%a9/x%20y", "//caf%C3%A9/./x%20y", "/a/../c%61fé/x y"] {
            for pattern in patterns(spelled) {
                for path in ["/caf%c3%a9/x%20y", "//caf%C3%A9/x%20y", "/café/x%20y"] {
                    assert!(pattern.matches(&path::normal(path)), "{spelled} {path}");
                }
                assert!(!pattern.matches("/cafe/x%20y"));
                assert_eq!(pattern.literal(), "/caf%C3%A9/x%20y".len());
            }
        }
        assert!(Template::new("/caf%c3%a9/{größe}").unwrap().matches("/caf%C3%A9/1"));
        assert!(Glob::new("/é/./**/%c3*").matches("/%C3%A9/a/%C3%B6"));
        assert!(Prefix::new("//").matches("/anything"));
    }

    #[test]
    fn a_prefix_ends_with_a_segment() {
        let api = Prefix::new("/api/");
        assert!(api.matches("/api") && api.matches("/api/") && api.matches("/api/users"));
        assert!(!api.matches("/apiary") && !api.matches("/") && !api.matches("/other/api"));
        assert!(Prefix::new("/").matches("/anything") && Prefix::new("").matches("*"));
    }

    #[test]
    fn a_template_matches_segments() {
        let template = Template::new("/users/{id}/posts/{*rest}").unwrap();
        assert!(template.matches("/users/1/posts/a/b") && !template.matches("/users/1/2/posts/a"));
        assert_eq!(template.literal(), "/users//posts/".len());
        assert!(Template::new("/users/{id").is_err());
    }

    #[test]
    fn a_glob_matches_within_and_across_segments() {
        let glob = |pattern: &str, path: &str| Glob::new(pattern).matches(path);
        for (pattern, path) in [
            ("/a/*/c", "/a/b/c"),
            ("/a/*/c", "/a//c"),
            ("/a/b*d", "/a/bccd"),
            ("/a/?", "/a/b"),
            ("/a/**", "/a"),
            ("/a/**", "/a/b/c"),
            ("/**/c", "/c"),
            ("/**/c", "/a/b/c"),
            ("**", "*"),
            ("/a/**/b/**/c", "/a/x/b/y/z/b/c"),
        ] {
            assert!(glob(pattern, path), "{pattern} {path}");
        }
        for (pattern, path) in [
            ("/a/*", "/a/b/c"),
            ("/a/?", "/a/bc"),
            ("/a/?", "/a/"),
            ("/a/**", "/ab"),
            ("/**/c", "/a/cd"),
            ("/a", "/a/"),
        ] {
            assert!(!glob(pattern, path), "{pattern} {path}");
        }
    }

    /// Every way in which a star could stand for something, tried.
    fn naive(pattern: &[char], text: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('*', rest)) => (0..=text.len()).any(|taken| naive(rest, &text[taken..])),
            Some((one, rest)) => text
                .split_first()
                .is_some_and(|(first, text)| (*one == '?' || one == first) && naive(rest, text)),
        }
    }

    proptest! {
        #[test]
        fn a_glob_matches_as_trying_everything_does(pattern in "[ab?*]{0,8}", text in "[ab]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            // Two stars alone in a segment mean something else.
            prop_assume!(pattern != "**");
            prop_assert_eq!(Glob::new(&pattern).matches(&text), naive(&chars(&pattern), &chars(&text)));
        }
    }

    #[test]
    fn a_hostile_path_takes_no_long() {
        let glob = Glob::new(&"/**/a*a*a*b".repeat(8));
        assert!(!glob.matches(&"/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".repeat(200)));
    }
}
