//! Counts the clients that a throttle denies most, by name, on any storage.

use std::sync::Arc;

use traffik::storage::Storage;
use traffik::web::{Event, Observe, RequestOutcome};
use traffik::{DeniedKey, FixedWindow, Hit, Memory, Op, rate};

/// Most clients whose denials are counted.
const TRACKED: usize = 1_000;

/// Most clients that are listed.
const LISTED: usize = 20;

/// The observer that counts a throttle's denials by client. Its memory is bounded, however many clients there
/// are.
#[derive(Clone)]
pub(crate) struct DeniedClients(Arc<Memory<FixedWindow>>);

impl Default for DeniedClients {
    fn default() -> Self {
        Self(Arc::new(Memory::builder().capacity(1).track_denied_keys(TRACKED).build()))
    }
}

impl DeniedClients {
    /// Returns the clients with the most denials, most first.
    pub(crate) fn most(&self) -> Vec<DeniedKey> {
        self.0.denied(LISTED)
    }
}

impl Observe for DeniedClients {
    fn seen(&self, event: &Event<'_>) {
        if let (RequestOutcome::Denied | RequestOutcome::Never | RequestOutcome::WouldDeny, Some(client)) =
            (event.result, event.client)
        {
            // A memory counts denials by key. A hit of cost 2 on a limit of 1 is always denied, so this
            // counts the client and leaves no state.
            let _ = self.0.apply_now(&FixedWindow::new(rate!("1/s")), client, &Op::Check(Hit::new(2)));
        }
    }
}
