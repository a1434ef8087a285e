//! Ends what is open in good order once the server is asked to stop.

use tokio::sync::watch::{Receiver, Sender};

/// Asks all that is open to end. It needs no runtime.
#[derive(Clone, Debug, Default)]
pub(crate) struct Drain(Sender<bool>);

/// Kept by something as long as it is open.
pub(crate) struct End(Receiver<bool>);

impl Drain {
    /// For something that is open from now on.
    pub(crate) fn end(&self) -> End {
        End(self.0.subscribe())
    }

    /// Asks them, and waits until all have ended.
    pub(crate) async fn shutdown(&self) {
        self.0.send_replace(true);
        self.0.closed().await;
    }
}

impl End {
    /// Completes once it is asked to end.
    pub(crate) async fn asked(&self) {
        let mut asked = self.0.clone();
        // Whoever asks is there as long as the server runs.
        let _ = asked.wait_for(|asked| *asked).await;
    }
}
