//! The plan to ask about one request, or the reason why there is none.

use std::sync::Arc;

use traffik_core::storage::BoxFuture;
use traffik_core::{ErasedKey, Hit, Origin, Strategy, Verdict};

use super::key::{Apart, kinds_of};
use super::profile::Scope;
use super::rejection::Cause;
use super::settings::Settings;
use crate::http::request::RequestError;
use crate::identify::{ClientKey, Identity};

/// All that is to be asked about one request.
pub(crate) struct Plan<S: Strategy, M> {
    pub(crate) settings: Arc<Settings<S>>,
    /// Made for this request, if it is not the throttle's own.
    pub(crate) limit: Option<S>,
    /// Chosen for this request, if it is not the throttle's own.
    pub(crate) storage: Option<M>,
    pub(crate) client: ClientKey,
    pub(crate) scope: Option<Scope>,
    pub(crate) hit: Hit<S::Cost>,
    /// Whether the limit is enforced for this client.
    pub(crate) enforced: bool,
}

impl<S: Strategy, M> Plan<S, M> {
    /// Where a decision comes from that a storage has made.
    pub(crate) fn origin(&self, verdict: &S::Verdict) -> Origin {
        if self.enforced { verdict.origin() } else { Origin::Shadow }
    }
}

impl<S: Strategy, M> Plan<S, M> {
    /// Asks for the state that the plan is about, of the throttle of this name. Nothing else makes its key:
    /// the client, the scope, and the throttle.
    #[inline(always)]
    pub(crate) fn with_key<T>(&self, uid: &str, ask: impl FnOnce(&dyn ErasedKey) -> T) -> T {
        let apart = self.limit.as_ref().and_then(|limit| self.apart(uid, limit));
        let (plain, scoped, plain_apart, scoped_apart);
        // One call for all of them, so that it is made part of what calls this.
        let key: &dyn ErasedKey = match (&apart, &self.scope) {
            (None, None) => {
                plain = (&self.client, uid);
                &plain
            }
            (None, Some(Scope(scope))) => {
                scoped = (&self.client, &**scope, uid);
                &scoped
            }
            (Some(apart), None) => {
                plain_apart = (&self.client, apart);
                &plain_apart
            }
            (Some(apart), Some(Scope(scope))) => {
                scoped_apart = (&self.client, &**scope, apart);
                &scoped_apart
            }
        };
        ask(key)
    }

    /// The throttle's part of the key, if the limit of the request keeps a state of its own.
    #[cold]
    fn apart<'a>(&self, uid: &'a str, strategy: &S) -> Option<Apart<'a>> {
        let kinds = kinds_of(strategy);
        (kinds != self.settings.kinds).then_some(Apart { uid, kinds })
    }
}

/// A plan, or why there is none.
pub(crate) enum Prepared<S: Strategy, M> {
    Ready(Plan<S, M>),
    Not(Unasked),
    Later(BoxFuture<'static, Planned<S, M>>),
}

/// A plan, or why nothing is asked.
pub(crate) type Planned<S, M> = Result<Plan<S, M>, Unasked>;

/// Why a throttle asks nothing about a request, and whether the client is to feel it: of a shadow it does not.
pub(crate) struct Unasked {
    pub(crate) why: Why,
    pub(crate) enforced: bool,
}

/// Why nothing is asked.
pub(crate) enum Why {
    /// The request is not counted.
    Skip(Origin),
    Stop(RequestError),
}

impl<S: Strategy, M: Send> Prepared<S, M> {
    /// The plan, once it is there.
    pub(crate) async fn get(self) -> Planned<S, M> {
        match self {
            Self::Ready(plan) => Ok(plan),
            Self::Not(unasked) => Err(unasked),
            Self::Later(planned) => planned.await,
        }
    }
}

impl<S: Strategy, M> From<Planned<S, M>> for Prepared<S, M> {
    #[inline(always)]
    fn from(planned: Planned<S, M>) -> Self {
        match planned {
            Ok(plan) => Self::Ready(plan),
            Err(unasked) => Self::Not(unasked),
        }
    }
}

impl Unasked {
    /// The cause for which the request does not pass, if it does not.
    pub(crate) fn cause(&self) -> Option<Cause> {
        match &self.why {
            Why::Stop(RequestError::Failed(failure)) => Some(Cause::Failed(failure.clone())),
            Why::Stop(RequestError::Refused(refusal)) => Some(Cause::Refused(Some(refusal.clone()))),
            Why::Skip(_) => None,
        }
    }

    pub(super) const fn skip(origin: Origin) -> Self {
        Self { why: Why::Skip(origin), enforced: true }
    }
}

impl<S: Strategy> Settings<S> {
    pub(super) fn exempt(&self) -> Unasked {
        Unasked { why: Why::Skip(Origin::Exempt), enforced: self.enforcement.holds_for_all() }
    }

    /// A request by this client, as far as it is known, cannot be asked about.
    pub(super) fn stop(&self, client: Option<&Identity>, stop: RequestError) -> Unasked {
        let enforced = match client {
            Some(Identity::Key(client)) => self.enforcement.holds_for(client),
            _ => self.enforcement.holds_for_all(),
        };
        Unasked { why: Why::Stop(stop), enforced }
    }
}
