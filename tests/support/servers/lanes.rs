//! The lanes that carry the bytes of the proxy: for each connection and direction a thread that reads and one
//! that passes on.
//!
//! The one that passes on waits for the time that a delay sets and for the end of a black hole, while the
//! other keeps reading, so that a delay does not add up.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use super::proxy::Bytes;

#[derive(Default)]
pub(super) struct Lanes {
    state: Mutex<State>,
    /// Told of every change of the state that a thread may be waiting for.
    pub changed: Condvar,
}

#[derive(Default)]
pub(super) struct State {
    pub delay: Duration,
    pub drop_replies: bool,
    pub black_hole: bool,
    pub refuse: bool,
    pub cut_after: Option<usize>,
    pub ended: bool,
    pub connections: usize,
    pub bytes: Bytes,
    /// The connections that are open, by number.
    links: HashMap<usize, Link>,
}

/// A client's connection and the one to the server that belongs to it.
pub(super) struct Link {
    client: Arc<TcpStream>,
    server: Arc<TcpStream>,
    /// Whether a part of the replies is missing.
    pub lossy: bool,
    /// Whether one of the directions is over.
    half: bool,
    /// Whether nothing passes any more.
    silent: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Requests,
    Replies,
}

/// The bytes of one read, and its time; no bytes are the end of the stream.
type Chunk = (Instant, Vec<u8>);

/// The fate of a chunk.
enum Fate {
    Pass,
    Lose,
    /// This number of bytes passes, and then the connection is closed.
    Cut(usize),
}

impl State {
    /// Closes the connections for which it is true.
    pub(super) fn cut(&mut self, which: impl Fn(&Link) -> bool) {
        self.links.retain(|_, link| !which(link));
    }

    pub(super) fn silence(&mut self) {
        self.links.values_mut().for_each(|link| link.silent = true);
    }

    pub(super) fn open(&self) -> usize {
        self.links.len()
    }
}

impl Drop for Link {
    /// Wakes the threads that read from either side, which may have been closed by its peer.
    fn drop(&mut self) {
        let _ = (self.client.shutdown(Shutdown::Both), self.server.shutdown(Shutdown::Both));
    }
}

impl Lanes {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// Carries connections until the proxy has ended; then all of its threads have ended too.
    pub(super) fn accept(&self, listener: &TcpListener, server: SocketAddr) {
        thread::scope(|scope| {
            for client in listener.incoming() {
                if self.lock().ended {
                    break;
                }
                let Some((number, client, server)) = client.ok().and_then(|client| self.open(client, server))
                else {
                    continue;
                };
                let lanes = [
                    (Direction::Requests, Arc::clone(&client), Arc::clone(&server)),
                    (Direction::Replies, server, client),
                ];
                for (direction, from, to) in lanes {
                    let (sender, chunks) = channel();
                    scope.spawn(move || read(&from, &sender));
                    scope.spawn(move || self.pass(number, direction, &to, &chunks));
                }
            }
        });
    }

    /// Connects a client to the server; a client that is dropped instead finds its connection closed.
    fn open(&self, client: TcpStream, server: SocketAddr) -> Option<(usize, Arc<TcpStream>, Arc<TcpStream>)> {
        let number = {
            let mut state = self.lock();
            state.connections += 1;
            if state.refuse {
                return None;
            }
            state.connections
        };
        let server = TcpStream::connect(server).ok()?;
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let (client, server) = (Arc::new(client), Arc::new(server));
        let link = Link {
            client: Arc::clone(&client),
            server: Arc::clone(&server),
            lossy: false,
            half: false,
            silent: false,
        };
        let mut state = self.lock();
        // The end of the proxy in the meantime has closed the connections that it knew, but not this one.
        if state.ended {
            return None;
        }
        state.links.insert(number, link);
        Some((number, client, server))
    }

    fn pass(&self, number: usize, direction: Direction, mut to: &TcpStream, chunks: &Receiver<Chunk>) {
        for (arrived, chunk) in chunks {
            let Some(fate) = self.fate(number, direction, arrived, chunk.len()) else { return };
            let goes_on = match fate {
                Fate::Lose => true,
                Fate::Pass if chunk.is_empty() => to.shutdown(Shutdown::Write).is_ok() && self.halve(number),
                Fate::Pass => to.write_all(&chunk).is_ok(),
                Fate::Cut(bytes) => {
                    // The connection is closed, whether it still took them or not.
                    let _ = to.write_all(&chunk[..bytes]);
                    false
                }
            };
            if !goes_on {
                let _ = self.lock().links.remove(&number);
                self.changed.notify_all();
            }
        }
    }

    /// Notes that one direction is over, and tells whether the other is not.
    fn halve(&self, number: usize) -> bool {
        let mut state = self.lock();
        state.links.get_mut(&number).is_some_and(|link| !std::mem::replace(&mut link.half, true))
    }

    /// Waits until a chunk is due and tells what becomes of it; none if its connection has been closed.
    fn fate(&self, number: usize, direction: Direction, arrived: Instant, length: usize) -> Option<Fate> {
        let mut state = self.lock();
        loop {
            let silent = state.links.get(&number)?.silent;
            let held = (arrived + state.delay).saturating_duration_since(Instant::now());
            state = if silent || state.black_hole {
                self.changed.wait(state).unwrap()
            } else if !held.is_zero() {
                self.changed.wait_timeout(state, held).unwrap().0
            } else {
                break;
            };
        }
        // Counted before they go: an answer that a caller has is counted.
        let State { links, bytes, drop_replies, cut_after, .. } = &mut *state;
        if direction == Direction::Requests {
            bytes.requests += length;
            return Some(Fate::Pass);
        }
        if *drop_replies {
            links.get_mut(&number)?.lossy = true;
            bytes.lost += length;
            return Some(Fate::Lose);
        }
        if let Some(left) = cut_after {
            if *left < length {
                let passed = std::mem::take(cut_after)?;
                bytes.replies += passed;
                return Some(Fate::Cut(passed));
            }
            *left -= length;
        }
        bytes.replies += length;
        Some(Fate::Pass)
    }
}

fn read(mut from: &TcpStream, chunks: &Sender<Chunk>) {
    let mut buffer = [0; 16 * 1024];
    loop {
        // A connection that breaks is one that ends.
        let read = from.read(&mut buffer).unwrap_or(0);
        if chunks.send((Instant::now(), buffer[..read].to_vec())).is_err() || read == 0 {
            return;
        }
    }
}
