//! Two storages: one that decides, and one that does while the first cannot be reached.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use traffik_core::storage::{AsyncStorage, ErrorKind, Failure, Joint, Lines, Reply};
use traffik_core::strategy::TooLarge;
use traffik_core::{
    Clock, ErasedKey, Hit, Op, Origin, Outcome, Ratio, RatioError, Scale, Strategy, Timestamp, Verdict,
};

use super::calls::{bytes, together};
use super::is_ill;
use super::journal::Journal;
use crate::MonotonicClock;

/// Asks the primary storage, and the fallback where the primary fails.
///
/// * It goes over on failures that say that nothing was charged and that the storage as a whole is ill. An unknown outcome
///   ([`ErrorKind::Timeout`]) is a failure of the call unless [`after_timeouts`](FailoverBuilder::after_timeouts) is said,
///   for the hit may then be charged on both. Each call asks the primary first: put a
///   [`CircuitBreaker`](super::CircuitBreaker) and a deadline around it, or each one waits for it.
/// * The fallback may hold the limit [divided by how many instances there are](FailoverBuilder::instances): the rate is, while a
///   burst that was given apart from it stays what it is.
/// * The fallback starts cold, or is kept [warm](FailoverBuilder::warm).
/// * Once the primary is back, what the fallback admitted is dropped, or [merged](FailoverBuilder::merge).
/// * A refund goes to where the admission came from, of which as many are noted as [`noted`](FailoverBuilder::noted) says. A
///   refund that the primary must take and cannot is a failure; a reset forgets the key in both. Admissions are told apart by their receipts.
///
/// **Bound.** Over any time it admits at most what the primary's limit admits in that time, and for each instance what the
/// limit of its fallback does. A limit that is divided by `n` for `n` instances hence admits at most twice what it
/// would, if it has no burst apart from its rate, and instances admit at least 1 each. A store that forgets what it held
/// starts afresh, as does a fallback in memory when its process does.
///
/// What the fallback decided [says so](Origin::Fallback); [`is_away`](Self::is_away) tells whether the last call of the primary
/// failed, and a [listener](FailoverBuilder::on_change) hears of each change.
///
/// ```
/// use traffik_backends::layer::{Breaker, CircuitBreaker, Failover};
/// use traffik_backends::Memory;
/// use traffik_core::storage::Local;
/// use traffik_core::{AsyncLimiter, TokenBucket, rate};
///
/// // Memory stands here for a store that may fail.
/// let primary = CircuitBreaker::new(Local(Memory::new(1_000)), &Breaker::builder("redis").build()?);
/// let storage = Failover::builder(primary, Local(Memory::new(1_000)))
///     .instances(4)?
///     .warm()
///     .merge()
///     .on_change(|change| eprintln!("{change:?}"))
///     .build();
/// let limiter = AsyncLimiter::new(TokenBucket::new(rate!("100/min")), storage);
/// # let mut reply = limiter.check("alice");
/// # let traffik_core::storage::Reply::Pending(answer) = &mut reply else { unreachable!("it is mirrored") };
/// # let mut context = std::task::Context::from_waker(std::task::Waker::noop());
/// # assert!(answer.as_mut().poll(&mut context).is_ready());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Failover<S: Strategy, P, F> {
    parts: Arc<Parts<S, P, F>>,
}

struct Parts<S: Strategy, P, F> {
    primary: P,
    fallback: F,
    settings: Settings<S>,
    journal: Journal<S>,
    clock: Arc<dyn Clock + Send + Sync>,
    is_away: AtomicBool,
}

struct Settings<S> {
    on: fn(ErrorKind) -> bool,
    after_timeouts: bool,
    divide: Option<Divide<S>>,
    warm: bool,
    merge: bool,
    listeners: Vec<Listener>,
}

type Divide<S> = Box<dyn Fn(&S) -> Result<S, TooLarge> + Send + Sync>;
type Listener = Box<dyn Fn(&FailoverChange) + Send + Sync>;

/// A failover changed sides.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum FailoverChange {
    /// The primary failed, for this reason; the fallback decides.
    Away(Failure),
    /// The primary has answered again.
    Back,
}

/// What a [`Failover`] is to be like.
#[must_use]
pub struct FailoverBuilder<S: Strategy, P, F> {
    primary: P,
    fallback: F,
    settings: Settings<S>,
    noted: usize,
    clock: Option<Arc<dyn Clock + Send + Sync>>,
}

impl<S: Strategy, P, F> Failover<S, P, F> {
    /// The primary first, and the fallback where it fails: cold, with the whole limit, and dropping what it admitted, unless
    /// something else is said.
    pub const fn builder(primary: P, fallback: F) -> FailoverBuilder<S, P, F> {
        let settings = Settings {
            on: is_ill,
            after_timeouts: false,
            divide: None,
            warm: false,
            merge: false,
            listeners: Vec::new(),
        };
        FailoverBuilder { primary, fallback, settings, noted: 10_000, clock: None }
    }

    /// The storage that decides.
    #[must_use]
    pub fn primary(&self) -> &P {
        &self.parts.primary
    }

    /// The storage that does while the primary cannot.
    #[must_use]
    pub fn fallback(&self) -> &F {
        &self.parts.fallback
    }

    /// Whether the primary failed when it was last asked.
    #[must_use]
    pub fn is_away(&self) -> bool {
        self.parts.is_away.load(Ordering::Acquire)
    }

    /// How many admissions of the fallback could not be noted, for there was no room: a refund of theirs goes to the primary,
    /// and they are not merged.
    #[must_use]
    pub fn unnoted(&self) -> u64 {
        self.parts.journal.unnoted()
    }
}

impl<S: Strategy, P, F> FailoverBuilder<S, P, F> {
    /// Goes over on these kinds of failure: on those that [are ill](is_ill) if nothing is said. Of an unknown outcome more has
    /// to be said.
    pub const fn on(mut self, kinds: fn(ErrorKind) -> bool) -> Self {
        self.settings.on = kinds;
        self
    }

    /// Goes over on unknown outcomes too, if their kind is one to go over on. Such a hit may be charged on both sides, but is
    /// never merged, so never charged twice to the primary.
    pub const fn after_timeouts(mut self) -> Self {
        self.settings.after_timeouts = true;
        self
    }

    /// Charges the fallback with what the primary admits, so that whoever has used up a limit there finds it used up here.
    /// Refunds are not mirrored. Of a divided limit that is what this instance saw.
    pub const fn warm(mut self) -> Self {
        self.settings.warm = true;
        self
    }

    /// Once the primary is back, charges it with what the fallback admitted of a key, before it is asked about that key again;
    /// but not with what is so old that no limit would count it. It counts from then on, as if it had just been
    /// admitted, so a client may wait for up to twice as long. A charge whose outcome is unknown is not repeated.
    pub const fn merge(mut self) -> Self {
        self.settings.merge = true;
        self
    }

    /// Notes up to so many admissions of the fallback, 10 000 if nothing is said, each for as long as the limit counts it.
    pub const fn noted(mut self, most: usize) -> Self {
        self.noted = most;
        self
    }

    /// Calls this at each change of sides, within the call that brought it about: it should be quick.
    pub fn on_change(mut self, listener: impl Fn(&FailoverChange) + Send + Sync + 'static) -> Self {
        self.settings.listeners.push(Box::new(listener));
        self
    }

    /// Goes by this clock; by a [`MonotonicClock`] if nothing is said.
    pub fn clock(mut self, clock: impl Clock + Send + Sync + 'static) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    /// The storage.
    #[must_use]
    pub fn build(self) -> Failover<S, P, F> {
        let Self { primary, fallback, settings, noted, clock } = self;
        let clock = clock.unwrap_or_else(|| Arc::new(MonotonicClock::default()));
        let (journal, is_away) = (Journal::new(noted), AtomicBool::new(false));
        Failover { parts: Arc::new(Parts { primary, fallback, settings, journal, clock, is_away }) }
    }
}

impl<S: Strategy, P, F> FailoverBuilder<S, P, F> {
    /// Gives the fallback what this makes of the limit.
    pub fn share(mut self, share: impl Fn(&S) -> Result<S, TooLarge> + Send + Sync + 'static) -> Self {
        self.settings.divide = Some(Box::new(share));
        self
    }
}

impl<S: Scale, P, F> FailoverBuilder<S, P, F> {
    /// Gives the fallback the limit divided by this number: of instances that each have a fallback of their own.
    ///
    /// # Errors
    ///
    /// If it is 0.
    pub fn instances(self, count: u32) -> Result<Self, RatioError> {
        let share = Ratio::new(1, count.into())?;
        Ok(self.share(move |limit| limit.scaled(share)))
    }
}

impl<S, P, F> AsyncStorage<S> for Failover<S, P, F>
where
    S: Strategy,
    P: AsyncStorage<S> + 'static,
    F: AsyncStorage<S> + 'static,
{
    fn apply(&self, limit: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        let (parts, limit, key, op) = (Arc::clone(&self.parts), limit.clone(), bytes(key), *op);
        Reply::pending(async move { parts.apply(&limit, &key, &op).await })
    }

    fn load(&self, limit: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        let (parts, limit, key) = (Arc::clone(&self.parts), limit.clone(), bytes(key));
        Reply::pending(async move {
            let answer = parts.primary.load(&limit, &key).await;
            match parts.judged(answer, false)? {
                Ok(loaded) => Ok(loaded),
                Err(_) => parts.fallback.load(&parts.divided(&limit)?, &key).await,
            }
        })
    }

    fn check_together(
        &self,
        limit: &S,
        keys: &[&dyn ErasedKey],
        hit: &Hit<S::Cost>,
    ) -> Reply<Joint<S::Verdict>> {
        let keys: Vec<_> = keys.iter().map(|key| bytes(*key)).collect();
        let (parts, limit, hit) = (Arc::clone(&self.parts), limit.clone(), *hit);
        Reply::pending(async move { parts.check_together(&limit, &keys, &hit).await })
    }

    /// Those of the first storage, whichever answers.
    fn lines(&self) -> Option<&dyn Lines> {
        self.parts.primary.lines()
    }
}

impl<S: Strategy, P: AsyncStorage<S>, F: AsyncStorage<S>> Parts<S, P, F> {
    async fn apply(&self, limit: &S, key: &[u8], op: &Op<S>) -> Result<S::Verdict, Failure> {
        match op {
            Op::Refund(hit, receipt) => return self.refund(limit, key, hit, *receipt).await,
            Op::Reset => {
                self.journal.forget(key);
                // What is of no use any more may stay if the fallback cannot be reached: it errs against the client.
                let _ = self.fallback.apply(&self.divided(limit)?, &key, op).await;
                let answer = self.primary.apply(limit, &key, op).await;
                return self.judged(answer, false)?.map_err(|(failure, _)| failure);
            }
            Op::Check(_) | Op::Peek(_) | Op::Charge(_) => {}
        }
        let merged = self.merge(limit, key).await;
        let answer = match merged {
            Ok(()) => self.primary.apply(limit, &key, op).await,
            Err(failure) => Err(failure),
        };
        match self.judged(answer, matches!(op, Op::Peek(_)))? {
            Ok(verdict) => {
                if let (Some(hit), true) = (booked(op, &verdict), self.settings.warm) {
                    let _ = self.fallback.apply(&self.divided(limit)?, &key, &Op::Charge(hit)).await;
                }
                Ok(verdict)
            }
            Err((_, is_unknown)) => {
                let verdict = self.fallback.apply(&self.divided(limit)?, &key, op).await?;
                if let Some(hit) = booked(op, &verdict) {
                    self.note(limit, key, hit, &verdict, is_unknown);
                }
                Ok(verdict.with_origin(Origin::Fallback))
            }
        }
    }

    async fn check_together(
        &self,
        limit: &S,
        keys: &[Vec<u8>],
        hit: &Hit<S::Cost>,
    ) -> Result<Joint<S::Verdict>, Failure> {
        let mut merged = Ok(());
        for key in keys {
            merged = match merged {
                Ok(()) => self.merge(limit, key).await,
                failed => failed,
            };
        }
        let answer = match merged {
            Ok(()) => together(&self.primary, limit, keys, hit).await,
            Err(failure) => Err(failure),
        };
        // To be unable tells nothing of a store, so it is no return.
        if let Ok(Joint::Unable) = answer {
            return answer;
        }
        let (mut told, unknown) = match self.judged(answer, false)? {
            Ok(told) => (told, None),
            Err((_, is_unknown)) => {
                (together(&self.fallback, &self.divided(limit)?, keys, hit).await?, Some(is_unknown))
            }
        };
        let verdicts: &mut [_] = match &mut told {
            Joint::AtOnce(verdicts) | Joint::InTurn(verdicts) => verdicts,
            Joint::Unable => &mut [],
        };
        if unknown.is_some() {
            for verdict in verdicts.iter_mut() {
                *verdict = verdict.clone().with_origin(Origin::Fallback);
            }
        }
        let is_admitted = verdicts.iter().all(|verdict| verdict.outcome().is_allowed());
        if !is_admitted || verdicts.is_empty() {
            return Ok(told);
        }
        if let Some(is_unknown) = unknown {
            for (key, verdict) in keys.iter().zip(&*verdicts) {
                self.note(limit, key, *hit, verdict, is_unknown);
            }
        } else if self.settings.warm {
            for key in keys {
                let _ = self.fallback.apply(&self.divided(limit)?, &key, &Op::Charge(*hit)).await;
            }
        }
        Ok(told)
    }

    async fn refund(
        &self,
        limit: &S,
        key: &[u8],
        hit: &Hit<S::Cost>,
        receipt: <S::Verdict as Verdict>::Receipt,
    ) -> Result<S::Verdict, Failure> {
        let op = Op::Refund(*hit, receipt);
        match self.journal.take(key, hit, &receipt) {
            // The primary was charged without a receipt, so there is nothing it could exactly take back.
            Some(true) => {
                let answer = self.primary.apply(limit, &key, &Op::Peek(hit.free())).await;
                self.judged(answer, true)?.map_err(|(failure, _)| failure)
            }
            Some(false) => {
                let answer = self.fallback.apply(&self.divided(limit)?, &key, &op).await;
                answer.map(|verdict| verdict.with_origin(Origin::Fallback))
            }
            None => {
                let answer = self.primary.apply(limit, &key, &op).await;
                self.judged(answer, false)?.map_err(|(failure, _)| failure)
            }
        }
    }

    /// Charges the primary with what the fallback admitted of this key. A failure is one to go over on, or to tell.
    async fn merge(&self, limit: &S, key: &[u8]) -> Result<(), Failure> {
        if !self.settings.merge {
            return Ok(());
        }
        while let Some(hit) = self.journal.next_due(key, self.clock.now()) {
            match self.primary.apply(limit, &key, &Op::Charge(hit)).await {
                Ok(_) => {}
                Err(failure) if failure.kind() == ErrorKind::Timeout => return Err(failure),
                Err(failure) => {
                    self.journal.put_back(key, &hit);
                    return Err(failure);
                }
            }
        }
        Ok(())
    }

    fn note(&self, limit: &S, key: &[u8], hit: Hit<S::Cost>, verdict: &S::Verdict, is_unknown: bool) {
        let now = self.clock.now();
        let over = now.plus_micros(limit.horizon());
        self.journal.note(key, hit, verdict.receipt(), self.settings.merge && !is_unknown, now, over);
    }

    fn divided(&self, limit: &S) -> Result<S, Failure> {
        let Some(divide) = &self.settings.divide else { return Ok(limit.clone()) };
        divide(limit).map_err(|error| Failure::new(ErrorKind::Invalid, error.to_string()))
    }

    /// What the primary answered; or a failure to go over on, and whether it leaves the outcome unknown; or one that is told.
    /// What `charges_nothing` has no unknown outcome.
    fn judged<T>(
        &self,
        answer: Result<T, Failure>,
        charges_nothing: bool,
    ) -> Result<Result<T, (Failure, bool)>, Failure> {
        let failure = match answer {
            Ok(answer) => {
                if self.is_away.swap(false, Ordering::AcqRel) {
                    self.tell(&FailoverChange::Back);
                }
                return Ok(Ok(answer));
            }
            Err(failure) => failure,
        };
        let is_unknown = failure.kind() == ErrorKind::Timeout && !charges_nothing;
        if !(self.settings.on)(failure.kind()) || (is_unknown && !self.settings.after_timeouts) {
            return Err(failure);
        }
        if !self.is_away.swap(true, Ordering::AcqRel) {
            self.tell(&FailoverChange::Away(failure.clone()));
        }
        Ok(Err((failure, is_unknown)))
    }

    fn tell(&self, change: &FailoverChange) {
        self.settings.listeners.iter().for_each(|listener| listener(change));
    }
}

/// What an operation took.
fn booked<S: Strategy>(op: &Op<S>, verdict: &S::Verdict) -> Option<Hit<S::Cost>> {
    match op {
        Op::Check(hit) => matches!(verdict.outcome(), Outcome::Allow { .. }).then_some(*hit),
        Op::Charge(hit) => Some(*hit),
        Op::Peek(_) | Op::Refund(..) | Op::Reset => None,
    }
}

impl<S: Strategy, P, F> Clone for Failover<S, P, F> {
    fn clone(&self) -> Self {
        Self { parts: Arc::clone(&self.parts) }
    }
}

impl<S: Strategy, P: fmt::Debug, F: fmt::Debug> fmt::Debug for Failover<S, P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failover")
            .field("primary", &self.parts.primary)
            .field("fallback", &self.parts.fallback)
            .field("is_away", &self.is_away())
            .finish_non_exhaustive()
    }
}

impl<S: Strategy, P, F> fmt::Debug for FailoverBuilder<S, P, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FailoverBuilder").field("noted", &self.noted).finish_non_exhaustive()
    }
}
