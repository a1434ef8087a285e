//! Waiting until a hit is admitted: the same for both limiters.

use core::future::{Future, poll_fn};
use core::time::Duration;

use super::WaitError;
use crate::storage::{Lines, Place};
use crate::{Hit, Key, Outcome, Strategy, Timer, Timestamp, Verdict};

/// A limiter, as far as waiting needs it.
pub(super) trait WaitTarget<S: Strategy> {
    /// The error of the storage.
    type Error;
    /// The answer of the storage to a check.
    type Answer: Future<Output = Result<S::Verdict, Self::Error>>;

    fn strategy(&self) -> &S;

    fn lines(&self) -> Option<&dyn Lines>;

    fn check<K: Key + ?Sized>(&self, key: &K, cost: S::Cost) -> Self::Answer;

    /// Refunds an admission if the storage can do that at once. A storage that fails keeps the charge.
    fn refund_now<K: Key + ?Sized>(&self, key: &K, cost: S::Cost, admitted: &S::Verdict);
}

/// Waits until `cost` is admitted, and takes it.
///
/// Only the first of a line asks the storage, and sleeps for as long as its denial says.
///
/// The future is kept small, since firmware reserves its room for ever: verdicts and states leave their scopes
/// before anything else is awaited.
#[expect(clippy::manual_async_fn, reason = "its future would keep each argument twice")]
pub(super) fn wait<S: Strategy, L: WaitTarget<S>, K: Key + ?Sized>(
    limiter: &L,
    key: &K,
    cost: S::Cost,
    timer: &impl Timer,
) -> impl Future<Output = Result<S::Verdict, WaitError<L::Error>>> {
    async move {
        let mut turn = None;
        if let Some(lines) = limiter.lines()
            && !lines.is_empty(&key)
        {
            if can_never_pass(limiter.strategy(), cost) {
                return Err(WaitError::Never);
            }
            turn.insert(Turn::join(lines, key)).came_later().await;
        }
        let (verdict, after) = loop {
            let retry_after = {
                let verdict = limiter.check(key, cost).await.map_err(WaitError::Storage)?;
                match verdict.outcome() {
                    Outcome::Allow { after: Duration::ZERO } => return Ok(verdict),
                    Outcome::Allow { after } => break (verdict, after),
                    Outcome::Deny { retry_after } => retry_after,
                    Outcome::Never => return Err(WaitError::Never),
                }
            };
            if let (Some(lines), None) = (limiter.lines(), &turn)
                && turn.insert(Turn::join(lines, key)).came_later().await
            {
                continue;
            }
            timer.sleep(retry_after).await;
        };
        drop(turn);
        let mut delayed = Delayed { limiter, key, cost, verdict, is_over: false };
        timer.sleep(after).await;
        delayed.is_over = true;
        Ok(delayed.verdict.clone())
    }
}

/// Decides on a fresh key: it is refused for ever only what every key is refused for ever, at any time.
fn can_never_pass<S: Strategy>(strategy: &S, cost: S::Cost) -> bool {
    let fresh = strategy.decide(&mut S::State::default(), &Hit::new(cost), Timestamp::EPOCH);
    fresh.outcome() == Outcome::Never
}

/// A place in a line, which goes to the next one when it is dropped.
struct Turn<'a> {
    lines: &'a dyn Lines,
    place: Place,
}

impl<'a> Turn<'a> {
    fn join<K: Key + ?Sized>(lines: &'a dyn Lines, key: &K) -> Self {
        Self { lines, place: lines.join(&key) }
    }

    /// Waits for the turn. Reports whether others were in front.
    fn came_later(&self) -> impl Future<Output = bool> {
        let mut later = false;
        poll_fn(move |context| {
            let turn = self.lines.poll_turn(self.place, context);
            later |= turn.is_pending();
            turn.map(|()| later)
        })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.lines.leave(self.place);
    }
}

/// An admission whose time has not come, refunded when it is dropped before.
struct Delayed<'a, S: Strategy, L: WaitTarget<S>, K: Key + ?Sized> {
    limiter: &'a L,
    key: &'a K,
    cost: S::Cost,
    verdict: S::Verdict,
    is_over: bool,
}

impl<S: Strategy, L: WaitTarget<S>, K: Key + ?Sized> Drop for Delayed<'_, S, L, K> {
    fn drop(&mut self) {
        if !self.is_over {
            self.limiter.refund_now(self.key, self.cost, &self.verdict);
        }
    }
}

#[cfg(test)]
mod tests {
    use core::future::ready;

    use super::*;
    use crate::{Fixed, LeakyBucketQueue, Limiter, ManualClock, Rate, SlidingLog, TokenBucket};

    struct Immediate;

    impl Timer for Immediate {
        fn sleep(&self, _: Duration) -> impl Future<Output = ()> + Send + 'static {
            ready(())
        }
    }

    fn size<S: Strategy>(strategy: S) -> usize {
        let limiter = Limiter::new(strategy, Fixed::<S, _, 4>::new(ManualClock::default(), 1));
        size_of_val(&limiter.until_ready("key", &Immediate))
    }

    /// Firmware reserves it for ever.
    #[test]
    fn the_future_holds_one_verdict_and_no_state() {
        let held = size(TokenBucket::new(Rate::per_second(1)));
        assert!(held <= 240, "{held} bytes");
        assert_eq!(size(LeakyBucketQueue::new(Rate::per_second(1))), held);
        assert_eq!(size(SlidingLog::<64>::new(Rate::per_second(1)).unwrap()), held);
    }
}
