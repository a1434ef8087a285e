//! Waiting until a hit is admitted: in line, where the storage has lines.

use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll, ready};
use core::time::Duration;

use super::{Limiter, WaitError};
use crate::storage::{Ahead, Foreseen, Lines, Place, Waiter};
use crate::{Cost, Hit, Key, Op, Outcome, Storage, Strategy, Timer, Timestamp, Verdict};

impl<S: Strategy, M: Storage<S>> Limiter<S, M> {
    /// Waits until one is admitted, and takes it.
    ///
    /// In a storage that has [lines](Storage::lines), such as `Memory`, this is fair:
    ///
    /// * Those who wait for a key are served in the order in which they came. Who comes while others wait comes last, also
    ///   with a smaller cost. Who only checks does not stand in line, and may take what is there.
    /// * Each is woken once, at its time. Only if things turn out otherwise than could be foreseen when it came – somebody
    ///   in front gave up, somebody checked, a refund, an alarm that rang late, a cost of more than one, a state too long
    ///   to look ahead with, as that of a log – it may be woken once more, when its turn comes.
    /// * A future that is dropped takes nothing, and its turn goes to the next at once. What it has been admitted to with a
    ///   delay, as by a queue, is refunded as far as the strategy can.
    /// * A line has a place for each future that waits, and nothing of it is left after that.
    /// * A future that is neither polled nor dropped holds up those behind it.
    ///
    /// In any other storage, such as [`Fixed`](crate::Fixed), each asks again after its own denial, in no order.
    pub fn until_ready<K: Key + ?Sized>(
        &self,
        key: &K,
        timer: &impl Timer,
    ) -> impl Future<Output = Result<S::Verdict, WaitError>> {
        self.until_ready_n(key, S::Cost::uniform(1), timer)
    }

    /// Waits until `cost` is admitted, all of it at once, and takes it; as [`until_ready`](Self::until_ready) does.
    pub async fn until_ready_n<K: Key + ?Sized>(
        &self,
        key: &K,
        cost: S::Cost,
        timer: &impl Timer,
    ) -> Result<S::Verdict, WaitError> {
        let lines = self.storage.lines();
        let mut waiting = Waiting { limiter: self, lines, key, cost, place: None, delayed: None };
        let mut sleep = pin!(None);
        poll_fn(|context| waiting.poll(context, sleep.as_mut(), |wait| timer.sleep(wait))).await
    }
}

/// Who waits. In one piece, and not as several futures within each other, for in firmware it takes room for ever.
struct Waiting<'a, S: Strategy, M: Storage<S>, K: Key + ?Sized> {
    limiter: &'a Limiter<S, M>,
    lines: Option<&'a dyn Lines>,
    key: &'a K,
    cost: S::Cost,
    /// Where it stands in line, once it does.
    place: Option<Place>,
    /// What it has been admitted to, if the time of that has not come.
    delayed: Option<S::Verdict>,
}

impl<'a, S: Strategy, M: Storage<S>, K: Key + ?Sized> Waiting<'a, S, M, K> {
    fn poll<F: Future<Output = ()>>(
        &mut self,
        context: &mut Context<'_>,
        mut sleep: Pin<&mut Option<F>>,
        start: impl Fn(Duration) -> F,
    ) -> Poll<Result<S::Verdict, WaitError>> {
        loop {
            if let Some(sleeping) = sleep.as_mut().as_pin_mut() {
                let is_called = self.place.is_some() && self.poll_turn(context).is_ready();
                if !is_called {
                    ready!(sleeping.poll(context));
                }
                sleep.set(None);
                if let Some(verdict) = self.delayed.take() {
                    return Poll::Ready(Ok(verdict));
                }
                self.set_alarm(None);
            }
            let asleep = match self.lines {
                Some(lines) if self.place.is_none() && !lines.is_empty(&self.key) => self.line_up()?,
                _ => {
                    ready!(self.poll_turn(context));
                    let now = self.limiter.now();
                    let verdict = self.apply(&Op::Check(self.hit()), now)?;
                    match verdict.outcome() {
                        Outcome::Never => return Poll::Ready(Err(WaitError::Never)),
                        Outcome::Deny { retry_after } => self.wait(now, retry_after),
                        Outcome::Allow { after } => {
                            self.leave();
                            if after.is_zero() {
                                return Poll::Ready(Ok(verdict));
                            }
                            self.delayed = Some(verdict);
                            Some(after)
                        }
                    }
                }
            };
            if let Some(wait) = asleep {
                sleep.set(Some(start(wait)));
            }
        }
    }

    /// Joins the line behind others; tells for how long to sleep, if that can be foreseen.
    fn line_up(&mut self) -> Result<Option<Duration>, WaitError> {
        let now = self.limiter.now();
        let afresh = self.limiter.limit.decide(&mut S::State::default(), &self.hit(), now);
        if afresh.outcome() == Outcome::Never {
            return Err(WaitError::Never);
        }
        Ok(self.join(now, None))
    }

    /// Waits out a denial: at its place, or at one that it takes now.
    fn wait(&mut self, now: Timestamp, denied: Duration) -> Option<Duration> {
        if self.place.is_some() || self.lines.is_none() {
            self.set_alarm(Some(now + denied));
            return Some(denied);
        }
        self.join(now, Some(denied))
    }

    /// Takes the last place. Who was denied and finds nobody in front sleeps as long as it was told, and who stands behind
    /// others as long as can be foreseen; unless it is expected at the same time as the one in front, who will call it.
    fn join(&mut self, now: Timestamp, denied: Option<Duration>) -> Option<Duration> {
        let found = denied.and_then(|_| self.limiter.storage.load(self.key).ok());
        let mut sleep = None;
        let mut arrive = |ahead: Ahead<'_>| {
            let (state, from) = match ahead {
                Ahead::Nobody => (found.clone(), now + denied.unwrap_or_default()),
                Ahead::Somebody(last) => {
                    (last.and_then(Foreseen::state), last.map_or(now, |last| last.at().max(now)))
                }
            };
            let foreseen = state.and_then(|state| self.foresee(state, from));
            sleep = match (ahead, &foreseen) {
                (Ahead::Nobody, _) => denied,
                (Ahead::Somebody(_), Some(foreseen)) if foreseen.at() > from => {
                    Some(foreseen.at().since(now))
                }
                _ => None,
            };
            Waiter { alarm: sleep.map(|sleep| now + sleep), foreseen }
        };
        let place = self.lines.map(|lines| lines.join(&self.key, &mut arrive));
        self.place = place;
        sleep
    }

    /// When the hit, which may not pass before `from`, will, and what it leaves behind, if nobody comes between.
    fn foresee(&self, mut state: S::State, from: Timestamp) -> Option<Foreseen> {
        let mut decide = |at| self.limiter.limit.decide(&mut state, &self.hit(), at).outcome();
        let at = match decide(from) {
            Outcome::Allow { .. } => from,
            Outcome::Deny { retry_after } => {
                let at = from + retry_after;
                decide(at).is_allowed().then_some(at)?
            }
            Outcome::Never => return None,
        };
        Foreseen::new(at, &state)
    }

    /// Ready for who stands in no line.
    fn poll_turn(&self, context: &mut Context<'_>) -> Poll<()> {
        match (self.lines, self.place) {
            (Some(lines), Some(place)) => lines.poll_turn(place, context),
            _ => Poll::Ready(()),
        }
    }

    fn set_alarm(&self, alarm: Option<Timestamp>) {
        if let (Some(lines), Some(place)) = (self.lines, self.place) {
            lines.set_alarm(place, alarm);
        }
    }

    /// Leaves the line. The next one is called if it would not wake by itself, or too late.
    fn leave(&mut self) {
        if let Some((lines, next, alarm)) = self.step_out()
            && alarm.is_none_or(|alarm| self.is_late(alarm))
        {
            lines.call(next);
        }
    }

    /// Gives the place up; tells who is the first now that was not before.
    fn step_out(&mut self) -> Option<(&'a dyn Lines, Place, Option<Timestamp>)> {
        let (lines, place) = (self.lines?, self.place.take()?);
        let (next, alarm) = lines.leave(place)?;
        Some((lines, next, alarm))
    }

    /// Whether anybody could be admitted before `alarm`. Nothing passes sooner than one does; who asks for more is called
    /// too soon then, and sleeps again.
    fn is_late(&self, alarm: Timestamp) -> bool {
        let (now, one) = (self.limiter.now(), Hit::new(S::Cost::uniform(1)));
        match self.apply(&Op::Peek(one), now).map(|verdict| verdict.outcome()) {
            Ok(Outcome::Deny { retry_after }) => now + retry_after < alarm,
            _ => true,
        }
    }

    fn apply(&self, op: &Op<S>, now: Timestamp) -> Result<S::Verdict, WaitError> {
        self.limiter.apply(self.key, op, now).map_err(WaitError::Storage)
    }

    fn hit(&self) -> Hit<S::Cost> {
        Hit::new(self.cost)
    }
}

impl<S: Strategy, M: Storage<S>, K: Key + ?Sized> Drop for Waiting<'_, S, M, K> {
    fn drop(&mut self) {
        if let Some(verdict) = self.delayed.take() {
            // A storage that fails now keeps the charge.
            let _ = self.apply(&Op::Refund(self.hit(), verdict.receipt()), self.limiter.now());
        }
        // Nothing is asked of the storage for that, for it may have panicked just now.
        if let Some((lines, next, _)) = self.step_out() {
            lines.call(next);
        }
    }
}
