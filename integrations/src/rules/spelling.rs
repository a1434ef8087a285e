//! Finds mistakes in patterns and methods, which no request could meet.

use http::Method;

use crate::error::ThrottleError;

/// The kind of a pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PatternKind {
    Exact,
    Prefix,
    Template,
    Glob,
}

/// Refuses a pattern that matches no path, or other paths than its author means.
pub(super) fn check(text: &str, kind: PatternKind) -> Result<(), ThrottleError> {
    let reason = mistake(text, kind);
    reason.map_or(Ok(()), |reason| Err(ThrottleError::Rule { pattern: text.to_owned(), reason }))
}

/// Returns the correction of a pattern, if it has a mistake.
fn mistake(text: &str, kind: PatternKind) -> Option<String> {
    let reason = |text: &str| Some(text.to_owned());
    let begins = match kind {
        PatternKind::Exact => text.starts_with('/') || text == "*",
        PatternKind::Prefix => text.starts_with('/') || text.is_empty(),
        PatternKind::Template => text.starts_with('/'),
        PatternKind::Glob => text.starts_with(['/', '*']),
    };
    let query = match kind {
        PatternKind::Glob => text.split_once('?').is_some_and(|(_, query)| query.contains('=')),
        _ => text.contains('?'),
    };
    let wildcards = match kind {
        PatternKind::Exact | PatternKind::Prefix => text != "*" && text.contains(['*', '{', '}']),
        PatternKind::Template => text.replace("{*", "{").contains('*'),
        PatternKind::Glob => text.contains(['{', '}']),
    };
    let mut segments = text.split('/');
    let placeholder = |segment: &&str| segment.len() > 1 && segment.starts_with([':', '<']);
    if query || text.contains('#') {
        return reason(
            "rules compare paths without query and fragment; leave those out, or check them in Rule::when",
        );
    }
    if let Some(segment) = segments.clone().find(placeholder) {
        let name = segment.trim_matches([':', '<', '>']);
        return Some(format!("use a template, with {{{name}}} for a segment of any value"));
    }
    let is_regular = text.contains(['[', ']', '|', '^', '\\', '<', '>'])
        || text.ends_with('$')
        || segments.any(|segment| segment.starts_with(".*") || segment.starts_with(".+"));
    if is_regular {
        return reason("for a regular expression use Rule::regex, or write re: before it in a file");
    }
    if text.contains(';') {
        return reason("rules ignore the part of a segment from a semicolon on; leave it out");
    }
    if !begins {
        return reason("paths begin with a slash; write one in front");
    }
    if wildcards {
        return reason(
            "for names in braces use a template, such as /users/{id}; for stars a glob, such as /users/*",
        );
    }
    None
}

/// The refusal of a word for all methods.
const EVERY_METHOD: &str = "it is no method; leave the methods out to match all of them";

/// Refuses a method that is probably a mistake, such as `post`.
pub(super) fn check_method(method: &Method) -> Result<(), ThrottleError> {
    // The methods in the registry of IANA, and `PURGE` and `QUERY`.
    const KNOWN: &str = " ACL BASELINE-CONTROL BIND CHECKIN CHECKOUT CONNECT COPY DELETE GET HEAD LABEL LINK \
        LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MKREDIRECTREF MKWORKSPACE MOVE OPTIONS ORDERPATCH PATCH POST \
        PRI PROPFIND PROPPATCH PURGE PUT QUERY REBIND REPORT SEARCH TRACE UNBIND UNCHECKOUT UNLINK UNLOCK UPDATE \
        UPDATEREDIRECTREF VERSION-CONTROL ";
    let is_known = |name: &str| KNOWN.contains(&format!(" {name} "));
    let capitals = method.as_str().to_ascii_uppercase();
    let reason = match method.as_str() {
        name if is_known(name) => return Ok(()),
        _ if is_known(&capitals) => format!("methods are case-sensitive; write {capitals}"),
        "*" => EVERY_METHOD.to_owned(),
        _ if matches!(&*capitals, "ANY" | "ALL") => EVERY_METHOD.to_owned(),
        _ => "there is no such method; check a method of your own in Rule::when".to_owned(),
    };
    Err(ThrottleError::Rule { pattern: method.to_string(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str, kind: PatternKind) -> String {
        check(text, kind).unwrap_err().to_string()
    }

    #[test]
    fn a_pattern_that_can_match_nothing_is_refused_with_what_would() {
        use PatternKind::{Exact, Glob, Prefix, Template};
        for (text, kinds, cure) in [
            ("/api/.*", &[Exact, Prefix, Glob][..], "re:"),
            ("/users/[0-9]+", &[Exact, Prefix, Template, Glob], "re:"),
            ("/api/(v1|v2)", &[Exact, Prefix, Template, Glob], "re:"),
            ("/login$", &[Exact, Prefix, Template, Glob], "re:"),
            ("^/login", &[Exact, Prefix, Template, Glob], "re:"),
            ("/users/\\d+", &[Exact, Prefix, Template, Glob], "re:"),
            ("/users/:id", &[Exact, Prefix, Template, Glob], "{id}"),
            ("/users/<id>/x", &[Exact, Prefix, Template, Glob], "{id}"),
            ("/a?x=1", &[Exact, Prefix, Template, Glob], "query"),
            ("/a#b", &[Exact, Prefix, Template, Glob], "fragment"),
            ("/a;b=c", &[Exact, Prefix, Template, Glob], "semicolon"),
            ("login", &[Exact, Prefix, Template, Glob], "begin with a slash"),
            ("", &[Exact, Template, Glob], "begin with a slash"),
            ("/users/{id}", &[Exact, Prefix, Glob], "template"),
            ("/users/*", &[Exact, Prefix], "glob"),
            ("/users/{id}/*", &[Template], "glob"),
        ] {
            for kind in kinds {
                let error = refused(text, *kind);
                assert!(error.contains(cure) && error.contains(&format!("{text:?}")), "{kind:?} {error}");
            }
        }
        for (text, kind) in [
            ("*", Exact),
            ("/v1/items:batchGet", Exact),
            ("/users(1)/name", Exact),
            ("/$batch", Exact),
            ("/", Prefix),
            ("", Prefix),
            ("/a b/é", Prefix),
            ("/files/{*path}", Template),
            ("/**/*.html", Glob),
            ("**", Glob),
            ("/a/?", Glob),
        ] {
            assert_eq!(check(text, kind), Ok(()), "{text}");
        }
    }

    #[test]
    fn a_method_that_nobody_sends_is_refused() {
        let of = |name: &str| check_method(&Method::from_bytes(name.as_bytes()).unwrap());
        for (name, cure) in [
            ("post", "write POST"),
            ("Get", "write GET"),
            ("*", "leave the methods out"),
            ("ANY", "leave the methods out"),
            ("all", "leave the methods out"),
            ("GETT", "no such method"),
        ] {
            assert!(of(name).unwrap_err().to_string().contains(cure), "{name}");
        }
        for name in ["GET", "HEAD", "PROPFIND", "QUERY", "VERSION-CONTROL"] {
            assert_eq!(of(name), Ok(()));
        }
    }
}
