//! The storage and the settings that several throttles share.

use std::sync::Arc;

use bytes::Bytes;
use http::Response;
use traffik_core::storage::{AsyncStorage, BoxFuture};
use traffik_core::{Strategy, debug_fields};

use super::builder::ThrottleBuilder;
use super::handle::Throttle;
use crate::http::denial::{Denial, Handler};
use crate::http::headers::HeaderFormat;
use crate::http::on_error::OnError;
use crate::http::request::RequestParts;
use crate::identify::{Identify, Identity};
use crate::middleware::background::{SpawnFn, background};

/// A storage and settings for several throttles. Each throttle can override the settings.
///
/// Choose it when all throttles of a server count in one store and answer alike.
///
/// ```
/// use traffik::Memory;
/// use traffik::storage::Local;
/// use traffik::{Gcra, rate};
/// use traffik::web::{ApiKey, ThrottleDefaults, HeaderFormat};
/// use std::sync::Arc;
///
/// let defaults = ThrottleDefaults::new(Arc::new(Local(Memory::new(10_000))))
///     .identifier(ApiKey::new("x-api-key".parse()?))
///     .headers(HeaderFormat::Draft10)
///     .on_throttled(|denial| denial.response());
/// let reads = defaults.throttle("reads", Gcra::new(rate!("50/s"))).build()?;
/// let writes = defaults.throttle("writes", Gcra::new(rate!("5/s"))).build()?;
/// assert_eq!((reads.uid(), writes.uid()), ("reads", "writes"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ThrottleDefaults<M> {
    storage: M,
    identifier: Option<Arc<dyn Identify>>,
    format: HeaderFormat,
    handler: Option<Handler>,
    on_error: OnError,
    spawner: Option<Arc<SpawnFn>>,
}

impl<M> ThrottleDefaults<M> {
    /// Starts with this storage and the settings of [`Throttle::builder`].
    #[must_use]
    pub fn new(storage: M) -> Self {
        let (format, on_error) = (HeaderFormat::None, OnError::Throttle);
        Self { storage, identifier: None, format, handler: None, on_error, spawner: None }
    }

    /// Sets the identifier. Defaults to [`Peer`](crate::Peer).
    #[must_use]
    pub fn identifier(self, identifier: impl Identify + 'static) -> Self {
        Self { identifier: Some(Arc::new(identifier)), ..self }
    }

    /// Sets a function of the request as the identifier. For one that can fail, use
    /// [`ThrottleBuilder::identifier_by`].
    #[must_use]
    pub fn identifier_by(
        self,
        identifier: impl Fn(RequestParts<'_>) -> Identity + Send + Sync + 'static,
    ) -> Self {
        self.identifier(identifier)
    }

    /// Sets the format of rate-limit headers. Defaults to none.
    #[must_use]
    pub fn headers(self, format: HeaderFormat) -> Self {
        Self { format, ..self }
    }

    /// Sets the function that answers denials; see [`ThrottleBuilder::on_throttled`].
    #[must_use]
    pub fn on_throttled(
        self,
        handler: impl Fn(&Denial<'_>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        Self { handler: Some(Handler::Now(Arc::new(handler))), ..self }
    }

    /// Sets the reaction to a failure of the storage or of a function of the request. Defaults to
    /// [`OnError::Throttle`].
    ///
    /// Failures are not logged: add an observer, such as `Traces`, by [`observe`](ThrottleBuilder::observe).
    #[must_use]
    pub fn on_error(self, on_error: OnError) -> Self {
        Self { on_error, ..self }
    }

    /// Sets the function that runs futures in the background; see [`ThrottleBuilder::spawner`].
    #[must_use]
    pub fn spawner(self, spawn: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static) -> Self {
        Self { spawner: Some(background(spawn)), ..self }
    }

    /// Returns the storage.
    pub const fn storage(&self) -> &M {
        &self.storage
    }

    /// Returns the builder of a throttle in this storage, with these settings; see [`Throttle::builder`].
    pub fn throttle<S: Strategy>(&self, uid: &str, strategy: S) -> ThrottleBuilder<S, M>
    where
        M: AsyncStorage<S> + Clone + 'static,
    {
        let mut builder = Throttle::builder(uid, strategy, self.storage.clone())
            .headers(self.format)
            .on_error(self.on_error.clone())
            .common(self.handler.clone(), self.spawner.clone());
        if let Some(identifier) = &self.identifier {
            builder = builder.identifier(Arc::clone(identifier));
        }
        builder
    }
}

debug_fields!([M: std::fmt::Debug] ThrottleDefaults<M>: storage);
