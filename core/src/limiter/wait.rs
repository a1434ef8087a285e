//! The loop that waits until a hit is admitted, for both limiters.

use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use core::time::Duration;

use super::WaitError;
use super::bound::WaitBound;
use super::delayed::DelayedAdmission;
use super::target::WaitTarget;
use crate::storage::{Ticket, WaitQueue};
use crate::{Cost, Hit, Key, Outcome, Rate, Strategy, Timer, Timestamp, Verdict};

/// The due time that stands for "not known", since an `Option` would take more room.
const NEVER: Timestamp = Timestamp::MAX;

/// Waits until `hit` is admitted, and charges it; no longer than `bound` allows.
///
/// Only the first in a queue calls the storage, and sleeps for as long as its denial says. A storage of this
/// process then decides as of the time at which the hit was due, so the next turn is counted from there.
///
/// The future is small, since firmware reserves its room for ever. Verdicts and states leave their scopes
/// before anything else is awaited, and a plain cost stays a number, without its default class.
#[expect(clippy::manual_async_fn, reason = "its future would keep each argument twice")]
pub(super) fn wait<S: Strategy, L: WaitTarget<S>, K: Key + ?Sized>(
    limiter: &L,
    key: &K,
    hit: impl Into<Hit<S::Cost>> + Copy,
    timer: &impl Timer,
    bound: impl WaitBound,
) -> impl Future<Output = Result<S::Verdict, WaitError<L::Error>>> {
    async move {
        let mut time_up = pin!(bound.time_up());
        // A nested block drops its place in the queue at its end, before the delay begins.
        let admitted = async {
            // Invariant: `denied` holds the wait of the last denial until the loop has slept for it; `due` is
            // the time at which that wait ends, or `NEVER` if the next check decides by the present.
            let (mut turn, mut denied, mut due, mut leeway) = (None, None, NEVER, 0);
            loop {
                if let (Some(queue), None) = (limiter.wait_queue(), &turn)
                    && (denied.is_some() || is_awaited(queue, &key, hit.into()))
                {
                    if denied.is_none() && can_never_pass(limiter.strategy(), &hit.into()) {
                        return Err(WaitError::Never);
                    }
                    let (first, was_behind) =
                        become_first(limiter, queue, key, hit, &bound, time_up.as_mut()).await?;
                    turn = Some(first);
                    if was_behind {
                        // The denial is out of date: others were admitted meanwhile.
                        (denied, due) = (None, NEVER);
                    }
                }
                if let Some(wait) = denied.take()
                    && (bound.left().is_some_and(|left| wait > left)
                        || before(time_up.as_mut(), pin!(timer.sleep(wait))).await.is_none())
                {
                    return Err(WaitError::TooLong { wait });
                }
                // `due..due + leeway`: the storage decides as of `due`, or as of `now - leeway` if that is
                // later.
                let is_due = due != NEVER;
                let (answer, at) = limiter.check_due(key, hit.into(), due..due.plus_micros(leeway.into()));
                due = at.unwrap_or(NEVER);
                let verdict = answer.await.map_err(WaitError::Storage)?;
                match verdict.outcome() {
                    Outcome::Allow { after } => return Ok((verdict, after)),
                    // Others were admitted in the meantime: the next check decides by the present.
                    Outcome::Deny { .. } if is_due => due = NEVER,
                    Outcome::Deny { retry_after } => {
                        denied = Some(retry_after);
                        (due, leeway) = (due + retry_after, leeway_of(&verdict));
                    }
                    Outcome::Never => return Err(WaitError::Never),
                }
            }
        };
        let (verdict, after) = admitted.await?;
        if after.is_zero() {
            return Ok(verdict);
        }
        // Dropping `delayed` gives the turn up, so the block ends before the refunds are awaited.
        let (wait, refunds) = {
            let mut delayed = DelayedAdmission::enter(limiter, key, hit, verdict, after, timer.stopwatch());
            if bound.left().is_none_or(|left| delayed.left() <= left) {
                let mut sleep = pin!(timer.sleep(delayed.left()));
                let reached = poll_fn(|context| {
                    while delayed.poll_sooner(context) {
                        sleep.set(timer.sleep(delayed.left()));
                    }
                    poll_before(time_up.as_mut(), sleep.as_mut(), context)
                });
                if reached.await.is_some() {
                    return Ok(delayed.leave());
                }
            }
            (delayed.left(), delayed.give_up())
        };
        bound.refund(limiter, key, refunds).await;
        Err(WaitError::TooLong { wait })
    }
}

/// Returns the most by which a storage may backdate a hit that comes late, in microseconds.
///
/// It is less than the shortest interval of the limits that denied the hit, so no other hit is admitted at
/// the same moment. It is 1/64 s at most, which is the tick of the coarsest timer in use, that of Windows. A
/// longer lateness has another cause, such as a suspended task, and is not made up for. The result is 0 if a
/// limit reports no rate.
fn leeway_of<V: Verdict>(denied: &V) -> u16 {
    // leeway = min(15 625, period / limit - 1) over all limits; 15 625 µs are 1/64 s.
    let mut leeway = 15_625;
    denied.for_each(&mut |decision| {
        let rate = decision.rate().unwrap_or(Rate::per_second(u32::MAX));
        let interval = rate.period_micros().checked_div(rate.limit().into()).unwrap_or(u64::MAX);
        if !rate.is_unlimited() {
            leeway = interval.saturating_sub(1).min(leeway.into()) as u16;
        }
    });
    leeway
}

/// Joins a queue and waits until the place is the first. Reports whether others were in front.
#[expect(clippy::manual_async_fn, reason = "its future would keep each argument twice")]
fn become_first<'a, S: Strategy, L: WaitTarget<S>, K: Key + ?Sized>(
    limiter: &L,
    queue: &'a dyn WaitQueue,
    key: &K,
    hit: impl Into<Hit<S::Cost>> + Copy,
    bound: &impl WaitBound,
    mut time_up: Pin<&mut impl Future<Output = ()>>,
) -> impl Future<Output = Result<(QueuePosition<'a>, bool), WaitError<L::Error>>> {
    async move {
        let mut joined = QueuePosition::join(queue, key, hit.into());
        // Invariant: the hit is in the queue if `joined` is `Ok`. Once `is_failing`, the next turn of the
        // loop only estimates the wait for the error: the queue is full, or the time is up.
        let mut is_failing = joined.is_err();
        loop {
            let left = bound.left().filter(|_| !is_failing);
            if is_failing || left.is_some() {
                let expected = {
                    let ticket = joined.as_ref().map_or_else(|ticket| *ticket, |turn| turn.ticket);
                    let ahead = |visit: &mut dyn FnMut(u32)| queue.ahead(ticket, visit);
                    limiter.estimate_wait(key, hit.into(), &ahead, left.unwrap_or(Duration::MAX))
                };
                let wait = expected.await.map_err(WaitError::Storage)?;
                if is_failing || bound.left().is_some_and(|left| wait > left) {
                    return Err(WaitError::TooLong { wait });
                }
            }
            let Ok(turn) = &joined else { continue };
            let first = before(time_up.as_mut(), pin!(turn.wait_turn())).await;
            match (first, joined) {
                (Some(was_behind), Ok(turn)) => return Ok((turn, was_behind)),
                (_, still) => {
                    joined = still;
                    is_failing = true;
                }
            }
        }
    }
}

/// Returns the output of a future, or `None` if `time_up` completes before.
fn poll_before<F: Future>(
    time_up: Pin<&mut impl Future<Output = ()>>,
    future: Pin<&mut F>,
    context: &mut Context<'_>,
) -> Poll<Option<F::Output>> {
    match future.poll(context) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => time_up.poll(context).map(|()| None),
    }
}

/// Waits for a future, or for `time_up`: returns `None` if `time_up` completes before.
fn before<F: Future>(
    mut time_up: Pin<&mut impl Future<Output = ()>>,
    mut future: Pin<&mut F>,
) -> impl Future<Output = Option<F::Output>> {
    poll_fn(move |context| poll_before(time_up.as_mut(), future.as_mut(), context))
}

/// Reports whether the limit can never admit the hit.
///
/// A fresh key decides that: it is refused for ever only if every key is, at any time.
fn can_never_pass<S: Strategy>(strategy: &S, hit: &Hit<S::Cost>) -> bool {
    let fresh = strategy.decide(&mut S::State::default(), hit, Timestamp::EPOCH);
    fresh.outcome() == Outcome::Never
}

/// Reports whether others of this class wait. It is a function so that the future does not keep its key.
fn is_awaited<C: Cost>(queue: &dyn WaitQueue, key: &(impl Key + ?Sized), hit: Hit<C>) -> bool {
    !queue.is_empty(&hit.class.waiting_for(key))
}

/// A place in a queue. Dropping it wakes the next waiter.
struct QueuePosition<'a> {
    queue: &'a dyn WaitQueue,
    ticket: Ticket,
}

impl<'a> QueuePosition<'a> {
    /// Joins a queue, unless it is full: then returns the ticket that it would have been.
    fn join<C: Cost>(
        queue: &'a dyn WaitQueue,
        key: &(impl Key + ?Sized),
        hit: Hit<C>,
    ) -> Result<Self, Ticket> {
        let key = hit.class.waiting_for(key);
        // A place holds one cost. A hit with several different costs counts as 0 there, so that those behind
        // it never expect a longer wait than they have.
        let largest = hit.cost.largest();
        let cost = if C::uniform(largest) == hit.cost { largest } else { 0 };
        queue.try_join(&key, cost).map(|ticket| Self { queue, ticket })
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

impl Drop for QueuePosition<'_> {
    fn drop(&mut self) {
        self.queue.leave(self.ticket);
    }
}

#[cfg(test)]
mod tests {
    use core::future::ready;

    use super::*;
    use crate::{Class, Fixed, LeakyBucketQueue, Limiter, ManualClock, Rate, SlidingLog, TokenBucket};

    struct Immediate;

    impl Timer for Immediate {
        fn sleep(&self, _: Duration) -> impl Future<Output = ()> + Send + 'static {
            ready(())
        }
    }

    fn size<S: Strategy>(strategy: S, hit: impl Into<Hit<S::Cost>> + Copy) -> usize {
        let limiter = Limiter::new(strategy, Fixed::<S, _, 4>::new(ManualClock::default(), 1));
        size_of_val(&limiter.until_ready_n("key", hit, &Immediate))
    }

    /// Firmware reserves the future for ever: 320 bytes, of which 88 are for a place in a line and for a
    /// bound. A hit that names its class is kept twice, which makes 352.
    #[test]
    fn the_future_holds_one_verdict_and_no_state() {
        let bytes = size(TokenBucket::new(Rate::per_second(1)), 1);
        assert!(bytes <= 320, "{bytes} bytes");
        assert_eq!(size(LeakyBucketQueue::new(Rate::per_second(1)), 1), bytes);
        assert_eq!(size(SlidingLog::<64>::new(Rate::per_second(1)).unwrap(), 1), bytes);
        let by_class = size(TokenBucket::new(Rate::per_second(1)), Hit::new(1).with_class(Class::new()));
        assert!(by_class <= 352, "{by_class} bytes");
    }
}
