//! The limit, the cost and the class of a request: fixed, or functions of it.

use std::future::Future;

use traffik_core::{Class, Strategy};

use super::ThrottleBuilder;
use crate::http::request::{Fallible, FixedOr};
use crate::identify::RequestParts;

impl<S: Strategy, M> ThrottleBuilder<S, M> {
    /// Chooses the limit of each request, in the place of the one that was given first.
    ///
    /// Limits of one strategy and period share a client's state: what was used of 100 a minute stays used of
    /// 20 a minute. Others keep a state each: under 5 an hour and 100 a second a client has both, whole.
    pub fn strategy_by<A: Fallible<S>>(
        mut self,
        limit: impl Fn(RequestParts<'_>) -> A + Send + Sync + 'static,
    ) -> Self {
        self.settings.strategy = FixedOr::function(limit);
        self
    }

    /// The same, answered asynchronously.
    pub fn strategy_by_async<A: Fallible<S> + 'static, F: Future<Output = A> + Send + 'static>(
        mut self,
        limit: impl Fn(RequestParts<'_>) -> F + Send + Sync + 'static,
    ) -> Self {
        self.settings.strategy = FixedOr::awaited(limit);
        self
    }

    /// Every request costs this much, instead of 1.
    pub fn cost(mut self, cost: S::Cost) -> Self {
        self.settings.cost = FixedOr::Fixed(cost);
        self
    }

    /// A request costs what `cost` says.
    pub fn cost_by<A: Fallible<S::Cost>>(
        mut self,
        cost: impl Fn(RequestParts<'_>) -> A + Send + Sync + 'static,
    ) -> Self {
        self.settings.cost = FixedOr::function(cost);
        self
    }

    /// The same, answered asynchronously.
    pub fn cost_by_async<A: Fallible<S::Cost> + 'static, F: Future<Output = A> + Send + 'static>(
        mut self,
        cost: impl Fn(RequestParts<'_>) -> F + Send + Sync + 'static,
    ) -> Self {
        self.settings.cost = FixedOr::awaited(cost);
        self
    }

    /// Every request is of this class, such as that of the instance it is handled by.
    pub fn class(mut self, class: Class) -> Self {
        self.settings.class = FixedOr::Fixed(class);
        self
    }

    /// A request is of the class that `class` says. What a client can write MUST NOT become a tier, a
    /// priority or a region, unless something trusted has checked it.
    pub fn class_by<A: Fallible<Class>>(
        mut self,
        class: impl Fn(RequestParts<'_>) -> A + Send + Sync + 'static,
    ) -> Self {
        self.settings.class = FixedOr::function(class);
        self
    }

    /// The same, answered asynchronously.
    pub fn class_by_async<A: Fallible<Class> + 'static, F: Future<Output = A> + Send + 'static>(
        mut self,
        class: impl Fn(RequestParts<'_>) -> F + Send + Sync + 'static,
    ) -> Self {
        self.settings.class = FixedOr::awaited(class);
        self
    }
}
