//! Storages over a store of your own that can compare and swap.
//!
//! Implement [`CompareAndSwap`] for the store, for example for a database with versioned rows, and put a
//! [`Coalescing`] around it: that is a storage for every strategy. It performs simultaneous operations on one
//! key by one load and one swap. So processes contend for a key, but the tasks of one process do not.
//!
//! ```
//! # #[cfg(feature = "manual")] {
//! use std::collections::HashMap;
//! use std::sync::{Arc, Mutex};
//! use traffik::cas::{Coalescing, CompareAndSwap, Versioned, Write};
//! use traffik::storage::BackendError;
//! use traffik::{AsyncLimiter, Clock, SystemClock, TokenBucket, rate};
//!
//! /// Rows with versions; a real store also removes a row after the duration in its `Write::Store`.
//! #[derive(Default)]
//! struct Rows(Mutex<HashMap<Vec<u8>, (Option<Vec<u8>>, u64)>>);
//!
//! impl CompareAndSwap for Rows {
//!     type Version = u64;
//!
//!     async fn load(&self, key: &[u8]) -> Result<Versioned<u64>, BackendError> {
//!         let (bytes, version) = self.0.lock().unwrap().get(key).cloned().unwrap_or_default();
//!         Ok(Versioned { bytes, version, now: SystemClock.now(), kept: None })
//!     }
//!
//!     async fn swap(
//!         &self,
//!         key: &[u8],
//!         version: u64,
//!         new: Write,
//!     ) -> Result<Option<Versioned<u64>>, BackendError> {
//!         {
//!             let mut rows = self.0.lock().unwrap();
//!             let row = rows.entry(key.to_vec()).or_default();
//!             if row.1 == version {
//!                 let bytes = if let Write::Store(bytes, _) = new { Some(bytes) } else { None };
//!                 *row = (bytes, version + 1);
//!                 return Ok(None);
//!             }
//!         }
//!         self.load(key).await.map(Some) // another process was faster
//!     }
//! }
//!
//! let storage = Coalescing::new(Arc::new(Rows::default()));
//! let limiter = AsyncLimiter::new(TokenBucket::new(rate!("2/min")), storage);
//! # let runtime = traffik::runtime::Manual::new();
//! # runtime.run(async {
//! assert!(limiter.check("alice").await?.is_allowed());
//! # Ok::<_, BackendError>(())
//! # })??;
//! # }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! For a store that can only get and set, choose `LockedStorage` (feature `locks`). For Redis and Memcached,
//! choose `RedisStorage` and `MemcachedStorage`.

#[doc(inline)]
pub use traffik_backends::cas::{Abandoned, Coalescing, CompareAndSwap, PendingOp, Versioned, Write, state};
