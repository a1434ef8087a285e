//! The part of a storage's keys that is under one lock.

use traffik_core::storage::{Slot, Table};

use super::parts::Part;
use crate::util::spin_lock::SpinLock;

/// A table in a part of the one allocation.
pub(super) type Slots<T> = Table<T, Part<Slot<T>>>;

/// A part of the keys under a lock of its own.
pub(super) type Shard<T> = SpinLock<Slots<T>>;
