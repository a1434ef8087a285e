//! Locks for critical sections of your own, across threads or, with a shared store, across machines.
//!
//! A [`Lock`] is what a store can do: grant a name once, renew the grant, take it back. [`Locks`] is what one uses:
//! it waits, for as long as its [`LockSettings`] say, and answers with a guard, [`LockGuard`].
//!
//! * Every grant ends by itself after its [`Ttl`], so whoever dies with a lock in hand blocks nobody for longer.
//! * Every grant of a name has a larger *fencing token* than those before it. A grant can end while its holder is
//!   paused; hand the token to whatever the lock protects and let that refuse a smaller one than it has seen.
//!
//! ```
//! use std::time::Duration;
//! use traffik::lock::{LockSettings, Locks, MemoryLock};
//! use traffik::storage::BackendError;
//! # use std::future::{Future, ready};
//! # struct Runtime;
//! # impl traffik::Timer for Runtime {
//! #     fn sleep(&self, _: Duration) -> impl Future<Output = ()> + Send + 'static { ready(()) }
//! # }
//! # fn run<F: Future>(future: F) -> F::Output {
//! #     let mut context = std::task::Context::from_waker(std::task::Waker::noop());
//! #     match std::pin::pin!(future).poll(&mut context) {
//! #         std::task::Poll::Ready(output) => output,
//! #         std::task::Poll::Pending => unreachable!("a free lock is granted at once"),
//! #     }
//! # }
//!
//! # run(async {
//! let settings = LockSettings::new().ttl(Duration::from_secs(10)).blocking_timeout(Duration::from_secs(1));
//! let locks = Locks::new(MemoryLock::new(), Runtime).with(settings);
//!
//! let held = locks.lock("invoices/7").await?; // waits a second at most
//! assert!(locks.try_lock("invoices/7").await?.is_none());
//! let token = held.fencing();
//! held.release().await?;
//! assert!(locks.lock("invoices/7").await?.fencing() > token);
//! # Ok::<(), BackendError>(())
//! # }).unwrap();
//! ```

use std::future::pending;
use std::sync::Arc;

use traffik_core::storage::{BoxFuture, Reply};

mod effective;
mod environment;
mod error;
mod grant;
mod guard;
mod locks;
mod memory;
mod settings;
mod storage;

pub use effective::{defaults, set_defaults};
pub use environment::{BLOCKING, BLOCKING_TIMEOUT, TTL};
pub use grant::{Grant, Ttl};
pub use guard::LockGuard;
pub use locks::Locks;
pub use memory::MemoryLock;
pub use settings::LockSettings;
pub use storage::{KeyValueStore, LockedStorage};

// What stands in signatures, and nobody has to name.
#[doc(hidden)]
pub use effective::EffectiveSettings;
#[doc(hidden)]
pub use error::SettingsError;
#[doc(hidden)]
pub use grant::Owner;

/// Grants names to one holder at a time: what a store has to be able to do to be used through [`Locks`].
///
/// * A name MUST NOT be granted while an earlier grant of it has neither ended nor been released.
/// * A grant MUST end once its [`Ttl`] is over, also if nobody asks any more.
/// * The fencing token of a grant MUST be larger than those of all grants of that name before it.
/// * Renewing and releasing MUST have no effect on a name unless it is still held by that very grant.
/// * A name is any bytes, the empty ones too; different bytes MUST be different names.
/// * The name and the grant MUST be read before the call returns; the answer owns all it needs.
/// * A call MUST NOT need an async runtime, though awaiting its answer may; and an answer may be dropped.
pub trait Lock: Send + Sync {
    /// Grants a name if nobody holds it, without waiting for whoever does; `None` if somebody does.
    fn try_acquire(&self, name: &[u8], ttl: Ttl) -> Reply<Option<Grant>>;

    /// Lets a grant end only after `ttl` from now. False if it had ended already, and somebody else may be in.
    fn renew(&self, grant: &Grant, ttl: Ttl) -> Reply<bool>;

    /// Ends a grant. False if it had ended already, and somebody else may have been in meanwhile.
    fn release(&self, grant: Grant) -> Reply<bool>;

    /// Completes when it is worth trying to acquire a name again: a hint, for who cannot have it now.
    ///
    /// May come too early, too late or never, as it does unless an implementation knows better.
    fn vacated(&self, name: &[u8]) -> BoxFuture<'static, ()> {
        let _ = name;
        Box::pin(pending())
    }
}

#[deny(clippy::missing_trait_methods)]
impl<T: Lock + ?Sized> Lock for Arc<T> {
    fn try_acquire(&self, name: &[u8], ttl: Ttl) -> Reply<Option<Grant>> {
        (**self).try_acquire(name, ttl)
    }

    fn renew(&self, grant: &Grant, ttl: Ttl) -> Reply<bool> {
        (**self).renew(grant, ttl)
    }

    fn release(&self, grant: Grant) -> Reply<bool> {
        (**self).release(grant)
    }

    fn vacated(&self, name: &[u8]) -> BoxFuture<'static, ()> {
        (**self).vacated(name)
    }
}
