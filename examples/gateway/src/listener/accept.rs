//! The connections of a listener.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch::Sender;
use tokio::time::sleep;
use traffik::runtime::{Runtime, Tokio};

use crate::gateway::Gateway;
use crate::listener::activity::ClientDeadlines;
use crate::listener::connection::{ClientConnection, HttpServer};
use crate::listener::places::{Full, Places};
use crate::listener::route::Door;
use crate::listener::tls::Tls;
use crate::observe::counters::{self, COUNTERS};
use crate::proxy::received::Received;

/// Times that a connection waits, a millisecond each, for others that were asked to end.
const TURNS: u32 = 100;

/// The response to a connection that gets no place.
const NO_PLACE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\nconnection: close\r\n\
    content-type: text/plain\r\ncontent-length: 38\r\n\r\nthe gateway has no place for this now\n";

/// A bound socket, and what serves its connections.
pub(crate) struct DoorListener {
    pub(crate) socket: TcpListener,
    pub(crate) address: SocketAddr,
    pub(crate) door: Door,
    pub(crate) places: Places,
    pub(crate) deadlines: ClientDeadlines,
    pub(crate) tls: Option<Tls>,
}

impl DoorListener {
    /// Accepts connections and serves each in a task, for ever. `end` signals the connections to end.
    pub(crate) async fn accept(&self, gateway: &Arc<Gateway>, end: &Sender<bool>) {
        let server = HttpServer::new(&self.door, self.deadlines);
        loop {
            let Ok((stream, peer)) = self.socket.accept().await else {
                // Most likely the process is out of file descriptors; connections that end free some.
                self.places.make_room();
                sleep(Duration::from_millis(10)).await;
                continue;
            };
            let mut place = self.places.take(peer.ip());
            for _ in 0..TURNS {
                if !matches!(place, Err(Full::Closing)) {
                    break;
                }
                sleep(Duration::from_millis(1)).await;
                place = self.places.take(peer.ip());
            }
            let (place, activity) = match place {
                Ok(place) => place,
                Err(full) => {
                    self.refuse(&stream, peer, full);
                    continue;
                }
            };
            // An error means that the client is gone already; reading will fail then.
            let _ = stream.set_nodelay(true);
            let received = Received { is_tls: self.tls.is_some() };
            let (door, gateway) = (self.door.clone(), Arc::clone(gateway));
            let local = stream.local_addr().ok().map(|local| local.ip());
            let connection = ClientConnection { peer, local, activity, door, gateway, received };
            let acceptor = self.tls.as_ref().map(Tls::acceptor);
            Tokio.spawn(connection.serve(server.clone(), stream, acceptor, place, end.subscribe()));
        }
    }

    /// Tells a client that there is no place, if that needs no waiting.
    fn refuse(&self, stream: &TcpStream, peer: SocketAddr, full: Full) {
        counters::count(match full {
            Full::Peer => &COUNTERS.connections_refused_of_peer,
            Full::All | Full::Closing => &COUNTERS.connections_refused,
        });
        tracing::debug!(%peer, "a connection got no place: {full:?}");
        if self.tls.is_none() {
            // A client that cannot take it at once gets nothing.
            let _ = stream.try_write(NO_PLACE);
        }
    }
}
