//! Passes on what clients and a server say, and keeps it.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// The bytes that passed over one connection since the last look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Said {
    pub(crate) requests: Vec<u8>,
    pub(crate) replies: Vec<u8>,
}

/// Listens on a port of its own. Its threads end with the connections they carry, or with the program.
pub(crate) struct Recorder {
    address: SocketAddr,
    connections: Arc<Mutex<Vec<Said>>>,
}

impl Recorder {
    pub(crate) fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::<Mutex<Vec<Said>>>::default();
        let kept = Arc::clone(&connections);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, server) = (client.unwrap(), TcpStream::connect(server).unwrap());
                for stream in [&client, &server] {
                    stream.set_nodelay(true).unwrap();
                }
                kept.lock().unwrap().push(Said::default());
                let number = kept.lock().unwrap().len() - 1;
                let pairs = [(client.try_clone(), server.try_clone(), true), (Ok(server), Ok(client), false)];
                for (from, to, is_request) in pairs {
                    let (kept, from, to) = (Arc::clone(&kept), from.unwrap(), to.unwrap());
                    thread::spawn(move || pass(&from, &to, |bytes| keep(&kept, number, is_request, bytes)));
                }
            }
        });
        Self { address, connections }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The bytes that passed over each connection since the last look, in the order in which the connections
    /// were made.
    ///
    /// An answer that a caller has is included.
    pub(crate) fn take(&self) -> Vec<Said> {
        self.connections.lock().unwrap().iter_mut().map(std::mem::take).collect()
    }
}

fn keep(kept: &Mutex<Vec<Said>>, number: usize, is_request: bool, bytes: &[u8]) {
    let said = &mut kept.lock().unwrap()[number];
    if is_request { &mut said.requests } else { &mut said.replies }.extend_from_slice(bytes);
}

/// Shows what comes before it is passed on.
fn pass(mut from: &TcpStream, mut to: &TcpStream, show: impl Fn(&[u8])) {
    let mut buffer = [0; 16 * 1024];
    loop {
        // A connection that breaks is one that ends.
        let read = from.read(&mut buffer).unwrap_or(0);
        show(&buffer[..read]);
        if read == 0 || to.write_all(&buffer[..read]).is_err() {
            let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
            return;
        }
    }
}
