//! A server as its connections and calls share it: its time, its generation, its faults.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use super::clock::ServerClock;
use super::command::version;
use super::failure::CallFailure;
use super::generation::Generation;
use super::list::ServerList;
use super::meta::{GenerationCommand, GenerationItem, SurveyExtras, read_survey_extras};
use super::wire::{Stream, Wire, number};
use crate::util::evictions::EvictionWatch;
use crate::util::faults::Faults;
use crate::util::race::{Either, race};
use crate::util::warning::Warning;

/// The comparison of this storage's list of servers with the list on a server.
pub(super) enum ListComparison {
    /// The lists are the same, or the one on the server may stay.
    Same,
    /// This storage's list has to replace the item of this CAS version, if there is one.
    Other { unique: Option<u64> },
}

/// The state of one server that its connections and calls share.
pub(super) struct Host {
    /// The server's name in failures, such as `memcached at 10.0.0.7:11211`.
    pub(super) title: String,
    pub(super) faults: Faults,
    /// The name of the item that holds the generation.
    pub(super) item: String,
    pub(super) generation: Generation,
    pub(super) clock: ServerClock,
    /// The warning that the server does not report its time.
    pub(super) timeless: Arc<Warning>,
    pub(super) evictions: EvictionWatch,
    pub(super) list: Arc<ServerList>,
}

impl Host {
    /// Asks on a new connection for the server's version, and returns it. While the generation is not known,
    /// also sends the [survey](Self::survey) in the same round trip, so that a first call takes no longer
    /// than others.
    ///
    /// # Errors
    ///
    /// Also fails if the server does not answer the extras of the survey before `patience` ends. The next
    /// connection is made without them.
    pub(super) async fn greet<T: Stream>(
        &self,
        wire: &mut Wire<T>,
        patience: impl Future<Output = ()>,
    ) -> Result<String, CallFailure> {
        if self.generation.number().is_some() {
            return version(wire, "").await.map_err(CallFailure::Broken);
        }
        let (survey, asked) = (self.survey(false), self.clock.host());
        let version = version(wire, &survey.text(wire.number)).await.map_err(CallFailure::Broken)?;
        if !can_count(&version) {
            return Ok(version);
        }
        let found = survey.read(wire).await.map_err(CallFailure::Broken)?;
        self.learn(&found, asked, number(&found.bytes).unwrap_or(0));
        if survey.list.is_some() {
            let Some(comparison) = self.read_survey_extras(wire, patience).await else {
                return Err(CallFailure::Broken(io::ErrorKind::UnexpectedEof.into()));
            };
            if let ListComparison::Other { unique } = comparison {
                self.list.put(wire, unique).await.map_err(CallFailure::Broken)?;
            }
        }
        Ok(version)
    }

    /// Returns the survey to send: the generation, and the extras if they are due or if `must`.
    pub(super) fn survey(&self, must: bool) -> GenerationCommand<'_> {
        let is_due = self.evictions.begin(Instant::now()) || must;
        GenerationCommand { name: &self.item, list: is_due.then_some(&self.list.item) }
    }

    /// Records the time and the generation.
    pub(super) fn learn(&self, found: &GenerationItem, asked: u64, generation: u64) {
        match found.second {
            Some(second) => self.clock.learn(second, asked, self.clock.host()),
            None => self.timeless.give(|| self.no_time_warning()),
        }
        self.generation.store(generation);
    }

    /// Reads the extras of a survey until `patience` ends, and compares the lists. Returns `None` if the
    /// connection must not be used again, since the rest of an answer may be on its way.
    pub(super) async fn read_survey_extras<T: Stream>(
        &self,
        wire: &mut Wire<T>,
        patience: impl Future<Output = ()>,
    ) -> Option<ListComparison> {
        let Either::Left(Ok(SurveyExtras { list, evictions: Ok(count) })) =
            race(read_survey_extras(wire), pin!(patience)).await
        else {
            self.evictions.refused(Instant::now());
            return None;
        };
        if self.evictions.end(count) > 0 {
            self.evictions.evictions.warn(|| self.eviction_warning(count));
        }
        let is_other = self.list.compare(&self.title, list.as_ref().map(|item| &*item.bytes));
        Some(if is_other {
            ListComparison::Other { unique: list.map(|item| item.unique) }
        } else {
            ListComparison::Same
        })
    }

    fn no_time_warning(&self) -> String {
        format!(
            "{} does not report its time (`mg` with the flag t), so limits there use each host's clock; keep \
             the clocks of all hosts in step, or use memcached itself, 1.6 or later",
            self.title
        )
    }

    fn eviction_warning(&self, count: u64) -> String {
        format!(
            "{} has evicted {count} items for lack of memory: each key among them has its whole limit \
             again; give it more memory (-m), or use one for limits alone",
            self.title
        )
    }
}

/// Returns whether a server of this version knows `ma`. A text that is no version of memcached's own counts
/// as recent.
pub(super) fn can_count(version: &str) -> bool {
    let mut numbers = version.split(['.', '-', ' ']).map_while(|number| number.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => (major, minor) >= (1, 6),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_judged_by_what_they_know() {
        for good in ["1.6.18", "1.6", "1.10.2", "2.0.0-rc1", "memcached-compatible"] {
            assert!(can_count(good), "{good}");
        }
        assert!(!can_count("1.5.22") && !can_count("1.4.39-beta"));
    }
}
