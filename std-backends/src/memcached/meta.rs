//! The commands that `memcache-async` cannot ask, in words of our own: four commands of the meta protocol,
//! and `stats`.
//!
//! * Count a hit: `ma` with `N J MD`. `decrement` makes no item and gives it no end, so a new key would take
//!   three trips, and a process that dies between them leaves a count that never ends. It returns no mark.
//! * Load a state: `mg` with `v c t`. `gets` does not say for how long the item is kept yet; a denial that
//!   lasts longer has it stored anew.
//! * Ask for the generation and the server's time: `mg` with `N T v c t`, for the same reason, and because no
//!   command of the client makes an item that is missing, or gives one another end.
//! * Remove what was not changed: `md` with `C`. `delete` heeds no mark and waits for no answer. A `cas` by
//!   an item that is over would remove as well, but a server without room refuses that.
//! * Ask for evictions: `stats`, which the client does not know.
//!
//! Each answer names the call by its opaque number (`O`), so no answer is taken for another's. By
//! `memcache-async` go `gets`, `cas`, `add` and `version`: see [`command`](super::command).

use std::fmt::Write;
use std::io::{self, Error};

use futures_util::AsyncReadExt;

use super::clock::LAST;
use super::command::{Command, unexpected};
use super::wire::{LARGEST, Stream, Wire, number};

/// Looks for an item, and for how long it is kept.
pub(super) struct Load<'a>(pub(super) &'a str);

/// An item that is there.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) bytes: Vec<u8>,
    /// The mark of its contents, another one after each change.
    pub(super) unique: u64,
    /// The seconds for which it is kept yet; `None` if that is for ever, or if the server does not say it.
    pub(super) rest: Option<u64>,
}

/// The item of a generation, which is made empty where there is none, and the server's time by its end.
pub(super) struct GetGeneration<'a> {
    pub(super) name: &'a str,
    /// The item of a list of servers, if that and evictions are to be read after it as [`Beside`].
    pub(super) list: Option<&'a str>,
}

/// The item of a generation as it was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found {
    /// Empty before the namespace is first cleared.
    pub(super) bytes: Vec<u8>,
    /// The mark of its contents; `None` if there is no item.
    pub(super) unique: Option<u64>,
    /// The server's time, in seconds since 1970; `None` if it says none.
    pub(super) second: Option<u64>,
}

/// Removes an item that has not been changed since; false if it has, or is gone.
pub(super) struct Remove<'a> {
    pub(super) name: &'a str,
    pub(super) unique: u64,
}

/// Adds one to a number, or takes one away. Where there is no item, there is the first number from now on.
pub(super) struct Count<'a> {
    pub(super) name: &'a str,
    /// [`TAKEN`] or `ADDED`.
    pub(super) change: &'static str,
    pub(super) first: u64,
    /// For how long, if there was none.
    pub(super) expiry: u32,
}

/// The flags by which one is taken away, and the number and its version returned.
pub(super) const TAKEN: &str = " MD v c O";
/// The same, with one added.
#[cfg(feature = "locks")]
pub(super) const ADDED: &str = " MI v c O";

/// The result of counting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// The number is this now.
    To { value: u64, unique: u64 },
    /// There is an item, but it is no number.
    Not,
}

impl Command for Load<'_> {
    type Answer = Option<Item>;
    const CHANGES: bool = false;

    async fn ask<T: Stream>(&self, wire: &mut Wire<T>) -> io::Result<Self::Answer> {
        let command = format!("mg {} v c t O{}\r\n", self.0, wire.number);
        item(wire, &command).await
    }
}

impl Command for GetGeneration<'_> {
    type Answer = Found;
    // One that is empty stands for none.
    const CHANGES: bool = false;

    async fn ask<T: Stream>(&self, wire: &mut Wire<T>) -> io::Result<Found> {
        wire.send(self.text(wire.number).as_bytes()).await?;
        self.read(wire).await
    }
}

impl GetGeneration<'_> {
    /// Returns the words of the call of this number.
    pub(super) fn text(&self, call: u32) -> String {
        // An item that others left without an end is given one.
        let mut text = format!("mg {} N{LAST} T{LAST} v c t O{call}\r\n", self.name);
        if let Some(list) = self.list {
            let _ = write!(text, "mg {list} T{LISTED} v c t O{call}\r\nstats\r\n");
        }
        text
    }

    /// Takes the answer, but for what was asked beside.
    pub(super) async fn read<T: Stream>(&self, wire: &mut Wire<T>) -> io::Result<Found> {
        let Some(Item { bytes, unique, rest }) = read_item(wire).await? else {
            return Ok(Found::default());
        };
        let second = rest.and_then(|rest| u64::from(LAST).checked_sub(rest));
        Ok(Found { bytes, unique: Some(unique), second })
    }
}

/// For how many seconds a list of servers is kept after a storage has last looked at it.
pub(super) const LISTED: u32 = 60;

/// The answers to the questions beside the item of a generation.
pub(super) struct Beside {
    /// The list of servers that another storage, or this one, has put there.
    pub(super) list: Option<Item>,
    /// How many items the server gave up for want of room.
    pub(super) evictions: io::Result<u64>,
}

/// Reads what was asked beside the item of a generation.
pub(super) async fn beside<T: Stream>(wire: &mut Wire<T>) -> io::Result<Beside> {
    let list = read_item(wire).await?;
    Ok(Beside { list, evictions: evictions(wire).await })
}

/// Reads the answer to `stats`: how many items the server gave up.
///
/// # Errors
///
/// Fails also if the server refuses: all of its answer has been taken then.
async fn evictions<T: Stream>(wire: &mut Wire<T>) -> io::Result<u64> {
    let mut evictions = None;
    loop {
        let line = wire.line().await?;
        if let Some(count) = line.strip_prefix(b"STAT evictions ") {
            evictions = number(count);
        } else if line == b"END" {
            return evictions.ok_or_else(|| Error::other("the server counts no evictions"));
        } else if !line.starts_with(b"STAT ") {
            return Err(unexpected(&line));
        }
    }
}

impl Command for Remove<'_> {
    type Answer = bool;

    async fn ask<T: Stream>(&self, wire: &mut Wire<T>) -> io::Result<bool> {
        let command = format!("md {} C{} O{}\r\n", self.name, self.unique, wire.number);
        let line = wire.ask(command.as_bytes()).await?;
        let words = || line.split(|byte| *byte == b' ');
        match words().next() {
            Some(word @ (b"HD" | b"EX" | b"NF")) if is_of(words(), wire.number) => Ok(word == b"HD"),
            _ => Err(unexpected(&line)),
        }
    }
}

impl Command for Count<'_> {
    type Answer = Counted;

    async fn ask<T: Stream>(&self, wire: &mut Wire<T>) -> io::Result<Counted> {
        let mut numbers = std::array::from_fn(|_| itoa::Buffer::new());
        let [expiry, first, call] = &mut numbers;
        let words = [
            "ma ",
            self.name,
            " N",
            expiry.format(self.expiry),
            " J",
            first.format(self.first),
            self.change,
            call.format(wire.number),
            "\r\n",
        ];
        let line = wire.ask(words.concat().as_bytes()).await?;
        let words = || line.split(|byte| *byte == b' ');
        match words().next() {
            Some(b"VA") if is_of(words(), wire.number) => {
                let unique = words().find_map(|word| number(word.strip_prefix(b"c")?));
                let value = wire.line().await?;
                match (number(&value), unique) {
                    (Some(value), Some(unique)) => Ok(Counted::To { value, unique }),
                    _ => Err(unexpected(&value)),
                }
            }
            _ if line == b"CLIENT_ERROR cannot increment or decrement non-numeric value" => Ok(Counted::Not),
            _ => Err(unexpected(&line)),
        }
    }
}

/// Asks for an item with the flags `v c t` and reads it, if it is there.
async fn item<T: Stream>(wire: &mut Wire<T>, command: &str) -> io::Result<Option<Item>> {
    wire.send(command.as_bytes()).await?;
    read_item(wire).await
}

async fn read_item<T: Stream>(wire: &mut Wire<T>) -> io::Result<Option<Item>> {
    let line = wire.line().await?;
    let words = || line.split(|byte| *byte == b' ');
    // Older servers do not say which call it is that finds nothing.
    if words().next() == Some(b"EN") && (line == b"EN" || is_of(words(), wire.number)) {
        return Ok(None);
    }
    let told = |flag: &[u8]| words().skip(2).find_map(|word| number(word.strip_prefix(flag)?));
    let length = words().nth(1).and_then(number).filter(|length| *length <= LARGEST);
    let (b"VA", true, Some(length), Some(unique)) =
        (words().next().unwrap_or_default(), is_of(words(), wire.number), length, told(b"c"))
    else {
        return Err(unexpected(&line));
    };
    let mut bytes = vec![0; length as usize + END.len()];
    wire.read_exact(&mut bytes).await?;
    if bytes.split_off(length as usize) != END {
        return Err(unexpected(&bytes));
    }
    Ok(Some(Item { bytes, unique, rest: told(b"t") }))
}

/// The end of a line, and of an item's bytes.
const END: &[u8] = b"\r\n";

/// Whether the call of this number is answered, and not another.
fn is_of<'a>(mut words: impl Iterator<Item = &'a [u8]>, call: u32) -> bool {
    words.any(|word| word.strip_prefix(b"O").and_then(number) == Some(call.into()))
}
