//! The generation of a namespace on a server, which clearing replaces.

use traffik_core::storage::{ErrorKind, Failure};
use traffik_runtimes::Connect;

use super::clock::LAST;
use super::command::{Get, Store, number};
use super::generation::next;
use super::server::{End, Server};

impl<R: Connect> Server<R> {
    /// The generation in use; asks for it, and learns the time, if that has not been done for a while.
    pub(super) async fn generation(&self, name: &str, end: End<'_>) -> Result<u64, Failure> {
        match self.generation.look() {
            (Some(known), false) => Ok(known),
            _ => Box::pin(self.look(name, false, end)).await,
        }
    }

    /// Asks for the generation, the time, and now and then or if it `must` for what was given up.
    pub(super) async fn look(&self, name: &str, must: bool, mut end: End<'_>) -> Result<u64, Failure> {
        let (known, asked) = (self.generation.look().0, self.clock.host());
        let found = self.survey(name, must, end.as_mut()).await?;
        let answered = self.clock.host();
        match found.second {
            Some(second) => self.clock.learn(second, asked, answered),
            None => self.timeless.give(|| self.has_no_time()),
        }
        let generation = match known {
            Some(known) if known > 0 && found.bytes.is_empty() => {
                let bytes = known.to_string();
                let lost = Store { name, bytes: bytes.as_bytes(), expiry: LAST, unique: found.unique };
                // Somebody else may have been faster, perhaps with a newer one: that is known in a second.
                self.call(lost, end).await?;
                known
            }
            // What is no number is none of ours: as if it had never been cleared.
            _ => number(&found.bytes).unwrap_or(0),
        };
        self.generation.learn(generation);
        Ok(generation)
    }

    fn has_no_time(&self) -> String {
        format!(
            "{} does not say its time (`mg` with the flag t), so limits there go by each host's clock: keep \
             the clocks of all hosts in step, or use memcached itself, 1.6 or later",
            self.pool.address
        )
    }

    /// Begins another generation.
    pub(super) async fn begin_generation(&self, name: &str, mut end: End<'_>) -> Result<(), Failure> {
        /// Others who clear it at the same time are as good.
        const ATTEMPTS: usize = 8;
        let known = self.generation.look().0.unwrap_or(0);
        for _ in 0..ATTEMPTS {
            let found = self.call(Get(name), end.as_mut()).await?;
            let old = found.as_ref().and_then(|item| number(&item.bytes)).unwrap_or(0).max(known);
            let new = next(old, self.clock.now());
            let (text, unique) = (new.to_string(), found.map(|item| item.unique));
            let begun = Store { name, bytes: text.as_bytes(), expiry: LAST, unique };
            if self.call(begun, end.as_mut()).await? {
                self.generation.learn(new);
                return Ok(());
            }
        }
        Err(Failure::new(ErrorKind::Contended, "others keep clearing the same namespace"))
    }
}
