//! A proxy between a client and a server over TCP that fails as networks do, when told to.
//!
//! A fault begins and ends with a call, and holds for whatever has not been passed on by then. A connection
//! is present from its first byte on; one that is just being made may be taken for a new one.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::lanes::{Lanes, State};

/// How many bytes have gone which way; a client that has an answer finds it counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// Passed on to the server.
    pub requests: usize,
    /// Passed on to clients.
    pub replies: usize,
    /// Replies that were swallowed: the server has done what they tell of.
    pub lost: usize,
}

/// Listens on a port of its own while it lives; dropped, it closes all connections and ends its threads.
pub struct Proxy {
    address: SocketAddr,
    lanes: Arc<Lanes>,
    accepting: Option<JoinHandle<()>>,
}

impl Proxy {
    pub fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let lanes = Arc::new(Lanes::default());
        let of_thread = Arc::clone(&lanes);
        let accepting = Some(thread::spawn(move || of_thread.accept(&listener, server)));
        Self { address, lanes, accepting }
    }

    /// Where clients connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// As a server without a password.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Holds all bytes for this time, in each direction.
    pub fn delay(&self, delay: Duration) {
        self.set(|state| state.delay = delay);
    }

    /// Requests reach the server, but its replies are lost: the client cannot know what has been done.
    ///
    /// No network goes on after a gap, so connections that have lost something are closed when this ends.
    pub fn drop_replies(&self, drop: bool) {
        self.set(|state| {
            state.drop_replies = drop;
            if !drop {
                state.cut(|link| link.lossy);
            }
        });
    }

    /// Nothing passes in either direction, not even the end of a connection; all of it does when this ends.
    pub fn black_hole(&self, black_hole: bool) {
        self.set(|state| state.black_hole = black_hole);
    }

    /// Nothing passes any more on present connections, for good and not even their end, while new ones work:
    /// as where a network has forgotten a flow.
    pub fn silence(&self) {
        self.set(State::silence);
    }

    /// Closes all present connections.
    pub fn cut(&self) {
        self.set(|state| state.cut(|_| true));
    }

    /// New connections are closed at once.
    pub fn refuse(&self, refuse: bool) {
        self.set(|state| state.refuse = refuse);
    }

    /// Passes so many more bytes of replies, then closes the connection of the next, once.
    pub fn cut_after(&self, bytes: usize) {
        self.set(|state| state.cut_after = Some(bytes));
    }

    /// How many connections have been made, those that were refused included.
    pub fn connections(&self) -> usize {
        self.lanes.lock().connections
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.lanes.lock().open()
    }

    pub fn bytes(&self) -> Bytes {
        self.lanes.lock().bytes
    }

    fn set(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lanes.lock());
        self.lanes.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.set(|state| {
            state.ended = true;
            state.cut(|_| true);
        });
        // Wakes the thread that accepts, so that it sees that it has ended.
        let _ = TcpStream::connect(self.address);
        let _ = self.accepting.take().map(JoinHandle::join);
    }
}
