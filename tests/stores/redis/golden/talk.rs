//! The talk of a client with a Redis server, as lines of text.

use std::fmt::Write;

use crate::recorder::{Recorder, Said};

/// A value of the protocol RESP, version 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Item {
    Status(String),
    Error(String),
    Number(i64),
    Bytes(Vec<u8>),
    List(Vec<Item>),
    Nothing,
}

impl Item {
    /// The value at the front of some bytes.
    fn take(bytes: &mut &[u8]) -> Self {
        let (kind, text) = (bytes[0], line(&mut &bytes[1..]));
        *bytes = &bytes[1 + text.len() + 2..];
        let number = || text.parse::<i64>().unwrap();
        match kind {
            b'+' => Self::Status(text),
            b'-' => Self::Error(text),
            b':' => Self::Number(number()),
            b'$' | b'*' if number() < 0 => Self::Nothing,
            b'$' => {
                let value = bytes[..number() as usize].to_vec();
                *bytes = &bytes[value.len() + 2..];
                Self::Bytes(value)
            }
            b'*' => Self::List((0..number()).map(|_| Self::take(bytes)).collect()),
            other => panic!("{other} begins no value"),
        }
    }

    fn all(mut bytes: &[u8]) -> Vec<Self> {
        let mut items = Vec::new();
        while !bytes.is_empty() {
            items.push(Self::take(&mut bytes));
        }
        items
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            _ => panic!("no bytes: {self:?}"),
        }
    }

    pub(super) fn list(&self) -> &[Self] {
        match self {
            Self::List(items) => items,
            _ => panic!("no list: {self:?}"),
        }
    }

    /// Bytes as they are if they can be read, else in hexadecimal digits.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Status(text) => text.clone(),
            // The rest is the server's own wording.
            Self::Error(text) => format!("error {}", text.split(' ').next().unwrap_or_default()),
            Self::Number(number) => number.to_string(),
            Self::Bytes(bytes) if bytes.iter().all(|byte| (b'!'..=b'~').contains(byte)) => {
                format!("'{}'", bytes.escape_ascii())
            }
            Self::Bytes(bytes) => format!("x{}", hex(bytes)),
            Self::List(items) => {
                let items: Vec<_> = items.iter().map(Self::text).collect();
                format!("[{}]", items.join(" "))
            }
            Self::Nothing => "nothing".to_owned(),
        }
    }
}

fn line(bytes: &mut &[u8]) -> String {
    let end = bytes.windows(2).position(|pair| pair == b"\r\n").unwrap();
    String::from_utf8(bytes[..end].to_vec()).unwrap()
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

/// A command and its answer.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) words: Vec<Item>,
    pub(super) answer: Item,
}

impl Call {
    pub(super) fn verb(&self) -> String {
        String::from_utf8(self.words[0].bytes().to_vec()).unwrap()
    }

    /// The command, in which `{script}` stands for the text of a script or its hash.
    pub(super) fn text(&self) -> String {
        let hidden = match self.verb().as_str() {
            "EVALSHA" | "EVAL" => 1,
            "SCRIPT" => 2,
            _ => usize::MAX,
        };
        let words = self.words.iter().enumerate().map(|(at, word)| match word {
            _ if at == hidden => "{script}".to_owned(),
            Item::Bytes(bytes) if at == 0 => bytes.escape_ascii().to_string(),
            word => word.text(),
        });
        words.collect::<Vec<_>>().join(" ")
    }

    pub(super) fn answered(&self) -> String {
        match (self.verb().as_str(), &self.answer) {
            ("SCRIPT", _) => "{hash}".to_owned(),
            // The loaded list: some of the time for which it is kept has passed.
            (_, Item::List(items)) => match &items[..] {
                [found, seconds, micros, Item::Number(1..)] => {
                    format!("[{} {} {} kept]", found.text(), seconds.text(), micros.text())
                }
                _ => self.answer.text(),
            },
            _ => self.answer.text(),
        }
    }

    /// The hash of the script that was called, and whether that is one that loads or swaps.
    pub(super) fn script(&self) -> Option<(String, Option<&'static str>)> {
        if self.verb() != "EVALSHA" {
            return None;
        }
        let hash = String::from_utf8(self.words[1].bytes().to_vec()).unwrap();
        let name = match self.words.len() {
            5 => Some("load"),
            8 => Some("swap"),
            _ => None,
        };
        Some((hash, name))
    }
}

/// The calls since the last look, without the first commands of a connection and the looks for evictions.
pub(super) fn calls(recorder: &Recorder) -> Vec<Call> {
    let calls = recorder.take().into_iter().flat_map(|Said { requests, replies }| {
        let (requests, replies) = (Item::all(&requests), Item::all(&replies));
        assert_eq!(requests.len(), replies.len(), "each command is answered");
        requests.into_iter().zip(replies)
    });
    calls
        .map(|(request, answer)| Call { words: request.list().to_vec(), answer })
        .filter(|call| !["CLIENT", "HELLO", "PING", "INFO"].contains(&call.verb().as_str()))
        .collect()
}
