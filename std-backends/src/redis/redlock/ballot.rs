//! The vote of a set of servers.

use traffik_core::storage::BackendError;

/// The answers to one question so far.
pub(super) struct Ballot {
    servers: usize,
    yes: usize,
    no: usize,
    failed: usize,
    failure: Option<BackendError>,
}

impl Ballot {
    pub(super) const fn of(servers: usize) -> Self {
        Self { servers, yes: 0, no: 0, failed: 0, failure: None }
    }

    /// Starts the next question to the servers that said yes, and to those that have yet to answer. The other
    /// answers stay counted.
    pub(super) fn again(self) -> Self {
        Self { yes: 0, ..self }
    }

    /// Counts an answer. A token is a yes.
    pub(super) fn count(&mut self, reply: &Result<Option<u64>, BackendError>) {
        match reply {
            Ok(Some(_)) => self.yes += 1,
            Ok(None) => self.no += 1,
            Err(failure) => {
                self.failed += 1;
                self.failure.get_or_insert_with(|| failure.clone());
            }
        }
    }

    /// Returns the decision once the missing answers cannot change it: whether a majority says yes, or a
    /// failure if too many servers failed for a majority of the others.
    pub(super) fn decision(&self) -> Option<Result<bool, BackendError>> {
        // quorum = ⌊servers / 2⌋ + 1; yes cannot reach it once no + failed > servers − quorum = spare.
        let quorum = self.servers / 2 + 1;
        let spare = self.servers - quorum;
        if self.yes >= quorum {
            return Some(Ok(true));
        }
        if self.no + self.failed <= spare {
            return None;
        }
        let failure = self.failure.as_ref().filter(|_| self.failed > spare);
        Some(failure.map_or(Ok(false), |failure| Err(failure.clone())))
    }
}

#[cfg(test)]
mod tests {
    use traffik_core::storage::ErrorKind;

    use super::*;

    /// Returns the decision after each answer.
    fn decisions(servers: usize, answers: &str) -> String {
        let mut ballot = Ballot::of(servers);
        let reply = |answer| {
            ballot.count(&match answer {
                'y' => Ok(Some(1)),
                'n' => Ok(None),
                _ => Err(BackendError::new(ErrorKind::Unavailable, "refused")),
            });
            match ballot.decision() {
                None => '.',
                Some(Ok(true)) => 'y',
                Some(Ok(false)) => 'n',
                Some(Err(_)) => 'f',
            }
        };
        answers.chars().map(reply).collect()
    }

    #[test]
    fn a_majority_decides_as_soon_as_it_is_there() {
        for (servers, answers, expected) in [
            (3, "yy", ".y"),
            (3, "nn", ".n"),
            (3, "ff", ".f"),
            (3, "fn", ".n"),
            (3, "fyn", "..n"),
            (3, "yfy", "..y"),
            (4, "yyy", "..y"),
            (4, "nn", ".n"),
            (5, "yfyny", "....y"),
            (5, "nff", "..n"),
            (5, "fff", "..f"),
            (5, "yynnf", "....n"),
        ] {
            assert_eq!(decisions(servers, answers), expected, "{answers} of {servers}");
        }
    }
}
