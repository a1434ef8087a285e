//! A limit on requests: who is asking, what a request costs, and what is answered.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use traffik_core::storage::{AsyncStorage, BoxFuture, Failure, Reply};
use traffik_core::{Class, Cost, Hit, Op, Outcome, Strategy, Timer, Verdict};

use crate::Dialect;
use crate::answer::{Answers, unavailable};
use crate::identify::{Identify, Identity, Peer, RequestParts};

/// Limits requests by who sends them.
///
/// Counts by peer address, a cost of 1 each, and tells a client where it stands only when it is denied, unless
/// said otherwise. Cheap to clone; clones are the same throttle.
///
/// When the storage cannot answer, the request is answered 503 with `Retry-After: 1`: nobody passes unchecked.
pub struct Throttle<S: Strategy, M>(Arc<ThrottleBuilder<S, M>>);

/// What a [`Throttle`] is to be like.
#[must_use = "a throttle limits nothing until it is built and put in front of a service"]
pub struct ThrottleBuilder<S: Strategy, M> {
    uid: String,
    limit: S,
    storage: M,
    identifier: Box<dyn Identify>,
    hit: Hit<S::Cost>,
    answers: Answers,
    delay: Option<Box<Delay>>,
}

/// Sleeps on some runtime.
type Delay = dyn Fn(Duration) -> BoxFuture<'static, ()> + Send + Sync;

/// What is to be done with a request.
#[derive(Debug)]
pub enum Step<V> {
    /// Pass it on; the verdict, if there was one, may be told with the response.
    Pass(Option<V>),
    /// Do not pass it on; answer this instead.
    Answer(Response<Bytes>),
    /// Wait first.
    Wait(Wait<V>),
}

/// What a request waits for.
pub enum Wait<V> {
    /// For the storage.
    Storage(Reply<V>),
    /// For its turn, already admitted.
    Turn(BoxFuture<'static, ()>, Option<V>),
}

impl<V> fmt::Debug for Wait<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Storage(_) => "Wait::Storage",
            Self::Turn(..) => "Wait::Turn",
        })
    }
}

/// A name for a throttle or one of its policies that cannot be told in a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NameError(String);

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is no name for a throttle: use 1 to 64 of the characters a-z A-Z 0-9 . _ : -", self.0)
    }
}

impl std::error::Error for NameError {}

impl<S: Strategy, M> ThrottleBuilder<S, M> {
    /// Counts by what `identifier` says instead of by peer address.
    pub fn identifier(self, identifier: impl Identify + 'static) -> Self {
        Self { identifier: Box::new(identifier), ..self }
    }

    /// Every request costs this much.
    pub fn cost(self, cost: S::Cost) -> Self {
        Self { hit: Hit { cost, ..self.hit }, ..self }
    }

    /// Every request is of this class, such as that of the instance it is handled by.
    pub fn class(self, class: Class) -> Self {
        Self { hit: self.hit.with_class(class), ..self }
    }

    /// Tells clients where they stand with every response, in this dialect.
    pub fn headers(self, dialect: Dialect) -> Self {
        Self { answers: Answers { dialect, ..self.answers }, ..self }
    }

    /// Names the policies of a composed limit, in their order; without it all bear the throttle's own name.
    pub fn policies<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
        let names = names.into_iter().map(str::to_owned).collect();
        Self { answers: Answers { names, ..self.answers }, ..self }
    }

    /// Sits out the delays of a queueing strategy on this runtime. Without a runtime a request that would have
    /// to be delayed is answered 429 instead.
    pub fn runtime(self, timer: impl Timer + Send + Sync + 'static) -> Self {
        let delay = move |wait| -> BoxFuture<'static, ()> { Box::pin(timer.sleep(wait)) };
        Self { delay: Some(Box::new(delay)), ..self }
    }

    /// The throttle, if its names can be told in headers.
    pub fn build(self) -> Result<Throttle<S, M>, NameError> {
        for name in self.answers.names.iter().chain([&self.uid]) {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
            if !(1..=64).contains(&name.len()) || !name.bytes().all(plain) {
                return Err(NameError(name.clone()));
            }
        }
        Ok(Throttle(Arc::new(self)))
    }
}

impl<S: Strategy, M: AsyncStorage<S>> Throttle<S, M> {
    /// Runs `limit` in `storage`. The `uid` keeps throttles that share a storage apart, and names the policy
    /// in headers: 1 to 64 of the characters `a-z A-Z 0-9 . _ : -`.
    pub fn builder(uid: &str, limit: S, storage: M) -> ThrottleBuilder<S, M> {
        ThrottleBuilder {
            uid: uid.to_owned(),
            limit,
            storage,
            identifier: Box::new(Peer::default()),
            hit: Hit::new(S::Cost::uniform(1)),
            answers: Answers { names: vec![uid.to_owned()], dialect: Dialect::None },
            delay: None,
        }
    }

    /// Decides on a request. Allocates nothing if the storage is local and the request passes at once.
    pub fn decide(&self, request: RequestParts<'_>) -> Step<S::Verdict> {
        let it = &*self.0;
        let client = match it.identifier.identify(request) {
            Identity::Exempt => return Step::Pass(None),
            Identity::Key(client) => client,
        };
        match it.storage.apply(&it.limit, &(client, it.uid.as_str()), &Op::Check(it.hit)) {
            Reply::Ready(Some(answer)) => self.settle(answer),
            reply => Step::Wait(Wait::Storage(reply)),
        }
    }

    /// What follows from the storage's answer.
    pub(crate) fn settle(&self, answer: Result<S::Verdict, Failure>) -> Step<S::Verdict> {
        let Ok(verdict) = answer else { return Step::Answer(unavailable()) };
        match (verdict.outcome(), &self.0.delay) {
            (Outcome::Allow { after }, _) if after.is_zero() => Step::Pass(Some(verdict)),
            (Outcome::Allow { after }, Some(delay)) => Step::Wait(Wait::Turn(delay(after), Some(verdict))),
            _ => Step::Answer(self.0.answers.denied(&verdict)),
        }
    }
}

impl<S: Strategy, M> Throttle<S, M> {
    /// The name that keeps this throttle apart from others on the same storage.
    #[must_use]
    pub fn uid(&self) -> &str {
        &self.0.uid
    }

    /// The storage it counts in.
    #[must_use]
    pub fn storage(&self) -> &M {
        &self.0.storage
    }

    /// Tells the client where it stands, in the headers of the response to a request that was
    /// [passed on](Step::Pass).
    pub fn tell(&self, verdict: Option<&S::Verdict>, headers: &mut http::HeaderMap) {
        if let Some(verdict) = verdict {
            self.0.answers.tell(verdict, headers);
        }
    }
}

impl<S: Strategy, M> Clone for Throttle<S, M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<S: Strategy, M> fmt::Debug for Throttle<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").field("uid", &self.0.uid).finish_non_exhaustive()
    }
}

impl<S: Strategy, M> fmt::Debug for ThrottleBuilder<S, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ThrottleBuilder").field("uid", &self.uid).finish_non_exhaustive()
    }
}
