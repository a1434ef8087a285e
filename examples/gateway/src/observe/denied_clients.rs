//! Counts the clients that a throttle denies most, by name, on any storage.

use std::sync::{Arc, OnceLock};

use traffik::storage::Storage;
use traffik::web::{Event, Observe, RequestOutcome};
use traffik::{DeniedKey, FixedWindow, Hit, Memory, Op, rate};

/// Most clients whose denials are counted.
const TRACKED: usize = 1_000;

/// Most clients that are listed.
const LISTED: usize = 20;

/// The observer that counts a throttle's denials by client. Its memory is bounded, however many clients there
/// are.
///
/// The names take about 100 kB, so there is no memory before the first denial: of ten thousand throttles,
/// most deny nobody.
#[derive(Clone, Default)]
pub(crate) struct DeniedClients(Arc<OnceLock<Memory<FixedWindow>>>);

impl DeniedClients {
    /// Returns the clients with the most denials, most first.
    pub(crate) fn most(&self) -> Vec<DeniedKey> {
        self.0.get().map(|names| names.denied(LISTED)).unwrap_or_default()
    }
}

impl Observe for DeniedClients {
    fn seen(&self, event: &Event<'_>) {
        if let (RequestOutcome::Denied | RequestOutcome::Never | RequestOutcome::WouldDeny, Some(client)) =
            (event.result, event.client)
        {
            // A memory counts denials by key. A hit of cost 2 on a limit of 1 is always denied, so this
            // counts the client and leaves no state.
            let names =
                self.0.get_or_init(|| Memory::builder().capacity(1).track_denied_keys(TRACKED).build());
            let _ = names.apply_now(&FixedWindow::new(rate!("1/s")), client, &Op::Check(Hit::new(2)));
        }
    }
}
