//! Connections that were upgraded to another protocol, such as WebSocket: bytes pass both ways until one side
//! closes, or the gateway ends.

use http::{Request, Response};
use hyper::upgrade::{OnUpgrade, on};
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tokio::sync::watch::Receiver;
use traffik::runtime::{Runtime, Tokio};

/// The client's side of a tunnel, before the upstream has agreed to it.
pub(crate) struct Tunnel {
    client: OnUpgrade,
    end: Receiver<bool>,
}

impl Tunnel {
    /// Takes the client's connection from its request, for the case that the upstream agrees.
    pub(crate) fn of<B>(request: &mut Request<B>, end: Receiver<bool>) -> Self {
        Self { client: on(request), end }
    }

    /// Connects both sides in a task, once the client has the response.
    pub(crate) fn open<B>(self, response: &mut Response<B>) {
        let (upstream, client, mut end) = (on(response), self.client, self.end);
        Tokio.spawn(async move {
            // An error means that a side was lost before the tunnel was open, or closed it; both are
            // closed then.
            let tunnel = async {
                let (client, upstream) = tokio::try_join!(client, upstream).ok()?;
                copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(upstream)).await.ok()
            };
            tokio::select! {
                _ = tunnel => {}
                _ = end.wait_for(|ends| *ends) => {}
            }
        });
    }
}
