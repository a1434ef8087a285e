//! A server beside its connections: its time, its generation, its faults.

use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use super::clock::ServerClock;
use super::command::version;
use super::failure::Trouble;
use super::generation::Generation;
use super::list::ServerList;
use super::meta::{Beside, Found, GetGeneration, beside};
use super::wire::{Stream, Wire, number};
use crate::util::evictions::EvictionWatch;
use crate::util::faults::Faults;
use crate::util::race::{Either, race};
use crate::util::warning::Warning;

/// The list of servers on a server, beside that of this storage.
pub(super) enum Listed {
    /// They are the same, or that one may stay.
    Same,
    /// This storage's list is to be put in the place of what has this mark, if there is anything.
    Other { unique: Option<u64> },
}

/// A server as its connections and calls know it.
pub(super) struct Host {
    /// The server's name in failures, such as `memcached at 10.0.0.7:11211`.
    pub(super) title: String,
    pub(super) faults: Faults,
    /// The item that tells the generation in use.
    pub(super) item: String,
    pub(super) generation: Generation,
    pub(super) clock: ServerClock,
    /// The warning that it does not say its time.
    pub(super) timeless: Arc<Warning>,
    pub(super) evictions: EvictionWatch,
    pub(super) list: Arc<ServerList>,
}

impl Host {
    /// Asks on a new connection what the server is, and if that is not known yet for all that calls need to
    /// know, in one round trip: so the first one takes no more than others. Returns the version.
    ///
    /// # Errors
    ///
    /// Fails also if what is asked beside is not answered before `patience` ends: the next connection is made
    /// without it.
    pub(super) async fn greet<T: Stream>(
        &self,
        wire: &mut Wire<T>,
        patience: impl Future<Output = ()>,
    ) -> Result<String, Trouble> {
        if self.generation.number().is_some() {
            return version(wire, "").await.map_err(Trouble::Broken);
        }
        let (survey, asked) = (self.survey(false), self.clock.host());
        let version = version(wire, &survey.text(wire.number)).await.map_err(Trouble::Broken)?;
        if !can_count(&version) {
            return Ok(version);
        }
        let found = survey.read(wire).await.map_err(Trouble::Broken)?;
        self.learn(&found, asked, number(&found.bytes).unwrap_or(0));
        if survey.list.is_some() {
            let Some(listed) = self.read_beside(wire, patience).await else {
                return Err(Trouble::Broken(io::ErrorKind::UnexpectedEof.into()));
            };
            if let Listed::Other { unique } = listed {
                self.list.put(wire, unique).await.map_err(Trouble::Broken)?;
            }
        }
        Ok(version)
    }

    /// Returns what to ask for: the generation, and rarely or if it `must` what is asked beside.
    pub(super) fn survey(&self, must: bool) -> GetGeneration<'_> {
        let is_due = self.evictions.begin(Instant::now()) || must;
        GetGeneration { name: &self.item, list: is_due.then_some(&self.list.item) }
    }

    /// Notes the time and the generation.
    pub(super) fn learn(&self, found: &Found, asked: u64, generation: u64) {
        match found.second {
            Some(second) => self.clock.learn(second, asked, self.clock.host()),
            None => self.timeless.give(|| self.has_no_time()),
        }
        self.generation.learn(generation);
    }

    /// Reads what was asked beside a survey, until `patience` ends. Returns how the list
    /// of servers was found there; `None` if the connection is not to be used again, for the rest of
    /// an answer may be on its way.
    pub(super) async fn read_beside<T: Stream>(
        &self,
        wire: &mut Wire<T>,
        patience: impl Future<Output = ()>,
    ) -> Option<Listed> {
        let Either::Left(Ok(Beside { list, evictions: Ok(count) })) =
            race(beside(wire), pin!(patience)).await
        else {
            self.evictions.refused(Instant::now());
            return None;
        };
        if self.evictions.end(count) > 0 {
            self.evictions.evictions.warn(|| self.has_given_up(count));
        }
        let is_other = self.list.compare(&self.title, list.as_ref().map(|item| &*item.bytes));
        Some(if is_other { Listed::Other { unique: list.map(|item| item.unique) } } else { Listed::Same })
    }

    fn has_no_time(&self) -> String {
        format!(
            "{} does not say its time (`mg` with the flag t), so limits there go by each host's clock: keep \
             the clocks of all hosts in step, or use memcached itself, 1.6 or later",
            self.title
        )
    }

    fn has_given_up(&self, count: u64) -> String {
        format!(
            "{} has given up {count} items for want of memory: each key among them has its whole limit \
             again; give it more memory (-m), or use one for limits alone",
            self.title
        )
    }
}

/// Whether a server of this version knows `ma`; what is no version of memcached's own is not judged.
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
