//! Helpers of the layers: calls that are made again, and the nodes of their keys.

use std::sync::Arc;

use traffik_core::storage::{AsyncStorage, MultiKeyReply, Reply};
use traffik_core::{ErasedKey, Hit, Op, Strategy};

use crate::util::key::KeyRefs;

/// Returns whether an operation may change a state. Without an answer, the outcome of such a call is unknown.
pub(super) const fn changes<S: Strategy>(op: &Op<S>) -> bool {
    !matches!(op, Op::Peek(_))
}

/// Checks several keys together, given their bytes.
pub(super) fn check_keys<S: Strategy>(
    storage: &impl AsyncStorage<S>,
    strategy: &S,
    keys: &[Vec<u8>],
    hit: &Hit<S::Cost>,
) -> Reply<MultiKeyReply<S::Verdict>> {
    let keys: Vec<_> = keys.iter().map(|key| key as &dyn ErasedKey).collect();
    storage.check_together(strategy, &keys, hit)
}

/// The distinct nodes of several keys. `None` stands for a storage that is a single node.
pub(super) enum KeyNodes {
    One(Option<Arc<str>>),
    Several(Vec<Option<Arc<str>>>),
}

impl KeyNodes {
    pub(super) fn of<S: Strategy>(storage: &impl AsyncStorage<S>, keys: KeyRefs<'_>) -> Self {
        let mut nodes = keys.iter().map(|key| storage.node(*key));
        let first = nodes.next().flatten();
        let Some(other) = nodes.by_ref().find(|node| *node != first) else { return Self::One(first) };
        let mut all = vec![first, other];
        for node in nodes {
            if !all.contains(&node) {
                all.push(node);
            }
        }
        Self::Several(all)
    }
}
