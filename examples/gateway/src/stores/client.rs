//! The client of a shared store, by its URL.

use std::sync::Arc;

use traffik::runtime::Tokio;
use traffik::storage::BackendError;
use traffik::{MemcachedStorage, RedisStorage};

use crate::limits::plain::message;
use crate::limits::plan::CommonSettings;
use crate::limits::storage::{RedisKind, StorageSpec};
use crate::observe::log;

/// The client of a shared store.
#[derive(Clone)]
pub(crate) enum StoreClient {
    Redis(RedisStorage),
    Memcached(MemcachedStorage<Tokio>),
}

impl StoreClient {
    /// Builds the client of a store. It connects with the first call.
    ///
    /// # Errors
    ///
    /// Fails if the client rejects the URL, the namespace or a deadline.
    pub(crate) fn of(spec: &StorageSpec, url: &str, common: &CommonSettings) -> Result<Self, String> {
        // With `--check`, a fault is the result, so it is not logged as well.
        let is_logged = !common.is_check;
        let warn = move |line: &str| {
            if is_logged {
                log::store_line(line);
            }
        };
        if let StorageSpec::Memcached(url) = spec {
            let builder = MemcachedStorage::url(Tokio, url).map_err(message)?.timeout(common.timeout);
            let builder = builder.connect_timeout(common.connect_timeout).on_warning(warn);
            return builder.namespace(&common.namespace).build().map(Self::Memcached).map_err(message);
        }
        let kind = if let StorageSpec::Redis { kind, .. } = spec { *kind } else { RedisKind::Server };
        let builder = kind.client(url)?.timeout(common.timeout);
        let builder = builder.connect_timeout(common.connect_timeout).on_warning(warn);
        builder.namespace(&common.namespace).build().map(Self::Redis).map_err(message)
    }

    /// Returns the servers, each with the cause of its present fault.
    pub(crate) fn faults(&self) -> Vec<(Arc<str>, Option<BackendError>)> {
        match self {
            Self::Redis(store) => store.nodes(),
            Self::Memcached(store) => store.nodes(),
        }
    }

    /// Returns the number of keys that the store evicted for lack of memory.
    pub(crate) fn evictions(&self) -> u64 {
        match self {
            Self::Redis(store) => store.evictions(),
            Self::Memcached(store) => store.evictions(),
        }
    }

    /// Returns the number of values found in the store that are no states.
    pub(crate) fn corrupt(&self) -> u64 {
        match self {
            Self::Redis(store) => store.corrupt(),
            Self::Memcached(store) => store.corrupt(),
        }
    }

    /// Asks every server to write.
    ///
    /// # Errors
    ///
    /// Fails with the first fault if a server cannot be reached or cannot write.
    pub(crate) async fn ready(&self) -> Result<(), String> {
        match self {
            Self::Redis(store) => store.ready().await,
            Self::Memcached(store) => store.ready().await,
        }
        .map_err(message)
    }

    /// Closes the connections, once the calls under way have ended. A dropped future leaves them to the
    /// runtime.
    pub(crate) async fn close(&self) {
        // The program ends next, so a connection that cannot be closed in order ends as well.
        let _ = match self {
            Self::Redis(store) => store.close().await,
            Self::Memcached(store) => store.close().await,
        };
    }
}
