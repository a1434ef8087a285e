//! A server of one's own.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

/// A server on a free port, without data on disk; ended when dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) address: String,
}

impl Server {
    pub(crate) fn start(program: &str, arguments: impl FnOnce(&str) -> Vec<String>) -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port")
            .port()
            .to_string();
        let process =
            Command::new(program).args(arguments(&port)).stdout(Stdio::null()).spawn().expect(program);
        let address = format!("127.0.0.1:{port}");
        while std::net::TcpStream::connect(&address).is_err() {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        Self { process, address }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
