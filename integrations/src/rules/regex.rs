//! Rules by regular expressions.

use regex::Regex;

use super::Rule;
use super::pattern::Pattern;
use crate::error::ThrottleError;

impl Rule {
    /// The path matches a regular expression, somewhere: write `^` and `$` for all of it. It alone is not
    /// spelled anew, so write `%C3%A9` for `é`, and `%20` for a space. Takes time that grows with the
    /// length of the path alone.
    pub fn regex(self, pattern: &str) -> Result<Self, ThrottleError> {
        let regex = Regex::new(pattern).map_err(|reason| ThrottleError::route(pattern, reason))?;
        // The characters it spells out are hard to tell, so every other pattern goes before it.
        Ok(self.pattern(Pattern::new(4, 1, move |path| regex.is_match(path))))
    }
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
