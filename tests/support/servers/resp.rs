//! A client of Redis for tests: the protocol RESP, version 2, over a plain socket, bounded in time.
//!
//! Its own, so that what a test sees of a server does not depend on the client library under test.

use std::io::{self, BufRead, BufReader, Error, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::wait::SOON;

/// The answer of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// `OK` and the like.
    Status(String),
    /// An error, such as `MOVED 42 127.0.0.1:7000`.
    Error(String),
    Integer(i64),
    Bulk(Vec<u8>),
    Array(Vec<Reply>),
    /// No value, or no array.
    Null,
}

impl Reply {
    /// A value of this text.
    pub fn bulk(text: &str) -> Self {
        Self::Bulk(text.as_bytes().to_vec())
    }

    pub fn ok() -> Self {
        Self::Status("OK".to_owned())
    }

    /// The text of a status or of a value.
    pub fn text(&self) -> String {
        match self {
            Self::Status(text) => text.clone(),
            Self::Bulk(bytes) => String::from_utf8(bytes.clone()).unwrap(),
            _ => panic!("not a text: {self:?}"),
        }
    }

    pub fn error(&self) -> &str {
        match self {
            Self::Error(text) => text,
            _ => panic!("not an error: {self:?}"),
        }
    }

    pub fn integer(&self) -> i64 {
        match self {
            Self::Integer(number) => *number,
            _ => panic!("not a number: {self:?}"),
        }
    }

    pub fn array(&self) -> &[Self] {
        match self {
            Self::Array(items) => items,
            _ => panic!("not an array: {self:?}"),
        }
    }
}

/// A connection; what it is asked fails when no answer comes for 10 s, or as long as `set_patience` says.
pub struct Client(BufReader<TcpStream>);

impl Client {
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, SOON)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SOON))?;
        stream.set_write_timeout(Some(SOON))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// How long an answer may take from now on.
    pub fn set_patience(&mut self, patience: Duration) {
        self.0.get_ref().set_read_timeout(Some(patience)).unwrap();
    }

    /// Sends a command and receives its answer.
    pub fn ask(&mut self, words: &[impl AsRef<[u8]>]) -> io::Result<Reply> {
        self.send(words)?;
        self.receive()
    }

    pub fn send(&mut self, words: &[impl AsRef<[u8]>]) -> io::Result<()> {
        let mut command = format!("*{}\r\n", words.len()).into_bytes();
        for word in words.iter().map(AsRef::as_ref) {
            command.extend(format!("${}\r\n", word.len()).bytes());
            command.extend(word);
            command.extend(b"\r\n");
        }
        self.0.get_mut().write_all(&command)
    }

    /// The next answer; after one that came in part, the connection is of no more use.
    pub fn receive(&mut self) -> io::Result<Reply> {
        let mut line = String::new();
        if self.0.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let line = line.strip_suffix("\r\n").ok_or(ErrorKind::UnexpectedEof)?;
        let (kind, rest) = line.split_at_checked(1).ok_or(ErrorKind::InvalidData)?;
        let number = || rest.parse::<i64>().map_err(|error| Error::new(ErrorKind::InvalidData, error));
        Ok(match kind {
            "+" => Reply::Status(rest.to_owned()),
            "-" => Reply::Error(rest.to_owned()),
            ":" => Reply::Integer(number()?),
            "$" | "*" if number()? < 0 => Reply::Null,
            "$" => {
                let mut bytes = vec![0; number()? as usize + "\r\n".len()];
                self.0.read_exact(&mut bytes)?;
                bytes.truncate(bytes.len() - "\r\n".len());
                Reply::Bulk(bytes)
            }
            "*" => Reply::Array((0..number()?).map(|_| self.receive()).collect::<io::Result<_>>()?),
            _ => return Err(Error::new(ErrorKind::InvalidData, line)),
        })
    }
}
