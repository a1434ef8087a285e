//! Rules by regular expressions.

use regex::RegexBuilder;

use super::Rule;
use super::pattern::Pattern;
use crate::error::ThrottleError;

impl Rule {
    /// Requires a path in which the regular expression matches somewhere. Write `^` and `$` for the whole
    /// path.
    ///
    /// The path is in normal form, but the expression is taken as written: write `%C3%A9` for `é`, `%20` for
    /// a space, and no slash at the end. A match takes time linear in the length of the path.
    ///
    /// # Errors
    ///
    /// Fails with [`ThrottleError::Route`] if `pattern` is not a regular expression, or is too large.
    pub fn regex(self, pattern: &str) -> Result<Self, ThrottleError> {
        let ignore_case = self.ignore_case;
        let pattern = read(pattern, ignore_case)?;
        Ok(self.pattern(Ok(pattern)))
    }
}

fn read(text: &str, ignore_case: bool) -> Result<Pattern, ThrottleError> {
    let regex = RegexBuilder::new(text).case_insensitive(ignore_case).build();
    let regex = regex.map_err(|error| ThrottleError::regex(text, &error))?;
    // Its literal characters are hard to count, so it counts as one.
    Ok(Pattern::new(text, read, (4, 1), move |path| regex.is_match(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_by_a_regular_expression() {
        let rule = Rule::new().regex("^/v[0-9]+/").unwrap();
        let of = |path| rule.paths.iter().all(|pattern| (pattern.matches)(path));
        assert!(of("/v1/users") && of("/v22/") && !of("/v/users") && !of("/a/v1/"));
        assert!(Rule::new().regex("(").is_err());
    }
}
