//! A storage as if it were elsewhere.

use std::sync::Arc;

use traffik::storage::{AsyncStorage, Reply};
use traffik::{ErasedKey, Op, Strategy, Timestamp};

/// Any storage, but each call reaches it a turn of the runtime later: what a storage elsewhere is like.
#[derive(Clone)]
pub struct Elsewhere<M>(Arc<M>);

pub fn elsewhere<M>(storage: M) -> Elsewhere<M> {
    Elsewhere(Arc::new(storage))
}

impl<S: Strategy, M: AsyncStorage<S> + 'static> AsyncStorage<S> for Elsewhere<M> {
    fn apply(&self, strategy: &S, key: &dyn ErasedKey, op: &Op<S>) -> Reply<S::Verdict> {
        let (storage, strategy, key, op) = (Arc::clone(&self.0), strategy.clone(), owned(key), *op);
        Reply::pending(async move {
            tokio::task::yield_now().await;
            storage.apply(&strategy, &key, &op).await
        })
    }

    fn load(&self, strategy: &S, key: &dyn ErasedKey) -> Reply<(S::State, Timestamp)> {
        let (storage, strategy, key) = (Arc::clone(&self.0), strategy.clone(), owned(key));
        Reply::pending(async move {
            tokio::task::yield_now().await;
            storage.load(&strategy, &key).await
        })
    }
}

/// The bytes of a key.
pub fn owned(key: &dyn ErasedKey) -> Vec<u8> {
    let mut bytes = Vec::new();
    key.feed_to(&mut |piece| bytes.extend_from_slice(piece));
    bytes
}
