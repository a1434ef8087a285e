//! The strategy, the cost and the class of a request: fixed, or functions of the request.

use std::future::Future;

use traffik_core::{Class, Strategy};

use super::ThrottleBuilder;
use crate::http::request::{Fallible, FixedOr};
use crate::identify::RequestParts;

impl<S: Strategy, M> ThrottleBuilder<S, M> {
    /// Chooses the strategy for each request by a function, in place of the strategy of the constructor.
    ///
    /// Strategies of one type and period share a client's state: what was used of 100 a minute stays used of
    /// 20 a minute. Strategies that differ in type or period have separate states: hits under 5 an hour use
    /// nothing of 100 a second.
    pub fn strategy_by<A: Fallible<S>>(
        mut self,
        strategy: impl Fn(RequestParts<'_>) -> A + Send + Sync + 'static,
    ) -> Self {
        self.settings.strategy = FixedOr::function(strategy);
        self
    }

    /// Chooses the strategy for each request asynchronously; otherwise like
    /// [`strategy_by`](Self::strategy_by).
    pub fn strategy_by_async<A: Fallible<S> + 'static, F: Future<Output = A> + Send + 'static>(
        mut self,
        strategy: impl Fn(RequestParts<'_>) -> F + Send + Sync + 'static,
    ) -> Self {
        self.settings.strategy = FixedOr::awaited(strategy);
        self
    }

    /// Sets the cost of every request. Defaults to 1.
    pub fn cost(mut self, cost: S::Cost) -> Self {
        self.settings.cost = FixedOr::Fixed(cost);
        self
    }

    /// Chooses the cost of each request by a function.
    pub fn cost_by<A: Fallible<S::Cost>>(
        mut self,
        cost: impl Fn(RequestParts<'_>) -> A + Send + Sync + 'static,
    ) -> Self {
        self.settings.cost = FixedOr::function(cost);
        self
    }

    /// Chooses the cost of each request asynchronously; otherwise like [`cost_by`](Self::cost_by).
    pub fn cost_by_async<A: Fallible<S::Cost> + 'static, F: Future<Output = A> + Send + 'static>(
        mut self,
        cost: impl Fn(RequestParts<'_>) -> F + Send + Sync + 'static,
    ) -> Self {
        self.settings.cost = FixedOr::awaited(cost);
        self
    }

    /// Sets the class of every request, such as the region of this instance. Defaults to the default class.
    pub fn class(mut self, class: Class) -> Self {
        self.settings.class = FixedOr::Fixed(class);
        self
    }

    /// Chooses the class of each request by a function. A value that a client can write MUST NOT become a
    /// tier, a priority or a region, unless a trusted component has checked it.
    pub fn class_by<A: Fallible<Class>>(
        mut self,
        class: impl Fn(RequestParts<'_>) -> A + Send + Sync + 'static,
    ) -> Self {
        self.settings.class = FixedOr::function(class);
        self
    }

    /// Chooses the class of each request asynchronously; otherwise like [`class_by`](Self::class_by).
    pub fn class_by_async<A: Fallible<Class> + 'static, F: Future<Output = A> + Send + 'static>(
        mut self,
        class: impl Fn(RequestParts<'_>) -> F + Send + Sync + 'static,
    ) -> Self {
        self.settings.class = FixedOr::awaited(class);
        self
    }
}
