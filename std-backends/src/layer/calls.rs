//! What wrappers need to know of a call, and to keep of it to make it again.

use traffik_core::storage::{AsyncStorage, Joint, Reply};
use traffik_core::{ErasedKey, Hit, Op, Strategy};

/// Whether an operation may change what is kept, so that its outcome is unknown if there is no answer.
pub(super) const fn changes<S: Strategy>(op: &Op<S>) -> bool {
    !matches!(op, Op::Peek(_))
}

/// Checks several keys of which the bytes have been kept.
pub(super) fn together<S: Strategy>(
    storage: &impl AsyncStorage<S>,
    limit: &S,
    keys: &[Vec<u8>],
    hit: &Hit<S::Cost>,
) -> Reply<Joint<S::Verdict>> {
    let keys: Vec<_> = keys.iter().map(|key| key as &dyn ErasedKey).collect();
    storage.check_together(limit, &keys, hit)
}
