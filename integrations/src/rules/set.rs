//! The rules of a throttle, which decide whether it applies to a request.

use traffik_core::storage::BoxFuture;

use super::{Rank, Rule, RuleMatch};
use crate::RequestParts;
use crate::error::ThrottleError;
use crate::http::path;

/// Whether a throttle applies to a request, with the rank of the rule.
pub(crate) enum Applicability {
    No,
    Yes(Rank),
    Later(PendingMatch),
}

/// The asynchronous conditions that decide whether a throttle applies.
#[derive(Default)]
pub(crate) struct PendingMatch {
    /// The rank of a rule that is met already.
    sure: Option<Rank>,
    /// The pending rules that are more specific than `sure`, the most specific first.
    perhaps: Vec<(Rank, BoxFuture<'static, bool>)>,
    /// The pending bypass rules: the throttle does not apply if one is met.
    unless: Vec<BoxFuture<'static, bool>>,
}

/// The rules of a throttle. The throttle applies if an `apply` rule is met or there is none, and if no
/// `bypass` rule is met.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    apply: Vec<Rule>,
    bypass: Vec<Rule>,
}

impl Rules {
    pub(crate) fn apply_to(&mut self, rule: Rule) {
        self.apply.push(rule);
        // The most specific rule that matches ranks the throttle, so it comes first.
        self.apply.sort_by_key(|rule| std::cmp::Reverse(rule.rank()));
    }

    pub(crate) fn bypass(&mut self, rule: Rule) {
        self.bypass.push(rule);
        self.bypass.sort_by_key(|rule| (rule.awaited.len(), rule.predicates.len(), rule.paths.len()));
    }

    /// Checks each rule for conditions that no request can meet.
    pub(crate) fn check(&self) -> Result<(), ThrottleError> {
        self.apply.iter().chain(&self.bypass).try_for_each(Rule::check)
    }

    /// Returns the rule by which a request is counted; `None` without rules.
    ///
    /// # Errors
    ///
    /// Fails with the reasons why the request is not counted.
    pub(crate) async fn explain(&self, request: RequestParts<'_>) -> Result<Option<String>, Vec<String>> {
        let path = path::fold(request.original_uri().path());
        for rule in self.bypassing(&path) {
            if rule.unmet(request, &path.text).await.is_none() {
                return Err(vec![format!("{rule}: requests that meet this rule pass")]);
            }
        }
        let mut unmet = Vec::new();
        for rule in &self.apply {
            match rule.unmet(request, &path.text).await {
                None => return Ok(Some(rule.to_string())),
                Some(condition) => unmet.push(format!("{rule}: {condition}")),
            }
        }
        if unmet.is_empty() { Ok(None) } else { Err(unmet) }
    }

    /// Yields the bypass rules for a path. The next server may read an unusual spelling as another path, so
    /// rules with paths do not bypass it.
    fn bypassing(&self, path: &path::FoldedPath<'_>) -> impl Iterator<Item = &Rule> {
        self.bypass.iter().filter(|rule| path.is_plain || rule.paths.is_empty())
    }

    #[inline]
    pub(crate) fn matching(&self, request: RequestParts<'_>) -> Applicability {
        if self.apply.is_empty() && self.bypass.is_empty() {
            return Applicability::Yes(Rank::default());
        }
        self.met(request)
    }

    fn met(&self, request: RequestParts<'_>) -> Applicability {
        let path = path::fold(request.original_uri().path());
        let mut open = PendingMatch::default();
        for rule in self.bypassing(&path) {
            match rule.matching(request, &path.text) {
                RuleMatch::No => {}
                RuleMatch::Yes(_) => return Applicability::No,
                RuleMatch::Later(_, answer) => open.unless.push(answer),
            }
        }
        open.sure = self.apply.is_empty().then(Rank::default);
        for rule in &self.apply {
            match rule.matching(request, &path.text) {
                RuleMatch::No => {}
                // The rules that follow are less specific.
                RuleMatch::Yes(rank) => {
                    open.sure = Some(rank);
                    break;
                }
                RuleMatch::Later(rank, answer) => open.perhaps.push((rank, answer)),
            }
        }
        match open {
            PendingMatch { sure: None, perhaps, .. } if perhaps.is_empty() => Applicability::No,
            PendingMatch { sure: Some(rank), perhaps, unless } if perhaps.is_empty() && unless.is_empty() => {
                Applicability::Yes(rank)
            }
            open => Applicability::Later(open),
        }
    }
}

impl PendingMatch {
    /// Waits until it is known whether the throttle applies.
    pub(crate) async fn applies(mut self) -> bool {
        if self.sure.is_some() {
            self.perhaps.clear();
        }
        self.rank().await.is_some()
    }

    /// Waits for the rank of the rule by which the throttle applies; `None` if it does not.
    pub(crate) async fn rank(self) -> Option<Rank> {
        let mut met = self.sure;
        for (rank, answer) in self.perhaps {
            if answer.await {
                met = Some(rank);
                break;
            }
        }
        if met.is_none() || any(self.unless).await { None } else { met }
    }
}

/// Waits for the answers, one after another, until one is true.
async fn any(answers: Vec<BoxFuture<'static, bool>>) -> bool {
    for answer in answers {
        if answer.await {
            return true;
        }
    }
    false
}
