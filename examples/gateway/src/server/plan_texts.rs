//! The throttles as the log names them, and their differences after a reload.

use std::collections::BTreeMap;

use crate::limits::plan::ThrottlePlan;

/// Most throttles that the log describes at the start, and most names in one list.
const MOST: usize = 100;

/// The descriptions of all throttles, by uid.
pub(crate) struct PlanTexts(BTreeMap<String, String>);

impl PlanTexts {
    pub(crate) fn of(plans: &[ThrottlePlan]) -> Self {
        Self(plans.iter().map(|plan| (plan.uid.clone(), plan.to_string())).collect())
    }

    /// Logs a line for each throttle, up to a number of them.
    pub(crate) fn log(&self) {
        self.0.values().take(MOST).for_each(|text| tracing::info!("throttle {text}"));
        if let more @ 1.. = self.0.len().saturating_sub(MOST) {
            tracing::info!("and {more} more throttles");
        }
    }

    /// Returns the words for the throttles that are new, that differ, and that are gone.
    pub(crate) fn changes_since(&self, before: &Self) -> Vec<String> {
        let is_new = |uid: &&String| !before.0.contains_key(*uid);
        let is_changed =
            |uid: &&String| before.0.get(*uid).is_some_and(|text| self.0.get(*uid) != Some(text));
        let lists = [
            ("added", self.0.keys().filter(is_new).collect::<Vec<_>>()),
            ("changed", self.0.keys().filter(is_changed).collect()),
            ("removed", before.0.keys().filter(|uid| !self.0.contains_key(*uid)).collect()),
        ];
        lists.iter().filter(|(_, uids)| !uids.is_empty()).map(|(word, uids)| listed(word, uids)).collect()
    }
}

/// Returns a list of names after a word, up to a number of names.
fn listed(word: &str, uids: &[&String]) -> String {
    let names: Vec<_> = uids.iter().take(MOST).map(|uid| uid.escape_debug().to_string()).collect();
    let more = uids.len().saturating_sub(MOST);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{word} {}{more}", names.join(", "))
}
