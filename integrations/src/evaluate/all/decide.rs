//! Asking several throttles about one request, so that all of them are charged or none.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response};
use traffik_core::storage::{BoxFuture, Failure};
use traffik_core::{Origin, Outcome};

use crate::evaluate::all::Which;
use crate::evaluate::all::member::Part;
use crate::http::headers::Dialect;
use crate::http::request::{Refusal, RequestParts, Stop};
use crate::middleware::background::Unbroken;
use crate::rules::{Open, Rank};

/// What may have to be asked of a throttle.
pub(crate) struct Asked {
    pub(crate) applies: Applies,
    pub(crate) part: Pending,
}

/// Whether a throttle applies.
pub(crate) enum Applies {
    Yes(Rank),
    Later(Open),
}

/// What is to be asked of a throttle, or is being found out.
pub(crate) enum Pending {
    Ready(Box<dyn Part>),
    /// It does not count the request: its client is exempt.
    Exempt(Apart),
    /// It is as good as not there.
    Absent,
    Stop(Stop, Failing),
    Later(BoxFuture<'static, Pending>),
}

/// What several throttles have come to.
pub(crate) enum Decided {
    /// All admit, after this sleep if there is one.
    Admitted {
        parts: Vec<Box<dyn Part>>,
        sleep: Option<BoxFuture<'static, ()>>,
        beside: Option<BoxFuture<'static, ()>>,
    },
    /// One denies, and none is charged.
    Denied { parts: Vec<Box<dyn Part>>, first: usize, outcome: Outcome },
    /// The request is refused for what it is.
    Refused(Refusal),
    /// Some have failed, and none is charged.
    Failed { failed: Vec<(Failing, Failure)>, others: Vec<Box<dyn Part>> },
}

/// Tells what a throttle does that has failed. Where there is no request, the failure is told to observers alone.
pub(crate) type Failing = Box<dyn FnOnce(Option<RequestParts<'_>>, &Failure) -> Fate + Send>;

/// What becomes of a request on which a throttle cannot decide.
pub(crate) enum Fate {
    Passes(Apart),
    Answered(Response<Bytes>),
}

/// A throttle has let a request pass without a decision: why, and how clients are told.
#[derive(Clone, Copy)]
pub(crate) struct Apart {
    pub(crate) dialect: Dialect,
    pub(crate) origin: Origin,
}

impl Apart {
    /// Of two, the one that is to be told.
    pub(crate) fn or(self, other: Option<Self>) -> Self {
        other.filter(|other| other.origin > self.origin).unwrap_or(self)
    }

    /// Tells it where throttles have decided or not: what went wrong in any case, else only where nothing else is told.
    pub(crate) fn tell(self, is_decided: bool, headers: &mut HeaderMap) {
        if self.origin >= Origin::DegradedOpen || !is_decided {
            self.dialect.tell_origin(self.origin, headers);
        }
    }
}

/// Finds out what is to be asked, and decides. Tells as well what throttles did that did not decide.
pub(crate) async fn find_out(asked: Vec<Asked>, which: Which) -> (Decided, Option<Apart>) {
    let (mut parts, mut failed, mut taken, mut apart) = (Vec::new(), Vec::new(), false, None);
    for pending in applying(asked, which).await {
        let part = match pending {
            Pending::Later(part) => part.await,
            part => part,
        };
        let is_shadow = matches!(&part, Pending::Ready(part) if !part.is_enforced());
        if which == Which::MostSpecific && taken && !is_shadow {
            continue;
        }
        taken |= !is_shadow && !matches!(part, Pending::Absent);
        match part {
            Pending::Ready(part) => parts.push(part),
            Pending::Stop(Stop::Refused(refusal), _) => return (Decided::Refused(refusal), None),
            Pending::Stop(Stop::Failed(failure), failing) => failed.push((failing, failure)),
            Pending::Exempt(exempt) => apart = Some(exempt.or(apart)),
            Pending::Absent | Pending::Later(_) => {}
        }
    }
    if failed.is_empty() {
        (decide(parts).await, apart)
    } else {
        (Decided::Failed { failed, others: parts }, apart)
    }
}

/// What is to be asked of those that apply, in the order in which they count.
async fn applying(asked: Vec<Asked>, which: Which) -> Vec<Pending> {
    let mut applying = Vec::with_capacity(asked.len());
    for Asked { applies, part } in asked {
        let rank = match (applies, which) {
            (Applies::Yes(rank), _) => Some(rank),
            (Applies::Later(open), Which::MostSpecific) => open.rank().await,
            (Applies::Later(open), Which::All) => open.applies().await.then(Rank::default),
        };
        applying.extend(rank.map(|rank| (rank, part)));
    }
    if which == Which::MostSpecific {
        applying.sort_by_key(|(rank, _)| std::cmp::Reverse(*rank));
    }
    applying.into_iter().map(|(_, part)| part).collect()
}

/// Asks all of them. Where there is a background, it comes to its end even if nobody waits for it any more: else a
/// client whom one of them denies could use up the others by going away in time.
pub(crate) fn decide(parts: Vec<Box<dyn Part>>) -> BoxFuture<'static, Decided> {
    let waits = parts.len() > 1 && parts.iter().any(|part| !part.is_local());
    match parts.iter().find_map(|part| part.spawner()).filter(|_| waits) {
        Some(spawn) => Box::pin(Unbroken::new(Box::pin(ask(parts)), spawn)),
        None => Box::pin(ask(parts)),
    }
}

async fn ask(parts: Vec<Box<dyn Part>>) -> Decided {
    let (mut parts, shadows): (Vec<_>, Vec<_>) = parts.into_iter().partition(|part| part.is_enforced());
    // What is known in this process is asked first without charging, unless there is only one to ask.
    let several = parts.len() > 1;
    let mut denies = false;
    for at in 0..parts.len() {
        let Some(part) = parts.get_mut(at).filter(|_| several) else { continue };
        if !part.is_local() {
            denies |= part.is_denied_already();
            continue;
        }
        match part.peek().await {
            Ok(outcome) => denies |= !outcome.is_allowed(),
            Err(failure) => return failed(parts, shadows, at, failure).await,
        }
    }
    if denies {
        return denied(parts).await;
    }
    for local in [false, true] {
        for at in 0..parts.len() {
            let Some(part) = parts.get_mut(at).filter(|part| part.is_local() == local) else { continue };
            match part.check().await {
                Ok(outcome) if outcome.is_allowed() => {}
                Ok(_) => return denied(parts).await,
                Err(failure) => return failed(parts, shadows, at, failure).await,
            }
        }
    }
    admitted(parts, shadows).await
}

/// All admit: the longest of their delays is sat out, and the shadows are asked.
async fn admitted(mut parts: Vec<Box<dyn Part>>, shadows: Vec<Box<dyn Part>>) -> Decided {
    let delay = |part: &dyn Part| match part.outcome() {
        Some(Outcome::Allow { after }) => after,
        _ => Duration::ZERO,
    };
    let after = parts.iter().map(|part| delay(&**part)).max().unwrap_or_default();
    let sleep = if after.is_zero() { None } else { parts.iter().find_map(|part| part.sleep(after)) };
    if sleep.is_none() && !after.is_zero() {
        // There is no runtime to wait on: the client is told to wait instead, and its places given back.
        let first = parts.iter().position(|part| delay(&**part) == after).unwrap_or(0);
        for part in parts.iter_mut().rev() {
            part.give_back().await;
        }
        return Decided::Denied { parts, first, outcome: Outcome::Deny { retry_after: after } };
    }
    parts.iter().for_each(|part| part.watch());
    let mut beside = Vec::new();
    for mut shadow in shadows {
        if shadow.is_local() {
            match shadow.check().await {
                Ok(_) => shadow.watch(),
                Err(failure) => shadow.watch_failure(&failure),
            }
            parts.push(shadow);
        } else {
            beside.extend(shadow.aside());
        }
    }
    let beside: Option<BoxFuture<'static, ()>> = if beside.is_empty() {
        None
    } else {
        Some(Box::pin(async move {
            for shadow in beside {
                shadow.await;
            }
        }))
    };
    Decided::Admitted { parts, sleep, beside }
}

/// One denies: what others were charged is given back, and they tell what there is without the request.
async fn denied(mut parts: Vec<Box<dyn Part>>) -> Decided {
    let denies = |part: &dyn Part| part.outcome().filter(|outcome| !outcome.is_allowed());
    let first = parts.iter().position(|part| denies(&**part).is_some()).unwrap_or(0);
    let mut outcome = Outcome::Allow { after: Duration::ZERO };
    for part in parts.iter_mut().rev() {
        match denies(&**part) {
            Some(denial) => {
                part.watch();
                outcome = outcome.and(denial);
            }
            None if part.is_charged() => part.give_back().await,
            None if part.is_local() => part.rest().await,
            None => {}
        }
    }
    Decided::Denied { parts, first, outcome }
}

/// One has failed: what others were charged is given back.
async fn failed(
    mut parts: Vec<Box<dyn Part>>,
    shadows: Vec<Box<dyn Part>>,
    at: usize,
    failure: Failure,
) -> Decided {
    for part in parts.iter_mut().rev() {
        part.give_back().await;
    }
    let failing = parts.remove(at);
    parts.extend(shadows);
    Decided::Failed { failed: vec![(failing.failing(), failure)], others: parts }
}
