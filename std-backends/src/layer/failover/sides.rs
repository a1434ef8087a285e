//! Two storages: which one decides, and which one is told.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use traffik_core::storage::{AsyncStorage, ErrorKind, Failure, Joint, Reply};
use traffik_core::{Clock, Digest, ErasedKey, Hit, Op, Origin, Receipts, Strategy, Timestamp, Verdict};

use super::journal::{Journal, Note};
use super::settings::{FailoverChange, Settings};
use crate::layer::calls::together;

pub(super) struct Sides<S: Strategy, P, F> {
    pub(super) primary: P,
    pub(super) fallback: F,
    pub(super) journal: Journal<S>,
    settings: Settings<S>,
    clock: Arc<dyn Clock + Send + Sync>,
    is_away: AtomicBool,
}

/// What each side holds a client to.
pub(super) struct Limits<'a, S> {
    pub(super) primary: &'a S,
    pub(super) fallback: &'a S,
}

impl<S> Clone for Limits<'_, S> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S> Copy for Limits<'_, S> {}

impl<S: Clone> Limits<'_, S> {
    pub(super) fn owned(self) -> OwnLimits<S> {
        OwnLimits { primary: self.primary.clone(), fallback: self.fallback.clone() }
    }
}

/// The same, to be kept.
pub(super) struct OwnLimits<S> {
    primary: S,
    fallback: S,
}

impl<S> OwnLimits<S> {
    pub(super) const fn get(&self) -> Limits<'_, S> {
        Limits { primary: &self.primary, fallback: &self.fallback }
    }
}

impl<S: Strategy, P, F> Sides<S, P, F> {
    pub(super) fn new(
        (primary, fallback): (P, F),
        settings: Settings<S>,
        journal: Journal<S>,
        clock: Arc<dyn Clock + Send + Sync>,
    ) -> Self {
        Self { primary, fallback, journal, settings, clock, is_away: AtomicBool::new(false) }
    }

    /// Whether the primary failed when it was last asked.
    pub(super) fn is_away(&self) -> bool {
        self.is_away.load(Ordering::Acquire)
    }

    /// The limit of the fallback where it has one of its own. It is found before either is asked: so that one that cannot be had
    /// fails every call, and charges nobody, instead of the first one in which the primary fails.
    pub(super) fn share(&self, limit: &S) -> Result<Option<S>, Failure> {
        let share = self.settings.share.as_ref().map(|share| share(limit)).transpose();
        share.map_err(|error| {
            let message =
                format!("nothing was asked, for the fallback cannot hold its share of the limit: {error}");
            Failure::new(ErrorKind::Invalid, message)
        })
    }

    /// Whether the primary is to be told first what the fallback admitted of a key.
    pub(super) fn is_to_merge(&self, key: &dyn ErasedKey) -> bool {
        self.settings.merge && self.journal.is_due(self.journal.digest(key), self.clock.now())
    }

    /// The primary has answered.
    #[inline]
    pub(super) fn is_back(&self) {
        if self.is_away() && self.is_away.swap(false, Ordering::AcqRel) {
            self.tell(&FailoverChange::Back);
        }
    }

    /// Goes over to the fallback on a failure of the primary, unless that is to be told; whether it leaves the outcome unknown,
    /// which that of what `charges_nothing` is not.
    #[inline]
    pub(super) fn go_over(&self, failure: Failure, charges_nothing: bool) -> Result<bool, Failure> {
        let is_unknown = failure.kind() == ErrorKind::Timeout && !charges_nothing;
        if !(self.settings.on)(failure.kind()) || (is_unknown && !self.settings.after_timeouts) {
            return Err(failure);
        }
        if !self.is_away() && !self.is_away.swap(true, Ordering::AcqRel) {
            self.tell(&FailoverChange::Away(failure));
        }
        Ok(is_unknown)
    }

    /// An answer of the primary that nobody else could give.
    fn own<T>(&self, answer: Result<T, Failure>) -> Result<T, Failure> {
        match answer {
            Ok(told) => {
                self.is_back();
                Ok(told)
            }
            Err(failure) => {
                let _ = self.go_over(failure.clone(), false);
                Err(failure)
            }
        }
    }

    #[cold]
    fn tell(&self, change: &FailoverChange) {
        self.settings.listeners.iter().for_each(|listener| listener(change));
    }

    /// What the fallback is to be known by once it has answered, if the primary is to be told of that.
    fn to_note(
        &self,
        limits: Limits<'_, S>,
        key: &dyn ErasedKey,
        op: &Op<S>,
        is_unknown: bool,
    ) -> Option<ToNote<S>> {
        if !self.settings.merge {
            return None;
        }
        let (digest, over) =
            (self.journal.digest(key), self.clock.now().plus_micros(limits.primary.horizon()));
        Some(ToNote { digest, over, is_due: !is_unknown, op: *op })
    }

    /// What the fallback said: whatever it admitted is to come back to it.
    #[inline]
    fn marked(&self, verdict: &mut S::Verdict, note: Option<ToNote<S>>) {
        if let Some(ToNote { digest, over, is_due, op }) = note
            && let Some(hit) = booked(&op, verdict)
        {
            let note = Note { digest, hit, receipt: verdict.receipt(), over, is_due, is_merged: false };
            self.journal.note(note, self.clock.now());
        }
        verdict.each_receipt(&mut |receipt| receipt.note_side(true));
        *verdict = verdict.clone().with_origin(Origin::Fallback);
    }
}

/// What is noted of an operation that the fallback is asked for.
struct ToNote<S: Strategy> {
    digest: Digest,
    over: Timestamp,
    is_due: bool,
    op: Op<S>,
}

impl<S: Strategy, P: AsyncStorage<S> + 'static, F: AsyncStorage<S> + 'static> Sides<S, P, F> {
    /// What follows from what the primary made of a check, a peek or a charge: at once, if the fallback answers at once.
    pub(super) fn settle(
        self: &Arc<Self>,
        limits: Limits<'_, S>,
        key: &dyn ErasedKey,
        op: &Op<S>,
        answer: Result<S::Verdict, Failure>,
    ) -> Reply<S::Verdict> {
        match answer {
            Ok(verdict) => self.mirror(limits, key, op, verdict),
            Err(failure) => self.stand_in(limits, key, op, failure),
        }
    }

    /// Tells what the primary said, once the fallback was charged with it where that is kept warm.
    pub(super) fn mirror(
        &self,
        limits: Limits<'_, S>,
        key: &dyn ErasedKey,
        op: &Op<S>,
        mut verdict: S::Verdict,
    ) -> Reply<S::Verdict> {
        self.is_back();
        verdict.each_receipt(&mut |receipt| receipt.note_side(false));
        let Some(hit) = booked(op, &verdict).filter(|_| self.settings.warm) else {
            return Reply::ready(Ok(verdict));
        };
        // What it misses it would admit, which is what it is for.
        match self.fallback.apply(limits.fallback, key, &Op::Charge(hit)) {
            Reply::Ready(_) => Reply::ready(Ok(verdict)),
            Reply::Pending(mirrored) => Reply::pending(async move {
                let _ = mirrored.await;
                Ok(verdict)
            }),
        }
    }

    /// Asks the fallback where the primary failed.
    // An answer is large, and is then written once, where it is wanted.
    #[inline(always)]
    pub(super) fn stand_in(
        self: &Arc<Self>,
        limits: Limits<'_, S>,
        key: &dyn ErasedKey,
        op: &Op<S>,
        failure: Failure,
    ) -> Reply<S::Verdict> {
        let is_unknown = match self.go_over(failure, matches!(op, Op::Peek(_))) {
            Ok(is_unknown) => is_unknown,
            Err(failure) => return Reply::ready(Err(failure)),
        };
        let note = self.to_note(limits, key, op, is_unknown);
        let mut reply = self.fallback.apply(limits.fallback, key, op);
        match &mut reply {
            Reply::Ready(Some(Ok(verdict))) => self.marked(verdict, note),
            Reply::Ready(Some(Err(failure))) if is_unknown => *failure = unknown(failure),
            Reply::Ready(_) => {}
            Reply::Pending(_) => {
                let sides = Arc::clone(self);
                return Reply::pending(async move {
                    let mut verdict = reply
                        .await
                        .map_err(|failure| if is_unknown { unknown(&failure) } else { failure })?;
                    sides.marked(&mut verdict, note);
                    Ok(verdict)
                });
            }
        }
        reply
    }

    /// An operation that does not begin with a plain call of the primary.
    pub(super) async fn apply(
        self: &Arc<Self>,
        limits: Limits<'_, S>,
        key: &[u8],
        op: &Op<S>,
    ) -> Result<S::Verdict, Failure> {
        match op {
            Op::Refund(hit, receipt) => self.refund(limits, key, hit, *receipt).await,
            Op::Reset => {
                self.journal.forget(self.journal.digest(key));
                // What is of no use any more may stay if the fallback cannot be reached: it errs against the client.
                let _ = self.fallback.apply(limits.fallback, &key, op).await;
                let answer = self.primary.apply(limits.primary, &key, op).await;
                self.own(answer)
            }
            Op::Check(_) | Op::Peek(_) | Op::Charge(_) => {
                let answer = match self.merge(limits, key).await {
                    Ok(()) => self.primary.apply(limits.primary, &key, op).await,
                    Err(failure) => Err(failure),
                };
                self.settle(limits, &key, op, answer).await
            }
        }
    }

    pub(super) async fn check_together(
        &self,
        limits: Limits<'_, S>,
        keys: &[Vec<u8>],
        hit: &Hit<S::Cost>,
    ) -> Result<Joint<S::Verdict>, Failure> {
        let mut merged = Ok(());
        for key in keys {
            merged = match merged {
                Ok(()) => self.merge(limits, key).await,
                failed => failed,
            };
        }
        let answer = match merged {
            Ok(()) => together(&self.primary, limits.primary, keys, hit).await,
            Err(failure) => Err(failure),
        };
        // To be unable tells nothing of a store, so it is no return.
        if let Ok(Joint::Unable) = answer {
            return answer;
        }
        let (mut told, unknown) = match answer {
            Ok(told) => {
                self.is_back();
                (told, None)
            }
            Err(failure) => {
                let is_unknown = self.go_over(failure, false)?;
                let told = together(&self.fallback, limits.fallback, keys, hit).await;
                let told = told.map_err(|failure| if is_unknown { unknown(&failure) } else { failure })?;
                if is_unknown && told == Joint::Unable {
                    // To be asked for one key after another would charge the primary anew.
                    let unable = "the fallback cannot check so many keys at once";
                    return Err(Failure::new(ErrorKind::Timeout, unable));
                }
                (told, Some(is_unknown))
            }
        };
        let verdicts: &mut [_] = match &mut told {
            Joint::AtOnce(verdicts) | Joint::InTurn(verdicts) => verdicts,
            Joint::Unable => &mut [],
        };
        let is_admitted = !verdicts.is_empty() && verdicts.iter().all(Verdict::is_allowed);
        if let Some(is_unknown) = unknown {
            for (key, verdict) in keys.iter().zip(verdicts) {
                let op = if is_admitted { Op::Check(*hit) } else { Op::Peek(*hit) };
                self.marked(verdict, self.to_note(limits, key, &op, is_unknown));
            }
            return Ok(told);
        }
        for verdict in verdicts {
            verdict.each_receipt(&mut |receipt| receipt.note_side(false));
        }
        if is_admitted && self.settings.warm {
            for key in keys {
                let _ = self.fallback.apply(limits.fallback, key, &Op::Charge(*hit)).await;
            }
        }
        Ok(told)
    }

    async fn refund(
        &self,
        limits: Limits<'_, S>,
        key: &[u8],
        hit: &Hit<S::Cost>,
        mut receipt: <S::Verdict as Verdict>::Receipt,
    ) -> Result<S::Verdict, Failure> {
        let mut is_fallback = false;
        receipt.each_mut(&mut |receipt| is_fallback = receipt.take_side());
        let op = Op::Refund(*hit, receipt);
        if !is_fallback {
            return self.own(self.primary.apply(limits.primary, &key, &op).await);
        }
        if self.settings.merge && self.journal.take(self.journal.digest(key), hit, &receipt) == Some(true) {
            // The primary was charged without a receipt, so there is nothing it could exactly take back.
            return self.own(self.primary.apply(limits.primary, &key, &Op::Peek(hit.free())).await);
        }
        let mut verdict = self.fallback.apply(limits.fallback, &key, &op).await?;
        self.marked(&mut verdict, None);
        Ok(verdict)
    }

    /// Charges the primary with what the fallback admitted of this key. A failure is one to go over on, or to tell.
    async fn merge(&self, limits: Limits<'_, S>, key: &[u8]) -> Result<(), Failure> {
        if !self.settings.merge {
            return Ok(());
        }
        let digest = self.journal.digest(key);
        while let Some(hit) = self.journal.next_due(digest, self.clock.now()) {
            match self.primary.apply(limits.primary, &key, &Op::Charge(hit)).await {
                Ok(_) => {}
                Err(failure) if failure.kind() == ErrorKind::Timeout => return Err(failure),
                Err(failure) => {
                    self.journal.put_back(digest, &hit);
                    return Err(failure);
                }
            }
        }
        Ok(())
    }
}

/// A failure of the fallback, after one of the primary that left it unknown whether that was charged.
fn unknown(failure: &Failure) -> Failure {
    Failure::new(ErrorKind::Timeout, failure.clone())
}

/// What an operation took.
fn booked<S: Strategy>(op: &Op<S>, verdict: &S::Verdict) -> Option<Hit<S::Cost>> {
    match op {
        Op::Check(hit) => verdict.is_allowed().then_some(*hit),
        Op::Charge(hit) => Some(*hit),
        Op::Peek(_) | Op::Refund(..) | Op::Reset => None,
    }
}
