//! Waiting until a hit is admitted: the same for both limiters.

use core::future::{Future, poll_fn};
use core::time::Duration;

use super::WaitError;
use crate::storage::{Ticket, WaitQueue};
use crate::{Hit, Key, Outcome, Strategy, Timer, Timestamp, Verdict};

/// A limiter, as far as waiting needs it.
pub(super) trait WaitTarget<S: Strategy> {
    /// The error of the storage.
    type Error;
    /// The answer of the storage to a check.
    type Answer: Future<Output = Result<S::Verdict, Self::Error>>;

    fn strategy(&self) -> &S;

    fn wait_queue(&self) -> Option<&dyn WaitQueue>;

    fn check<K: Key + ?Sized>(&self, key: &K, cost: S::Cost) -> Self::Answer;

    /// Refunds an admission if the storage can do that at once. A storage that fails keeps the charge.
    fn refund_now<K: Key + ?Sized>(&self, key: &K, cost: S::Cost, admitted: &S::Verdict);
}

/// Waits until `cost` is admitted, and takes it.
///
/// Only the first in a queue asks the storage, and sleeps for as long as its denial says.
///
/// The future is kept small, since firmware reserves its room for ever: verdicts and states leave their
/// scopes before anything else is awaited.
#[expect(clippy::manual_async_fn, reason = "its future would keep each argument twice")]
pub(super) fn wait<S: Strategy, L: WaitTarget<S>, K: Key + ?Sized>(
    limiter: &L,
    key: &K,
    cost: S::Cost,
    timer: &impl Timer,
) -> impl Future<Output = Result<S::Verdict, WaitError<L::Error>>> {
    async move {
        let mut turn = None;
        if let Some(queue) = limiter.wait_queue()
            && !queue.is_empty(&key)
        {
            if can_never_pass(limiter.strategy(), cost) {
                return Err(WaitError::Never);
            }
            turn.insert(Turn::join(queue, key)).wait_turn().await;
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
            if let (Some(queue), None) = (limiter.wait_queue(), &turn)
                && turn.insert(Turn::join(queue, key)).wait_turn().await
            {
                // The denial is out of date: others were admitted meanwhile.
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

/// A place in a queue, which goes to the next waiter when it is dropped.
struct Turn<'a> {
    queue: &'a dyn WaitQueue,
    ticket: Ticket,
}

impl<'a> Turn<'a> {
    fn join<K: Key + ?Sized>(queue: &'a dyn WaitQueue, key: &K) -> Self {
        Self { queue, ticket: queue.join(&key) }
    }

    /// Waits until the ticket is the first. Reports whether others were in front.
    fn wait_turn(&self) -> impl Future<Output = bool> {
        let mut is_behind = false;
        poll_fn(move |context| {
            let turn = self.queue.poll_turn(self.ticket, context);
            is_behind |= turn.is_pending();
            turn.map(|()| is_behind)
        })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.queue.leave(self.ticket);
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
