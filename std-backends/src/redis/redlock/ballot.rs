//! The answer of a majority of servers.

use traffik_core::storage::BackendError;

/// The answers of servers to one question, as far as they have come.
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

    /// Begins the next question to the servers that said yes, and to those yet to answer. The others count as
    /// they did.
    pub(super) fn again(self) -> Self {
        Self { yes: 0, ..self }
    }

    /// Counts an answer: a token is a yes.
    pub(super) fn count(&mut self, told: &Result<Option<u64>, BackendError>) {
        match told {
            Ok(Some(_)) => self.yes += 1,
            Ok(None) => self.no += 1,
            Err(failure) => {
                self.failed += 1;
                self.failure.get_or_insert_with(|| failure.clone());
            }
        }
    }

    /// Returns the decision once the answers that are missing cannot change it: whether a majority says yes,
    /// or a failure if so many failed that the others are none.
    pub(super) fn decision(&self) -> Option<Result<bool, BackendError>> {
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
        let told = |answer| {
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
        answers.chars().map(told).collect()
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
