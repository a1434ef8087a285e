//! The talk of a client with a Memcached server, as lines of text.

use std::collections::BTreeMap;

use crate::recorder::{Recorder, Said};

/// A command and its answer, each as words and perhaps bytes.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) request: Message,
    pub(super) answer: Message,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    pub(super) words: Vec<String>,
    pub(super) bytes: Option<Vec<u8>>,
}

/// Takes from the front of what was said.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn line(&mut self) -> Vec<String> {
        let end = self.0.windows(2).position(|pair| pair == b"\r\n").expect("a line ends");
        let line = String::from_utf8(self.0[..end].to_vec()).unwrap();
        self.0 = &self.0[end + 2..];
        line.split(' ').map(str::to_owned).collect()
    }

    fn bytes(&mut self, length: &str) -> Vec<u8> {
        let length: usize = length.parse().unwrap();
        let bytes = self.0[..length].to_vec();
        assert_eq!(&self.0[length..length + 2], b"\r\n");
        self.0 = &self.0[length + 2..];
        bytes
    }

    /// A command, which is followed by bytes if it stores some.
    fn request(&mut self) -> Message {
        let words = self.line();
        let length = match words[0].as_str() {
            "add" | "cas" | "set" => words.get(4),
            "ms" => words.get(2),
            _ => None,
        };
        let bytes = length.map(|length| self.bytes(length));
        Message { words, bytes }
    }

    fn answer(&mut self) -> Message {
        let words = self.line();
        let bytes = match words[0].as_str() {
            "VALUE" => {
                let bytes = self.bytes(&words[3]);
                assert_eq!(self.line(), ["END"]);
                Some(bytes)
            }
            "VA" => Some(self.bytes(&words[1])),
            "STAT" => {
                while self.line() != ["END"] {}
                None
            }
            _ => None,
        };
        Message { words, bytes }
    }
}

/// Bytes as they are if they can be read, else in hexadecimal digits.
pub(super) fn bytes(bytes: &[u8]) -> String {
    if bytes.iter().all(|byte| (b' '..=b'~').contains(byte)) {
        return format!("'{}'", bytes.escape_ascii());
    }
    bytes.iter().fold("x".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

/// The calls since the last look, without the questions beside a call: the version of a server, its
/// statistics, and the lists of servers.
pub(super) fn calls(recorder: &Recorder) -> Vec<Call> {
    let mut calls = Vec::new();
    for Said { requests, replies } in recorder.take() {
        let (mut requests, mut replies) = (Reader(&requests), Reader(&replies));
        while !requests.0.is_empty() {
            calls.push(Call { request: requests.request(), answer: replies.answer() });
        }
        assert!(replies.0.is_empty(), "nothing comes unasked");
    }
    calls.retain(|call| {
        let words = &call.request.words;
        !["stats", "version"].contains(&words[0].as_str())
            && !words.get(1).is_some_and(|item| item.ends_with("#servers{}"))
    });
    calls
}

/// The placeholders for numbers that the server chooses, in the order in which they were first seen.
#[derive(Default)]
pub(super) struct Uniques(BTreeMap<u64, usize>);

impl Uniques {
    fn of(&mut self, unique: &str) -> String {
        let next = self.0.len() + 1;
        format!("{{u{}}}", self.0.entry(unique.parse().unwrap()).or_insert(next))
    }

    /// A message, with what tells versions of items apart renamed, and the number of the call left out.
    pub(super) fn text(&mut self, message: &Message) -> String {
        let verb = message.words[0].clone();
        let is_meta = ["ma", "md", "mg", "ms", "VA", "HD", "EX", "NF", "EN"].contains(&verb.as_str());
        let told = |(at, word): (usize, &String)| match (verb.as_str(), word.split_at_checked(1)) {
            ("cas", _) if at == 5 => self.of(word),
            ("VALUE", _) if at == 4 => self.of(word),
            (_, Some(("O", _))) if is_meta && at > 0 => "O{call}".to_owned(),
            ("VA", Some(("t", _))) if at > 1 => "t{rest}".to_owned(),
            (_, Some((flag @ ("c" | "C"), number))) if is_meta && number.parse::<u64>().is_ok() => {
                format!("{flag}{}", self.of(number))
            }
            _ => word.clone(),
        };
        let mut words: Vec<_> = message.words.iter().enumerate().map(told).collect();
        words.extend(message.bytes.as_deref().map(bytes));
        words.join(" ")
    }
}
