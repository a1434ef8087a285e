//! The generation of a namespace on a server, which clearing replaces.

use traffik_core::Clock;
use traffik_core::storage::{ErrorKind, Failure};
use traffik_runtimes::Connect;

use super::command::{Get, Store, number};
use super::generation::next;
use super::server::{End, Server};
use crate::SystemClock;

const FOR_EVER: u32 = 0;

impl<R: Connect> Server<R> {
    /// The generation in use; asks for it if it has not been asked for within the last second.
    pub(super) async fn generation(&self, name: &str, end: End<'_>) -> Result<u64, Failure> {
        match self.generation.look() {
            (Some(known), false) => Ok(known),
            (known, _) => Box::pin(self.ask_generation(name, known, end)).await,
        }
    }

    async fn ask_generation(&self, name: &str, known: Option<u64>, mut end: End<'_>) -> Result<u64, Failure> {
        let number = match (self.call(Get(name), end.as_mut()).await?, known) {
            // What is no number is none of ours: as if it had never been cleared.
            (Some((bytes, _)), _) => number(&bytes).unwrap_or(0),
            (None, Some(known)) if known > 0 => {
                let bytes = known.to_string();
                let lost = Store { name, bytes: bytes.as_bytes(), expiry: FOR_EVER, unique: None };
                // Somebody else may have been faster, perhaps with a newer one: that is known in a second.
                self.call(lost, end).await?;
                known
            }
            (None, _) => 0,
        };
        self.generation.learn(number);
        Ok(number)
    }

    /// Begins another generation.
    pub(super) async fn begin_generation(&self, name: &str, mut end: End<'_>) -> Result<(), Failure> {
        /// Others who clear it at the same time are as good.
        const ATTEMPTS: usize = 8;
        let known = self.generation.look().0.unwrap_or(0);
        for _ in 0..ATTEMPTS {
            let found = self.call(Get(name), end.as_mut()).await?;
            let old = found.as_ref().and_then(|(bytes, _)| number(bytes)).unwrap_or(0).max(known);
            let new = next(old, SystemClock.now());
            let (text, unique) = (new.to_string(), found.map(|(_, unique)| unique));
            let begun = Store { name, bytes: text.as_bytes(), expiry: FOR_EVER, unique };
            if self.call(begun, end.as_mut()).await? {
                self.generation.learn(new);
                return Ok(());
            }
        }
        Err(Failure::new(ErrorKind::Contended, "others keep clearing the same namespace"))
    }
}
