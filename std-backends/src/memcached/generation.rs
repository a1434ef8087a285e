//! Which generation of a namespace is in use on a server: clearing begins another one, and leaves the old items to expire.
//!
//! The generation is an item of its own, which is there only once a namespace has been cleared: without it it is
//! generation 0. It never expires, and whoever uses the namespace asks for it every second, so that a server that has to
//! give something up gives it up last. Should it be gone, those who know it put it back.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use traffik_core::storage::{ErrorKind, Failure};
use traffik_core::{Clock, Timestamp};
use traffik_runtimes::Connect;

use super::command::{Add, Get, Replace, number};
use super::server::Server;
use crate::SystemClock;
use crate::util::mutex::lock;

/// For how long a generation is believed in before it is asked for again.
const BELIEVED: Duration = Duration::from_secs(1);

const FOR_EVER: u32 = 0;

#[derive(Default)]
pub(super) struct Generation(Mutex<Option<Known>>);

#[derive(Clone, Copy)]
struct Known {
    number: u64,
    /// When it was asked for last, or is being asked for.
    at: Instant,
}

impl fmt::Debug for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Generation").field(&self.known().map(|known| known.number)).finish()
    }
}

impl Generation {
    fn known(&self) -> MutexGuard<'_, Option<Known>> {
        lock(&self.0)
    }

    /// What is known of it, and whether it is time to ask again. One who is told so is to ask; others go on meanwhile.
    fn look(&self) -> (Option<u64>, bool) {
        let mut known = self.known();
        let Some(Known { number, at }) = &mut *known else { return (None, true) };
        let is_old = at.elapsed() >= BELIEVED;
        if is_old {
            *at = Instant::now();
        }
        (Some(*number), is_old)
    }

    fn learn(&self, number: u64) {
        *self.known() = Some(Known { number, at: Instant::now() });
    }
}

impl<R: Connect> Server<R> {
    /// The generation in use; asks for it if it has not been asked for within the last second.
    pub(super) async fn generation(
        &self,
        name: &str,
        end: Pin<&mut (impl Future<Output = ()> + Send)>,
    ) -> Result<u64, Failure> {
        match self.generation.look() {
            (Some(known), false) => Ok(known),
            (known, _) => Box::pin(self.ask_generation(name, known, end)).await,
        }
    }

    async fn ask_generation(
        &self,
        name: &str,
        known: Option<u64>,
        mut end: Pin<&mut (impl Future<Output = ()> + Send)>,
    ) -> Result<u64, Failure> {
        let number = match (self.call(Get(name), end.as_mut()).await?, known) {
            // What is no number is none of ours: as if it had never been cleared.
            (Some((bytes, _)), _) => number(&bytes).unwrap_or(0),
            (None, Some(known)) if known > 0 => {
                let bytes = known.to_string();
                let lost = Add { name, bytes: bytes.as_bytes(), expiry: FOR_EVER };
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
    pub(super) async fn begin_generation(
        &self,
        name: &str,
        mut end: Pin<&mut (impl Future<Output = ()> + Send)>,
    ) -> Result<(), Failure> {
        /// Others who clear it at the same time are as good.
        const ATTEMPTS: usize = 8;
        let known = self.generation.look().0.unwrap_or(0);
        for _ in 0..ATTEMPTS {
            let found = self.call(Get(name), end.as_mut()).await?;
            let old = found.as_ref().and_then(|(bytes, _)| number(bytes)).unwrap_or(0).max(known);
            let new = next(old, SystemClock.now());
            let text = new.to_string();
            let (bytes, expiry) = (text.as_bytes(), FOR_EVER);
            let begun = match found {
                None => self.call(Add { name, bytes, expiry }, end.as_mut()).await?,
                Some((_, unique)) => self.call(Replace { name, bytes, expiry, unique }, end.as_mut()).await?,
            };
            if begun {
                self.generation.learn(new);
                return Ok(());
            }
        }
        Err(Failure::new(ErrorKind::Contended, "others keep clearing the same namespace"))
    }
}

/// One that was never in use, also if the last one has been lost: later than all that began before now.
fn next(old: u64, now: Timestamp) -> u64 {
    old.saturating_add(1).max(now.as_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generation_is_asked_for_once_a_second_by_one() {
        let generation = Generation::default();
        assert_eq!(generation.look(), (None, true));
        generation.learn(7);
        assert_eq!(generation.look(), (Some(7), false));
        if let Some(known) = &mut *generation.known() {
            known.at = Instant::now().checked_sub(BELIEVED).unwrap();
        }
        assert_eq!([generation.look(), generation.look()], [(Some(7), true), (Some(7), false)]);
    }

    #[test]
    fn generations_grow_whatever_the_clock_says() {
        assert_eq!(next(0, Timestamp::from_micros(5)), 5);
        assert_eq!(next(9, Timestamp::from_micros(5)), 10);
    }
}
