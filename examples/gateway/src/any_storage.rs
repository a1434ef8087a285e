//! Any storage behind one pointer.

use std::sync::Arc;

use traffik::storage::{AsyncStorage, Joint, Reply, WaitQueue};
use traffik::{ErasedKey, Hit, Op, Strategy, Timestamp};

/// Any storage, so that a throttle's code is there once for all of them.
#[derive(Clone)]
pub(crate) struct AnyStorage<S>(Arc<dyn StorageCalls<S>>);

impl<S: Strategy> AnyStorage<S> {
    pub(crate) fn new(storage: impl AsyncStorage<S> + 'static) -> Self {
        Self(Arc::new(storage))
    }
}

/// The calls that a throttle makes. Checks of several keys at once are not among them, nor compiled for each limit.
trait StorageCalls<S: Strategy>: Send + Sync {
    fn apply(&self, limit: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict>;
    fn load(&self, limit: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)>;
    fn is_local(&self) -> bool;
    fn known_denial(&self, limit: &S, key: &dyn ErasedKey, hit: &Hit<S::Cost>) -> Option<S::Verdict>;
    fn check_together(
        &self,
        limit: &S,
        keys: &[&dyn ErasedKey],
        hit: &Hit<S::Cost>,
    ) -> Reply<Joint<S::Verdict>>;
    fn wait_queue(&self) -> Option<&dyn WaitQueue>;
}

impl<S: Strategy, T: AsyncStorage<S>> StorageCalls<S> for T {
    fn apply(&self, limit: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        AsyncStorage::apply(self, limit, key, op)
    }

    fn load(&self, limit: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        AsyncStorage::load(self, limit, key)
    }

    fn is_local(&self) -> bool {
        AsyncStorage::<S>::is_local(self)
    }

    fn known_denial(&self, limit: &S, key: &dyn ErasedKey, hit: &Hit<S::Cost>) -> Option<S::Verdict> {
        AsyncStorage::known_denial(self, limit, key, hit)
    }

    fn check_together(
        &self,
        limit: &S,
        keys: &[&dyn ErasedKey],
        hit: &Hit<S::Cost>,
    ) -> Reply<Joint<S::Verdict>> {
        AsyncStorage::check_together(self, limit, keys, hit)
    }

    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        AsyncStorage::<S>::wait_queue(self)
    }
}

#[deny(clippy::missing_trait_methods)]
impl<S: Strategy> AsyncStorage<S> for AnyStorage<S> {
    fn apply(&self, limit: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        self.0.apply(limit, key, op)
    }

    fn load(&self, limit: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        self.0.load(limit, key)
    }

    fn is_local(&self) -> bool {
        self.0.is_local()
    }

    fn known_denial(&self, limit: &S, key: &dyn ErasedKey, hit: &Hit<S::Cost>) -> Option<S::Verdict> {
        self.0.known_denial(limit, key, hit)
    }

    fn check_together(
        &self,
        limit: &S,
        keys: &[&dyn ErasedKey],
        hit: &Hit<S::Cost>,
    ) -> Reply<Joint<S::Verdict>> {
        self.0.check_together(limit, keys, hit)
    }

    fn wait_queue(&self) -> Option<&dyn WaitQueue> {
        self.0.wait_queue()
    }
}
