//! A Memcached server as a process.

use std::io::{self, BufRead, BufReader, Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::server::{Program, Server};
use super::wait::SOON;

pub type Memcached = Server<MemcachedOptions>;

/// How a server is set up: what else it is started with, such as `-m 8`.
#[derive(Clone, Default)]
pub struct MemcachedOptions {
    arguments: Vec<String>,
}

impl MemcachedOptions {
    pub fn arguments(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().copied().map(str::to_owned));
        self
    }

    pub fn start(self) -> Memcached {
        Server::launch(self)
    }
}

impl Program for MemcachedOptions {
    const NAME: &'static str = "memcached";

    fn arguments(&self, port: u16) -> Vec<String> {
        // Run by root it asks whom to become. It stays root: a change of user would make the system forget
        // that it is to end with its parent. Others stay who they are.
        let fixed = ["-l", "127.0.0.1", "-p", &port.to_string(), "-U", "0", "-t", "2", "-u", "root"];
        fixed.map(str::to_owned).into_iter().chain(self.arguments.iter().cloned()).collect()
    }

    fn process_at(&self, address: SocketAddr) -> io::Result<u32> {
        let stats = ask(address, "stats")?;
        let id = stats.lines().find_map(|line| line.strip_prefix("STAT pid "));
        id.and_then(|id| id.parse().ok()).ok_or_else(|| Error::other("the statistics name no process"))
    }
}

impl Memcached {
    pub fn options() -> MemcachedOptions {
        MemcachedOptions::default()
    }

    pub fn start() -> Self {
        Self::options().start()
    }

    /// Puts bytes in an item.
    pub fn set(&self, item: &str, bytes: &[u8]) {
        let mut stream = TcpStream::connect_timeout(&self.address(), SOON).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let head = format!("set {item} 0 0 {}\r\n", bytes.len());
        stream.write_all(&[head.as_bytes(), bytes, b"\r\n"].concat()).unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        assert_eq!(answer, "STORED\r\n");
    }

    /// The bytes of an item, if it is there.
    pub fn get(&self, item: &str) -> Option<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&self.address(), SOON).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        stream.write_all(format!("mg {item} v\r\n").as_bytes()).unwrap();
        let (mut stream, mut head) = (BufReader::new(stream), String::new());
        stream.read_line(&mut head).unwrap();
        let length = head.strip_prefix("VA ")?.trim_end().parse().unwrap();
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes).unwrap();
        Some(bytes)
    }

    /// Sends lines, without the last line's end, over a connection of their own, and returns the lines of the
    /// answer.
    pub fn command(&self, lines: &str) -> String {
        ask(self.address(), lines).unwrap()
    }
}

fn ask(address: SocketAddr, lines: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, SOON)?;
    stream.set_read_timeout(Some(SOON))?;
    // `mn` is answered by `MN`, whatever came before: so ends an answer of any form.
    stream.write_all(format!("{lines}\r\nmn\r\n").as_bytes())?;
    let mut stream = BufReader::new(stream);
    let mut answer = String::new();
    loop {
        let start = answer.len();
        if stream.read_line(&mut answer)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        if answer.get(start..) == Some("MN\r\n") {
            answer.truncate(start);
            return Ok(answer);
        }
    }
}
