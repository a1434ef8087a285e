//! The options for the requests that a throttle counts, and for their clients.

use std::future::Future;

use http::Method;
use http::header::{ACCESS_CONTROL_REQUEST_METHOD, HeaderName, ORIGIN};
use traffik_core::Strategy;

use super::ThrottleBuilder;
use crate::http::request::Fallible;
use crate::identify::{Anonymous, Identify, Identity, RequestParts};
use crate::rules::Rule;
use crate::throttle::profile::{Identifier, IdentityCache, Scope};

impl<S: Strategy, M> ThrottleBuilder<S, M> {
    /// Sets the identifier of clients. Defaults to [`Peer`](crate::Peer), the peer's address.
    pub fn identifier(mut self, identifier: impl Identify + 'static) -> Self {
        self.profile.identifier = Identifier::Now(Box::new(identifier));
        self
    }

    /// Identifies clients by a function of the request. For a client that it refuses or exempts, no other
    /// function of the request is called.
    ///
    /// Refuse a wrong value, as here; `?` on it would be a failure, which `OnError::Allow` lets pass.
    ///
    /// ```
    /// use http::StatusCode;
    /// use traffik::{Gcra, rate};
    /// use traffik::web::{Identity, Refusal, Throttle};
    ///
    /// let throttle = Throttle::in_memory("api", Gcra::new(rate!("5/s"))).identifier_by(|request| {
    ///     let Some(user) = request.headers.get("x-user") else { return Identity::anonymous() };
    ///     match user.to_str() {
    ///         Ok(user) => Identity::of(b'u', user.as_bytes()),
    ///         Err(_) => Identity::Refused(Refusal::new(StatusCode::BAD_REQUEST, "x-user must be text")),
    ///     }
    /// });
    /// # let _ = throttle.build()?;
    /// # Ok::<(), traffik::web::ThrottleError>(())
    /// ```
    pub fn identifier_by<A: Fallible<Identity>>(
        mut self,
        identifier: impl Fn(RequestParts<'_>) -> A + Send + Sync + 'static,
    ) -> Self {
        self.profile.identifier =
            Identifier::Function(Box::new(move |request| identifier(request).into_result()));
        self
    }

    /// Identifies clients by an asynchronous function of the request. A request waits for it without a bound.
    pub fn identifier_by_async<A: Fallible<Identity> + 'static, F: Future<Output = A> + Send + 'static>(
        mut self,
        identifier: impl Fn(RequestParts<'_>) -> F + Send + Sync + 'static,
    ) -> Self {
        self.profile.identifier = Identifier::Later(Box::new(move |request| {
            let answer = identifier(request);
            Box::pin(async move { answer.await.into_result() })
        }));
        self
    }

    /// Applies the throttle to requests that meet this rule, or another rule that was added by this method.
    /// Defaults to all requests.
    pub fn apply_to(mut self, rule: Rule) -> Self {
        self.profile.rules.apply_to(rule);
        self
    }

    /// Lets requests that meet this rule pass uncounted. A rule with a path does not match unusual spellings,
    /// such as `/a/../health`: see [`Rule`].
    pub fn bypass(mut self, rule: Rule) -> Self {
        self.profile.rules.bypass(rule);
        self
    }

    /// Lets the preflights of browsers pass uncounted.
    ///
    /// A preflight is an `OPTIONS` request with `Origin` and `Access-Control-Request-Method`, which asks
    /// whether a page of another site may send a request. The request itself is counted.
    ///
    /// To let the page read a denial, put the CORS layer outside the throttle, and list the headers to read,
    /// such as `Retry-After` and `RateLimit`, in `Access-Control-Expose-Headers`. Without a CORS layer, add
    /// its headers by [`header`](Self::header).
    pub fn bypass_preflights(self) -> Self {
        let asks = |name: HeaderName| move |request: RequestParts<'_>| request.headers.contains_key(&name);
        let preflight = Rule::new().methods([Method::OPTIONS]).when(asks(ORIGIN));
        self.bypass(preflight.when(asks(ACCESS_CONTROL_REQUEST_METHOD)))
    }

    /// Shares the identity of a request with all throttles of the same cache; see [`IdentityCache`].
    pub fn identity_cache(mut self, cache: IdentityCache) -> Self {
        self.profile.cache = Some(cache);
        self
    }

    /// Sets the treatment of requests without an identity, such as those without an API key. Defaults to
    /// one limit for all of them. A request without a peer address is refused: see [`Peer`](crate::Peer).
    pub fn anonymous(mut self, anonymous: Anonymous) -> Self {
        self.profile.anonymous = anonymous;
        self
    }

    /// Sets the scope of requests. A scope in the extensions of a request takes precedence. Defaults to none.
    pub fn scope(mut self, scope: impl Into<Scope>) -> Self {
        self.profile.scope = Some(scope.into());
        self
    }
}
