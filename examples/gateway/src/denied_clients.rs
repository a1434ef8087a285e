//! Who is denied most, by name, wherever the states are kept.

use std::sync::Arc;

use traffik::storage::Storage;
use traffik::web::{Event, Observe, RequestOutcome};
use traffik::{DeniedKey, FixedWindow, Hit, Memory, Op, rate};

/// How many of those denied most are known by name.
const NAMES: usize = 1_000;

/// How many of them are told.
const TOLD: usize = 20;

/// Hears of the denials of a throttle. What it takes up does not depend on who is denied.
#[derive(Clone)]
pub(crate) struct DeniedClients(Arc<Memory<FixedWindow>>);

impl Default for DeniedClients {
    fn default() -> Self {
        Self(Arc::new(Memory::builder().capacity(1).track_denied_keys(NAMES).build()))
    }
}

impl DeniedClients {
    /// Who was denied most, the most first.
    pub(crate) fn most(&self) -> Vec<DeniedKey> {
        self.0.denied(TOLD)
    }
}

impl Observe for DeniedClients {
    fn seen(&self, event: &Event<'_>) {
        if let (RequestOutcome::Denied | RequestOutcome::Never | RequestOutcome::WouldDeny, Some(client)) =
            (event.result, event.client)
        {
            // A memory keeps the names of those it denies, here all who ask for two of one; they leave no state.
            let _ = self.0.apply_now(&FixedWindow::new(rate!("1/s")), client, &Op::Check(Hit::new(2)));
        }
    }
}
