//! A storage together with what all throttles on it have in common.

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
use crate::middleware::background::{Spawn, background};

/// A storage together with what all throttles on it have in common, unless they say otherwise.
///
/// ```
/// use traffik::Memory;
/// use traffik::storage::Local;
/// use traffik::{Gcra, rate};
/// use traffik::web::{ApiKey, ThrottleDefaults, HeaderFormat};
/// use std::sync::Arc;
///
/// let base = ThrottleDefaults::new(Arc::new(Local(Memory::new(10_000))))
///     .identifier(ApiKey::new("x-api-key".parse()?))
///     .headers(HeaderFormat::Draft10)
///     .on_throttled(|denial| denial.response());
/// let reads = base.throttle("reads", Gcra::new(rate!("50/s"))).build()?;
/// let writes = base.throttle("writes", Gcra::new(rate!("5/s"))).build()?;
/// # let _ = (reads, writes);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ThrottleDefaults<M> {
    storage: M,
    identifier: Option<Arc<dyn Identify>>,
    format: HeaderFormat,
    handler: Option<Handler>,
    on_error: OnError,
    spawner: Option<Arc<Spawn>>,
}

impl<M> ThrottleDefaults<M> {
    /// Throttles in this storage.
    #[must_use]
    pub fn new(storage: M) -> Self {
        let (format, on_error) = (HeaderFormat::None, OnError::Throttle);
        Self { storage, identifier: None, format, handler: None, on_error, spawner: None }
    }

    /// They count by what `identifier` says.
    #[must_use]
    pub fn identifier(self, identifier: impl Identify + 'static) -> Self {
        Self { identifier: Some(Arc::new(identifier)), ..self }
    }

    /// They count by what a function of the request says; one that may fail is for
    /// [each throttle](ThrottleBuilder::identifier_by).
    #[must_use]
    pub fn identifier_by(
        self,
        identifier: impl Fn(RequestParts<'_>) -> Identity + Send + Sync + 'static,
    ) -> Self {
        self.identifier(identifier)
    }

    /// They tell clients where they stand in this format.
    #[must_use]
    pub fn headers(self, format: HeaderFormat) -> Self {
        Self { format, ..self }
    }

    /// They answer denials so.
    #[must_use]
    pub fn on_throttled(
        self,
        handler: impl Fn(&Denial<'_>) -> Response<Bytes> + Send + Sync + 'static,
    ) -> Self {
        Self { handler: Some(Handler::Now(Arc::new(handler))), ..self }
    }

    /// They do this when the storage fails.
    #[must_use]
    pub fn on_error(self, on_error: OnError) -> Self {
        Self { on_error, ..self }
    }

    /// They run in the background what nobody waits for; see [`ThrottleBuilder::spawner`].
    #[must_use]
    pub fn spawner(self, spawn: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static) -> Self {
        Self { spawner: Some(background(spawn)), ..self }
    }

    /// The storage.
    pub const fn storage(&self) -> &M {
        &self.storage
    }

    /// A throttle in this storage; see [`Throttle::builder`].
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
