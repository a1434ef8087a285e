//! The evaluation of one request by several throttles, which charges all of them or none.

use std::cmp::Reverse;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use traffik_core::Outcome;
use traffik_core::storage::{BackendError, BoxFuture};

use super::contract::{Evaluation, EvaluationPart, Question, Ruling, at_least};
use crate::middleware::background::{BackgroundFuture, spawn_or_return};
use crate::middleware::body::in_turn;
use crate::throttle::DelayTimer;

/// Evaluates a request. With a spawner, an evaluation of several throttles continues when its caller drops
/// it. Otherwise a client that one throttle denies could use up the others, by disconnecting before they are
/// refunded.
pub(crate) fn decide(parts: Vec<Box<dyn EvaluationPart>>) -> BoxFuture<'static, Evaluation> {
    let waits = parts.len() > 1 && parts.iter().any(|part| !part.is_local());
    match parts.iter().find_map(|part| part.profile().spawner.clone()).filter(|_| waits) {
        Some(spawn) => Box::pin(BackgroundFuture::new(Box::pin(ask(parts)), spawn)),
        None => Box::pin(ask(parts)),
    }
}

/// Peeks at local throttles, then charges the remote ones, then the local ones.
async fn ask(parts: Vec<Box<dyn EvaluationPart>>) -> Evaluation {
    let (mut parts, shadows): (Vec<_>, Vec<_>) = parts.into_iter().partition(|part| part.is_enforced());
    // A peek at a local throttle, or at a cached denial, calls no remote storage. If it denies, it saves
    // remote calls and refunds. With one throttle it would only repeat the check.
    let several = parts.len() > 1;
    let mut denies = false;
    for at in 0..parts.len() {
        let Some(part) = parts.get_mut(at).filter(|_| several) else { continue };
        if !part.is_local() {
            denies |= part.is_denied_already();
            continue;
        }
        if let Err(failure) = perform(&mut **part, Question::Peek).await {
            return failed(parts, shadows, at, failure).await;
        }
        denies |= !is_admitted(&**part);
    }
    if denies {
        return denied(parts).await;
    }
    // Invariant: at a denial or a failure the charged parts are those checked so far, and all get a refund. A
    // remote denial is the likelier one after the peeks, so remote storages come first.
    for local in [false, true] {
        for at in 0..parts.len() {
            let Some(part) = parts.get_mut(at).filter(|part| part.is_local() == local) else { continue };
            if let Err(failure) = perform(&mut **part, Question::Check).await {
                return failed(parts, shadows, at, failure).await;
            }
            if !is_admitted(&**part) {
                return denied(parts).await;
            }
        }
    }
    admitted(parts, shadows).await
}

/// Runs one operation of a part, and waits for its answer.
async fn perform(part: &mut dyn EvaluationPart, ask: Question) -> Result<(), BackendError> {
    part.ask(ask);
    poll_fn(|context| part.poll_answer(context)).await
}

/// Refunds all charges. A charge whose refund fails stays.
async fn give_back(parts: &mut [Box<dyn EvaluationPart>]) {
    for part in parts.iter_mut().rev() {
        if let Some(given_back) = part.give_back() {
            given_back.await;
        }
    }
}

/// Reports whether the last verdict of a part admits.
fn is_admitted(part: &dyn EvaluationPart) -> bool {
    part.outcome().is_some_and(|outcome| outcome.is_allowed())
}

/// Handles the admission by all throttles: finds the longest delay, and checks the shadows.
async fn admitted(
    mut parts: Vec<Box<dyn EvaluationPart>>,
    shadows: Vec<Box<dyn EvaluationPart>>,
) -> Evaluation {
    let longest = |parts: &[Box<dyn EvaluationPart>]| {
        parts.iter().map(|part| part.delay()).enumerate().max_by_key(|(at, delay)| (*delay, Reverse(*at)))
    };
    let (mut first, mut after) = longest(&parts).unwrap_or_default();
    let mut timer = None;
    if !after.is_zero() {
        timer = parts.iter().find_map(|part| part.profile().delay_timer.clone());
    }
    // Entering the queue may find a turn that another request gave up, so the delays are read again.
    if let Some(timer) = &timer {
        parts.iter_mut().for_each(|part| part.stand_in_line(timer));
        (first, after) = longest(&parts).unwrap_or_default();
    }
    let max_delay = parts.iter().map(|part| part.profile().max_delay).min().filter(|_| timer.is_some());
    let max_delay = max_delay.unwrap_or_default();
    let wait = |after| timer.clone().filter(|_| after <= max_delay);
    let timer = match Ruling::of(Outcome::Allow { after }, true, wait) {
        Ruling::Wait(timer) => Some(timer),
        Ruling::TurnAway(wait) => {
            let waits = parts.iter().filter(|part| !part.delay().is_zero());
            waits.for_each(|part| part.report(None, false));
            let min_wait = parts.get(first).map_or(Duration::ZERO, |part| part.min_wait());
            give_back(&mut parts).await;
            // retry_after = wait - max_delay: by then the turn is near enough to wait for.
            let retry_after = wait.saturating_sub(max_delay);
            return Evaluation::Denied {
                parts,
                first,
                outcome: at_least(Outcome::Deny { retry_after }, min_wait),
            };
        }
        Ruling::Pass | Ruling::Deny => None,
    };
    parts.iter().for_each(|part| part.report(None, true));
    let mut beside = None;
    for mut shadow in shadows {
        shadow.ask(Question::Check);
        if shadow.is_answered() {
            observe(&mut *shadow).await;
            parts.push(shadow);
        } else {
            // A shadow delays no request.
            let spawner = shadow.profile().spawner.clone();
            beside = in_turn(
                beside,
                spawn_or_return(spawner.as_ref(), async move { observe(&mut *shadow).await }),
            );
        }
    }
    Evaluation::Admitted { parts, timer, beside }
}

/// Waits for the longest delay of all parts. The delay gets shorter when a request in front gives up its
/// turn.
pub(crate) async fn await_turn(timer: &DelayTimer, parts: &mut [Box<dyn EvaluationPart>]) {
    let left =
        |parts: &[Box<dyn EvaluationPart>]| parts.iter().map(|part| part.delay()).max().unwrap_or_default();
    let mut sleep = (timer.sleep)(left(parts));
    let turn = poll_fn(|context| {
        // `count` polls each part, so that each of them registers the waker; `any` would stop at the first.
        let moved = parts.iter_mut().map(|part| part.poll_sooner(context));
        if moved.filter(Poll::is_ready).count() > 0 {
            sleep = (timer.sleep)(left(parts));
        }
        sleep.as_mut().poll(context)
    });
    turn.await;
    parts.iter_mut().for_each(|part| part.take_turn());
}

/// Waits for the answer of a shadow, and reports it to observers.
async fn observe(shadow: &mut dyn EvaluationPart) {
    let answer = poll_fn(|context| shadow.poll_answer(context)).await;
    shadow.report(answer.as_ref().err(), true);
}

/// Handles a denial: refunds the charges, and reads the current figures of the local throttles that were not
/// charged.
async fn denied(mut parts: Vec<Box<dyn EvaluationPart>>) -> Evaluation {
    let denies = |part: &dyn EvaluationPart| part.outcome().filter(|outcome| !outcome.is_allowed());
    let first = parts.iter().position(|part| denies(&**part).is_some()).unwrap_or(0);
    let mut outcome = Outcome::Allow { after: Duration::ZERO };
    for part in parts.iter_mut().rev() {
        let ask = match denies(&**part) {
            Some(denial) => {
                part.report(None, true);
                outcome = outcome.and(at_least(denial, part.min_wait()));
                continue;
            }
            None if part.is_charged() => Question::Refund,
            None if part.is_local() => Question::Status,
            None => continue,
        };
        // A charge whose refund fails stays until the strategy has drained it.
        let _ = perform(&mut **part, ask).await;
    }
    Evaluation::Denied { parts, first, outcome }
}

/// Handles a failure: refunds the other charges.
async fn failed(
    mut parts: Vec<Box<dyn EvaluationPart>>,
    shadows: Vec<Box<dyn EvaluationPart>>,
    at: usize,
    failure: BackendError,
) -> Evaluation {
    // The refunds are awaited: if `OnError` lets the request pass, the other throttles check it again at
    // once, and need their true figures.
    for part in parts.iter_mut().rev().filter(|part| part.is_charged()) {
        let _ = perform(&mut **part, Question::Refund).await;
    }
    let failing = parts.remove(at);
    parts.extend(shadows);
    Evaluation::Failed { failed: vec![(failing.failing(), failure)], others: parts }
}
