//! Patterns of paths, in the [normal form](path::fold) of the paths that they are compared with.

use std::fmt;

use matchit::Router;

use super::spelling::{PatternKind, check};
use crate::error::ThrottleError;
use crate::http::path;

/// A condition of a rule on the path.
pub(super) struct Pattern {
    /// The pattern as written.
    text: String,
    make: PatternParser,
    /// The exact path or the prefix, in normal form.
    folded: String,
    /// The length of the path that the pattern spells out, without wildcards and names.
    pub(super) literal: usize,
    /// The cost of a comparison, relative to other patterns.
    pub(super) effort: u8,
    /// Reports whether a path matches.
    pub(super) matches: Box<dyn Fn(&str) -> bool + Send + Sync>,
}

/// Parses a pattern; `true` makes one that is compared with paths in small letters.
pub(super) type PatternParser = fn(&str, bool) -> Result<Pattern, ThrottleError>;

impl Pattern {
    /// The [`effort`](Self::effort) of a pattern for one path only.
    const EXACT: u8 = 0;
    /// The [`effort`](Self::effort) of a prefix.
    const PREFIX: u8 = 1;

    pub(super) fn new(
        text: &str,
        make: PatternParser,
        (effort, literal): (u8, usize),
        matches: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        let (text, folded) = (text.to_owned(), String::new());
        Self { text, make, folded, literal, effort, matches: Box::new(matches) }
    }

    /// Returns the pattern for paths in small letters.
    pub(super) fn in_small_letters(&self) -> Result<Self, ThrottleError> {
        (self.make)(&self.text, true)
    }

    /// Reports whether a path can match both patterns; true if that is not easy to find out.
    pub(super) fn can_meet(&self, other: &Self) -> bool {
        let (one, another) = if self.effort <= other.effort { (self, other) } else { (other, self) };
        // Only paths and prefixes can be compared by text; for other patterns a common path is assumed.
        match (one.effort, another.effort) {
            (Self::EXACT, _) => (another.matches)(&one.folded),
            (Self::PREFIX, Self::PREFIX) => (one.matches)(&another.folded) || (another.matches)(&one.folded),
            _ => true,
        }
    }

    /// Reports whether only one path matches.
    pub(super) const fn is_exact(&self) -> bool {
        self.effort == Self::EXACT
    }

    /// Parses one path.
    pub(super) fn exact(text: &str, ignore_case: bool) -> Result<Self, ThrottleError> {
        check(text, PatternKind::Exact)?;
        let (path, folded) = (folded(text, ignore_case), folded(text, ignore_case));
        let exact = Self::new(text, Self::exact, (Self::EXACT, path.len()), move |it| it == path);
        Ok(Self { folded, ..exact })
    }

    /// Parses a prefix: a path that also matches the paths below it.
    pub(super) fn prefix(text: &str, ignore_case: bool) -> Result<Self, ThrottleError> {
        check(text, PatternKind::Prefix)?;
        let folded = folded(text, ignore_case).trim_end_matches('/').to_owned();
        let prefix = folded.clone();
        let below = Self::new(text, Self::prefix, (Self::PREFIX, prefix.len()), move |path| {
            let rest = path.strip_prefix(&*prefix);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/') || prefix.is_empty())
        });
        Ok(Self { folded, ..below })
    }

    /// Parses the template of a route.
    pub(super) fn template(text: &str, ignore_case: bool) -> Result<Self, ThrottleError> {
        check(text, PatternKind::Template)?;
        let (mut router, spelled) = (Router::new(), folded(text, ignore_case));
        router.insert(&*spelled, ()).map_err(|error| ThrottleError::template(text, &error))?;
        // Names in braces are not characters of a path.
        let mut depth = 0u32;
        let spelled = spelled.chars().filter(|character| {
            match character {
                '{' => depth += 1,
                '}' => depth = depth.saturating_sub(1),
                _ => return depth == 0,
            }
            false
        });
        let rank = (2, spelled.count());
        Ok(Self::new(text, Self::template, rank, move |path| router.at(path).is_ok()))
    }

    /// Parses a pattern with `?`, `*` and `**`.
    pub(super) fn glob(text: &str, ignore_case: bool) -> Result<Self, ThrottleError> {
        check(text, PatternKind::Glob)?;
        // A pattern that begins with a star also matches the target `*`, which has no slash. The normal form
        // needs a slash, so one is added and then removed.
        let slash = if text.starts_with('*') { "/" } else { "" };
        let pattern = [slash, text].concat();
        let pattern = folded(&pattern, ignore_case);
        let pattern = pattern.strip_prefix(slash).unwrap_or(&pattern);
        let literal = pattern.chars().filter(|character| !matches!(character, '*' | '?')).count();
        // `None` is any number of segments.
        let segment = |text: &str| (text != "**").then(|| text.chars().collect::<Vec<char>>());
        let segments: Vec<_> = pattern.split('/').map(segment).collect();
        let within = |segment: &Option<Vec<char>>, text: &&str| {
            let text: Vec<char> = text.chars().collect();
            let fits = |it: &char, character: &char| *it == '?' || it == character;
            segment.as_ref().is_some_and(|pattern| wild(pattern, &text, |it| *it == '*', fits))
        };
        Ok(Self::new(text, Self::glob, (3, literal), move |path| {
            let path: Vec<&str> = path.split('/').collect();
            wild(&segments, &path, Option::is_none, within)
        }))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let below = if self.effort == Self::PREFIX { " and below" } else { "" };
        write!(f, "{}{below}", self.text)
    }
}

/// Returns the normal form of a pattern's text.
fn folded(text: &str, ignore_case: bool) -> String {
    let folded = path::fold(text).text;
    if ignore_case { folded.to_ascii_lowercase() } else { folded.into_owned() }
}

/// Reports whether a sequence matches a pattern. Some items of the pattern are wildcards, which match any
/// number of items.
///
/// After a mismatch only the last wildcard takes one more item: an earlier wildcard that takes more could not
/// match more. So the time is at most proportional to the product of both lengths, for any text.
fn wild<P, T>(
    pattern: &[P],
    text: &[T],
    is_many: impl Fn(&P) -> bool,
    fits: impl Fn(&P, &T) -> bool,
) -> bool {
    // Invariant: pattern[..at] matches text[..next]. `last_many` is the last wildcard, and where its match
    // ends.
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
                    // The wildcard takes one item more, and the pattern after it starts anew.
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
            let template = Pattern::template(spelled, false).unwrap();
            [
                Pattern::exact(spelled, false).unwrap(),
                Pattern::prefix(spelled, false).unwrap(),
                template,
                Pattern::glob(spelled, false).unwrap(),
            ]
        };
        for spelled in ["/café/x y", "/caf%c3%a9/x%20y", "//caf%C3%A9/./x%20y/", "/a/../c%61fé/x y"] {
            for pattern in patterns(spelled) {
                for path in ["/caf%c3%a9/x%20y", "//caf%C3%A9/x%20y", "/café/x%20y"] {
                    assert!((pattern.matches)(&path::fold(path).text), "{spelled} {path}");
                }
                assert!(!(pattern.matches)("/cafe/x%20y"));
                assert_eq!(pattern.literal, "/caf%C3%A9/x%20y".len());
            }
        }
        assert!((Pattern::template("/caf%c3%a9/{größe}", false).unwrap().matches)("/caf%C3%A9/1"));
        assert!((Pattern::glob("/é/./**/%c3*", false).unwrap().matches)("/%C3%A9/a/%C3%B6"));
        assert!((Pattern::prefix("//", false).unwrap().matches)("/anything"));
    }

    #[test]
    fn a_prefix_ends_with_a_segment() {
        let api = Pattern::prefix("/api/", false).unwrap();
        assert!((api.matches)("/api") && (api.matches)("/api/") && (api.matches)("/api/users"));
        assert!(!(api.matches)("/apiary") && !(api.matches)("/") && !(api.matches)("/other/api"));
        assert!(
            (Pattern::prefix("/", false).unwrap().matches)("/anything")
                && (Pattern::prefix("", false).unwrap().matches)("*")
        );
    }

    #[test]
    fn a_template_matches_segments() {
        let template = Pattern::template("/users/{id}/posts/{*rest}", false).unwrap();
        assert!((template.matches)("/users/1/posts/a/b") && !(template.matches)("/users/1/2/posts/a"));
        assert_eq!(template.literal, "/users//posts/".len());
        assert!(Pattern::template("/users/{id", false).is_err());
    }

    #[test]
    fn a_glob_matches_within_and_across_segments() {
        let glob = |pattern: &str, path: &str| (Pattern::glob(pattern, false).unwrap().matches)(path);
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

    /// Tries every number of characters for each star.
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
            let glob = Pattern::glob(&format!("/{pattern}"), false).unwrap();
            prop_assert_eq!((glob.matches)(&format!("/{text}")), naive(&chars(&pattern), &chars(&text)));
        }
    }

    #[test]
    fn a_hostile_path_takes_little_time() {
        let glob = Pattern::glob(&"/**/a*a*a*b".repeat(8), false).unwrap();
        assert!(!(glob.matches)(&"/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".repeat(200)));
    }
}
