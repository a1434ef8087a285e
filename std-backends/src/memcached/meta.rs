//! The commands that `memcache-async` does not support: four commands of the meta protocol, and `stats`.
//!
//! * Counting a hit: `ma` with `N J MD`. `decrement` neither makes an item nor sets its expiry. A new key
//!   would take three round trips, and a process that dies between them would leave a count that never
//!   expires. `decrement` also returns no CAS version.
//! * Loading a state: `mg` with `v c t`. `gets` does not report the rest of an item's life, and a denial that
//!   lasts longer has to be stored anew.
//! * Reading the generation and the server's time: `mg` with `N T v c t`, for the same reason, and because no
//!   command of the client makes a missing item or changes the expiry of another.
//! * Removing an unchanged item: `md` with `C`. `delete` heeds no CAS version and waits for no answer. A
//!   `cas` with an expired item would remove it as well, but a server without room refuses that.
//! * Reading evictions: `stats`, which the client does not know.
//!
//! Each reply repeats the opaque number (`O`) of its command, so no reply is taken for another's. `gets`,
//! `cas`, `add` and `version` go through `memcache-async`: see [`command`](super::command).

use std::fmt::Write;
use std::io::{self, Error};

use futures_util::AsyncReadExt;

use super::clock::LAST;
use super::command::{Command, unexpected};
use super::wire::{MAX_ITEM_BYTES, Stream, Wire, number};

/// Reads an item and the rest of its life.
pub(super) struct LoadCommand<'a>(pub(super) &'a str);

/// An item as the server returned it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct StoredItem {
    pub(super) bytes: Vec<u8>,
    /// The CAS version, which differs after each change.
    pub(super) unique: u64,
    /// Seconds that the item will be kept; `None` if it never expires or the server does not say.
    pub(super) rest: Option<u64>,
}

/// Reads the item of a generation and, from its rest, the server's time. Makes an empty item where there is
/// none.
pub(super) struct GenerationCommand<'a> {
    pub(super) name: &'a str,
    /// The item of a list of servers, if that and evictions are to be read as [`SurveyExtras`].
    pub(super) list: Option<&'a str>,
}

/// The item of a generation as the server returned it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct GenerationItem {
    /// The number in digits; empty before the namespace is first cleared.
    pub(super) bytes: Vec<u8>,
    /// The CAS version; `None` if there is no item.
    pub(super) unique: Option<u64>,
    /// The server's time, in seconds since 1970; `None` if the server reports none.
    pub(super) second: Option<u64>,
}

/// Removes an item whose CAS version is still `unique`. Answers `false` if it has changed or is gone.
pub(super) struct RemoveCommand<'a> {
    pub(super) name: &'a str,
    pub(super) unique: u64,
}

/// Increments or decrements a number. A missing item is made with `first`.
pub(super) struct ArithmeticCommand<'a> {
    pub(super) name: &'a str,
    /// [`DECREMENT`] or `INCREMENT`.
    pub(super) change: &'static str,
    pub(super) first: u64,
    /// The expiry of a new item.
    pub(super) expiry: u32,
}

/// The flags that subtract 1 and return the number and its CAS version.
pub(super) const DECREMENT: &str = " MD v c O";
/// The flags that add 1 and return the same.
#[cfg(feature = "locks")]
pub(super) const INCREMENT: &str = " MI v c O";

/// The reply to [`ArithmeticCommand`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ArithmeticReply {
    /// The new number and its CAS version.
    Value { value: u64, unique: u64 },
    /// There is an item, but it is no number.
    NotANumber,
}

impl Command for LoadCommand<'_> {
    type Answer = Option<StoredItem>;
    const CHANGES: bool = false;

    async fn ask<T: Stream>(&self, wire: &mut Wire<T>) -> io::Result<Self::Answer> {
        let command = format!("mg {} v c t O{}\r\n", self.0, wire.number);
        ask_item(wire, &command).await
    }
}

impl Command for GenerationCommand<'_> {
    type Answer = GenerationItem;
    // An empty item stands for generation 0, as a missing one does, so making it changes nothing.
    const CHANGES: bool = false;

    async fn ask<T: Stream>(&self, wire: &mut Wire<T>) -> io::Result<GenerationItem> {
        wire.send(self.text(wire.number).as_bytes()).await?;
        self.read(wire).await
    }
}

impl GenerationCommand<'_> {
    /// Returns the text of the command, with the opaque number `call`.
    pub(super) fn text(&self, call: u32) -> String {
        // `T` also sets the expiry of an item that another program left without one.
        // All three commands leave in one write, so the extras cost no further round trip.
        let mut text = format!("mg {} N{LAST} T{LAST} v c t O{call}\r\n", self.name);
        if let Some(list) = self.list {
            let _ = write!(text, "mg {list} T{LIST_TTL_SECONDS} v c t O{call}\r\nstats\r\n");
        }
        text
    }

    /// Reads the reply, and leaves the extras unread.
    pub(super) async fn read<T: Stream>(&self, wire: &mut Wire<T>) -> io::Result<GenerationItem> {
        let Some(StoredItem { bytes, unique, rest }) = read_item(wire).await? else {
            return Ok(GenerationItem::default());
        };
        // second = LAST − rest, since the item expires at LAST.
        let second = rest.and_then(|rest| u64::from(LAST).checked_sub(rest));
        Ok(GenerationItem { bytes, unique: Some(unique), second })
    }
}

/// Seconds that a list of servers is kept after a storage has last read it.
pub(super) const LIST_TTL_SECONDS: u32 = 60;

/// The extras of a survey, behind the item of a generation.
pub(super) struct SurveyExtras {
    /// The list of servers that a storage has stored there.
    pub(super) list: Option<StoredItem>,
    /// The number of items that the server evicted for lack of memory.
    pub(super) evictions: io::Result<u64>,
}

/// Reads the extras of a survey.
pub(super) async fn read_survey_extras<T: Stream>(wire: &mut Wire<T>) -> io::Result<SurveyExtras> {
    let list = read_item(wire).await?;
    Ok(SurveyExtras { list, evictions: evictions(wire).await })
}

/// Reads the reply to `stats`: the number of evicted items.
///
/// # Errors
///
/// Fails also if the server refuses; its whole reply has been read then.
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

impl Command for RemoveCommand<'_> {
    type Answer = bool;

    async fn ask<T: Stream>(&self, wire: &mut Wire<T>) -> io::Result<bool> {
        let command = format!("md {} C{} O{}\r\n", self.name, self.unique, wire.number);
        let line = wire.ask(command.as_bytes()).await?;
        let words = || line.split(|byte| *byte == b' ');
        match words().next() {
            Some(word @ (b"HD" | b"EX" | b"NF")) if is_reply_to(words(), wire.number) => Ok(word == b"HD"),
            _ => Err(unexpected(&line)),
        }
    }
}

impl Command for ArithmeticCommand<'_> {
    type Answer = ArithmeticReply;

    async fn ask<T: Stream>(&self, wire: &mut Wire<T>) -> io::Result<ArithmeticReply> {
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
            Some(b"VA") if is_reply_to(words(), wire.number) => {
                let unique = words().find_map(|word| number(word.strip_prefix(b"c")?));
                let value = wire.line().await?;
                match (number(&value), unique) {
                    (Some(value), Some(unique)) => Ok(ArithmeticReply::Value { value, unique }),
                    _ => Err(unexpected(&value)),
                }
            }
            // The reply has no opaque number, so only its exact text is accepted.
            _ if line == b"CLIENT_ERROR cannot increment or decrement non-numeric value" => {
                Ok(ArithmeticReply::NotANumber)
            }
            _ => Err(unexpected(&line)),
        }
    }
}

/// Reads an item with the flags `v c t`, or `None` if there is none.
async fn ask_item<T: Stream>(wire: &mut Wire<T>, command: &str) -> io::Result<Option<StoredItem>> {
    wire.send(command.as_bytes()).await?;
    read_item(wire).await
}

async fn read_item<T: Stream>(wire: &mut Wire<T>) -> io::Result<Option<StoredItem>> {
    let line = wire.line().await?;
    let words = || line.split(|byte| *byte == b' ');
    // Older servers leave out the opaque number when they find nothing.
    if words().next() == Some(b"EN") && (line == b"EN" || is_reply_to(words(), wire.number)) {
        return Ok(None);
    }
    let flag_value = |flag: &[u8]| words().skip(2).find_map(|word| number(word.strip_prefix(flag)?));
    let length = words().nth(1).and_then(number).filter(|length| *length <= MAX_ITEM_BYTES);
    let (b"VA", true, Some(length), Some(unique)) =
        (words().next().unwrap_or_default(), is_reply_to(words(), wire.number), length, flag_value(b"c"))
    else {
        return Err(unexpected(&line));
    };
    // The bound of `length` holds, so a server cannot make this allocate more than an item of 1 MiB.
    let mut bytes = vec![0; length as usize + END.len()];
    wire.read_exact(&mut bytes).await?;
    if bytes.split_off(length as usize) != END {
        return Err(unexpected(&bytes));
    }
    Ok(Some(StoredItem { bytes, unique, rest: flag_value(b"t") }))
}

/// The end of a line, and of an item's bytes.
const END: &[u8] = b"\r\n";

/// Returns whether a reply repeats the opaque number of this call.
fn is_reply_to<'a>(mut words: impl Iterator<Item = &'a [u8]>, call: u32) -> bool {
    words.any(|word| word.strip_prefix(b"O").and_then(number) == Some(call.into()))
}
