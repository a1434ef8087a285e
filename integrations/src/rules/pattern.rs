//! Patterns of paths, [spelled](path::normal) as the paths are that they are held against.

use matchit::Router;

use crate::error::ThrottleError;
use crate::http::path;

/// The paths that a condition of a rule means.
pub(super) struct Pattern {
    /// How many characters of a path it spells out.
    pub(super) literal: usize,
    /// Whether it means one path only.
    pub(super) exact: bool,
    /// The effort of looking, beside that of other patterns.
    pub(super) effort: u8,
    /// Whether it means a path.
    pub(super) matches: Box<dyn Fn(&str) -> bool + Send + Sync>,
}

impl Pattern {
    pub(super) fn new(
        effort: u8,
        literal: usize,
        matches: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self { literal, exact: false, effort, matches: Box::new(matches) }
    }

    /// One path.
    pub(super) fn exact(path: &str) -> Self {
        let path = path::normal(path).into_owned();
        Self { exact: true, ..Self::new(0, path.len(), move |it| it == path) }
    }

    /// A path and all below it.
    pub(super) fn prefix(prefix: &str) -> Self {
        let prefix = path::normal(prefix).trim_end_matches('/').to_owned();
        Self::new(1, prefix.len(), move |path| {
            let rest = path.strip_prefix(&*prefix);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.is_empty())
        })
    }

    /// A route's template.
    pub(super) fn template(template: &str) -> Result<Self, ThrottleError> {
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
        Ok(Self::new(2, spelled.count(), move |path| router.at(path).is_ok()))
    }

    /// A pattern with `?`, `*` and `**`.
    pub(super) fn glob(pattern: &str) -> Self {
        let pattern = path::normal(pattern);
        let literal = pattern.chars().filter(|character| !matches!(character, '*' | '?')).count();
        // `None` is any number of segments.
        let segment = |text: &str| (text != "**").then(|| text.chars().collect::<Vec<char>>());
        let segments: Vec<_> = pattern.split('/').map(segment).collect();
        let within = |segment: &Option<Vec<char>>, text: &&str| {
            let text: Vec<char> = text.chars().collect();
            let fits = |it: &char, character: &char| *it == '?' || it == character;
            segment.as_ref().is_some_and(|pattern| wild(pattern, &text, |it| *it == '*', fits))
        };
        Self::new(3, literal, move |path| {
            let path: Vec<&str> = path.split('/').collect();
            wild(&segments, &path, Option::is_none, within)
        })
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
        let patterns = |spelled: &str| {
            let template = Pattern::template(spelled).unwrap();
            [Pattern::exact(spelled), Pattern::prefix(spelled), template, Pattern::glob(spelled)]
        };
        for spelled in ["/café/x y", "/caf%c3%a9/x%20y", "//caf%C3%A9/./x%20y", "/a/../c%61fé/x y"] {
            for pattern in patterns(spelled) {
                for path in ["/caf%c3%a9/x%20y", "//caf%C3%A9/x%20y", "/café/x%20y"] {
                    assert!((pattern.matches)(&path::normal(path)), "{spelled} {path}");
                }
                assert!(!(pattern.matches)("/cafe/x%20y"));
                assert_eq!(pattern.literal, "/caf%C3%A9/x%20y".len());
            }
        }
        assert!((Pattern::template("/caf%c3%a9/{größe}").unwrap().matches)("/caf%C3%A9/1"));
        assert!((Pattern::glob("/é/./**/%c3*").matches)("/%C3%A9/a/%C3%B6"));
        assert!((Pattern::prefix("//").matches)("/anything"));
    }

    #[test]
    fn a_prefix_ends_with_a_segment() {
        let api = Pattern::prefix("/api/");
        assert!((api.matches)("/api") && (api.matches)("/api/") && (api.matches)("/api/users"));
        assert!(!(api.matches)("/apiary") && !(api.matches)("/") && !(api.matches)("/other/api"));
        assert!((Pattern::prefix("/").matches)("/anything") && (Pattern::prefix("").matches)("*"));
    }

    #[test]
    fn a_template_matches_segments() {
        let template = Pattern::template("/users/{id}/posts/{*rest}").unwrap();
        assert!((template.matches)("/users/1/posts/a/b") && !(template.matches)("/users/1/2/posts/a"));
        assert_eq!(template.literal, "/users//posts/".len());
        assert!(Pattern::template("/users/{id").is_err());
    }

    #[test]
    fn a_glob_matches_within_and_across_segments() {
        let glob = |pattern: &str, path: &str| (Pattern::glob(pattern).matches)(path);
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
            prop_assert_eq!((Pattern::glob(&pattern).matches)(&text), naive(&chars(&pattern), &chars(&text)));
        }
    }

    #[test]
    fn a_hostile_path_takes_no_long() {
        let glob = Pattern::glob(&"/**/a*a*a*b".repeat(8));
        assert!(!(glob.matches)(&"/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".repeat(200)));
    }
}
