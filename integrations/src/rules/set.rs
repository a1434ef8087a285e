//! The rules of a throttle: whether it applies to a request, and by which of them.

use traffik_core::storage::BoxFuture;

use super::{Rank, Rule, RuleMatch};
use crate::RequestParts;
use crate::error::ThrottleError;
use crate::http::path;

/// Whether a throttle applies to a request, and by how specific a rule.
pub(crate) enum Applicability {
    No,
    Yes(Rank),
    Later(PendingMatch),
}

/// What is to be awaited to know whether a throttle applies.
#[derive(Default)]
pub(crate) struct PendingMatch {
    /// By this rule, whatever those below say.
    sure: Option<Rank>,
    /// By one of these, the most specific first, all of them more specific than the one above.
    perhaps: Vec<(Rank, BoxFuture<'static, bool>)>,
    /// Not at all if one of these is so.
    unless: Vec<BoxFuture<'static, bool>>,
}

/// The rules of a throttle: it applies where one of the first kind is met, or there is none of them, and none of the
/// second kind.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    apply: Vec<Rule>,
    bypass: Vec<Rule>,
}

impl Rules {
    pub(crate) fn apply_to(&mut self, rule: Rule) {
        self.apply.push(rule);
        // The most specific one that matches says how specific the throttle is.
        self.apply.sort_by_key(|rule| std::cmp::Reverse(rule.rank()));
    }

    pub(crate) fn bypass(&mut self, rule: Rule) {
        self.bypass.push(rule);
        self.bypass.sort_by_key(|rule| (rule.awaited.len(), rule.predicates.len(), rule.paths.len()));
    }

    /// Whether each of them can be met.
    pub(crate) fn check(&self) -> Result<(), ThrottleError> {
        self.apply.iter().chain(&self.bypass).try_for_each(Rule::check)
    }

    /// The rule by which a request is counted, if there are rules; else why it is not counted.
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

    /// The rules by which a path may pass: what one server takes for such a path may be another one to the next.
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
                // Those that follow are less specific.
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
    /// Whether the throttle applies.
    pub(crate) async fn applies(mut self) -> bool {
        if self.sure.is_some() {
            self.perhaps.clear();
        }
        self.rank().await.is_some()
    }

    /// By how specific a rule it applies, if it does.
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

/// Whether one of these is so; they are asked one after another, until one is.
async fn any(answers: Vec<BoxFuture<'static, bool>>) -> bool {
    for answer in answers {
        if answer.await {
            return true;
        }
    }
    false
}
