//! The time budgets of a storage.

use std::time::Duration;

/// The longest that a call, and connecting, may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budgets {
    pub(super) call: Duration,
    pub(super) connect: Duration,
}
