//! How long things may take.

use std::time::Duration;

/// How long a call may take, and connecting.
#[derive(Clone, Copy, Debug)]
pub(super) struct Budgets {
    pub(super) call: Duration,
    pub(super) connect: Duration,
}
