//! The options for the answers of a throttle.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use http::header::{HeaderName, HeaderValue};
use traffik_core::Strategy;

use super::ThrottleBuilder;
use crate::HeaderFormat;
use crate::http::denial::{Denial, Handler};
use crate::http::on_error::OnError;
use crate::http::response::SendWhen;

impl<S: Strategy, M> ThrottleBuilder<S, M> {
    /// Sets the least wait that a denial reports. A client that returns sooner is not denied for that.
    /// Defaults to 0 s.
    pub fn min_wait(mut self, min_wait: Duration) -> Self {
        self.settings.min_wait = min_wait;
        self
    }

    /// Sends rate-limit headers of this format with every response to a counted request. Defaults to none.
    pub fn headers(mut self, format: HeaderFormat) -> Self {
        self.profile.answers.format = format;
        self
    }

    /// Sends this header with the response to every request that the throttle admits or denies, except in
    /// shadow mode. Replaces the same header of a [handler](Self::on_throttled).
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.profile.answers.extra.push((name, value, SendWhen::Always));
        self
    }

    /// Sends this header with denials. Replaces the same header of a [handler](Self::on_throttled).
    pub fn denial_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.profile.answers.extra.push((name, value, SendWhen::WhenDenied));
        self
    }

    /// Names the limits of a composed strategy, in their order. The last name also stands for all limits
    /// beyond it. Defaults to the throttle's name.
    pub fn policies<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.profile.answers.names = names.into_iter().map(str::to_owned).collect();
        self
    }

    /// Answers denials by a function. [`Denial::response`] is the default answer.
    pub fn on_throttled(
        mut self,
        handler: impl Fn(&Denial<'_>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        self.profile.handler = Some(Handler::Now(Arc::new(handler)));
        self
    }

    /// Answers denials by an asynchronous function. A request waits for it without a bound; if its client
    /// goes away, the function's future is dropped.
    pub fn on_throttled_async<F: Future<Output = Response<Bytes>> + Send + 'static>(
        mut self,
        handler: impl Fn(&Denial<'_>) -> F + Send + Sync + 'static,
    ) -> Self {
        self.profile.handler = Some(Handler::Awaited(Arc::new(move |denial| Box::pin(handler(denial)))));
        self
    }

    /// Sets the reaction to a failure of the storage or of a function of the request. Defaults to
    /// [`OnError::Throttle`].
    ///
    /// Failures are not logged: add an observer, such as `Traces`, by [`observe`](Self::observe).
    pub fn on_error(mut self, on_error: OnError) -> Self {
        self.profile.on_error = on_error;
        self
    }
}
