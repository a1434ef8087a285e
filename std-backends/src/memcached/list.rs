//! The list of servers that a storage names, stored on each of them so that instances with other lists
//! notice.

use std::io;
use std::sync::Arc;

use traffik_core::Seed;

use super::command::{Command, StoreCommand};
use super::meta::LIST_TTL_SECONDS;
use super::name;
use super::wire::{Stream, Wire};
use crate::util::warning::{LogWriter, Warning};

/// The bytes of names that are kept.
const MAX_NAME_BYTES: usize = 512;

/// The hexadecimal digits of a fingerprint.
const DIGITS: usize = 16;

/// The list of one storage.
pub(super) struct ServerList {
    /// The item that holds the list.
    pub(super) item: String,
    /// The fingerprint of the names, then the names as far as there is room.
    bytes: Vec<u8>,
    namespace: String,
    warning: Warning,
}

impl ServerList {
    /// Creates the list of these sorted names.
    pub(super) fn new(namespace: &str, names: &[Arc<str>], writer: LogWriter) -> Self {
        let joined = names.join(",");
        let fingerprint = Seed::new(0).digest(joined.as_str()).as_u64();
        let mut bytes = format!("{fingerprint:0DIGITS$x} {joined}").into_bytes();
        bytes.truncate(DIGITS + 1 + MAX_NAME_BYTES);
        let (item, namespace) = (name::other(namespace, "servers", ""), namespace.to_owned());
        Self { item, bytes, namespace, warning: Warning::new(writer) }
    }

    /// Stores the list on a server, unless the item has changed since this CAS version.
    pub(super) async fn put<T: Stream>(&self, wire: &mut Wire<T>, unique: Option<u64>) -> io::Result<()> {
        wire.begin();
        let put = StoreCommand { name: &self.item, bytes: &self.bytes, expiry: LIST_TTL_SECONDS, unique };
        put.ask(wire).await.map(|_| ())
    }

    /// Compares this list with the one on a server, and warns once of a difference. Returns whether this list
    /// has to be stored there.
    pub(super) fn compare(&self, title: &str, kept: Option<&[u8]>) -> bool {
        let Some(kept) = kept else { return true };
        if kept == self.bytes {
            return false;
        }
        // Bytes that are no list are replaced.
        let Some((theirs, ours)) = names(kept).zip(names(&self.bytes)) else { return true };
        // Both lists have this server alone, perhaps under two names: all keys are here anyway.
        if ![&theirs, &ours].iter().any(|list| list.contains([',', '…'])) {
            return false;
        }
        self.warning.give(|| {
            format!(
                "{title} is used with another list of servers in namespace {}: here {ours}, there {theirs}; \
                 a key that the lists keep on different servers has its limit twice; name the same \
                 servers everywhere",
                self.namespace
            )
        });
        true
    }
}

/// Returns the names in a list, or `None` if the bytes are no list.
fn names(bytes: &[u8]) -> Option<String> {
    let (fingerprint, names) = bytes.split_at_checked(DIGITS)?;
    let names = names.strip_prefix(b" ").filter(|_| fingerprint.iter().all(u8::is_ascii_hexdigit))?;
    let cut = if names.len() >= MAX_NAME_BYTES { "…" } else { "" };
    let plain = |byte: &u8| if byte.is_ascii_graphic() { char::from(*byte) } else { '?' };
    Some(names.iter().take(MAX_NAME_BYTES).map(plain).chain(cut.chars()).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn list(names: &[&str]) -> (ServerList, Arc<Mutex<Vec<String>>>) {
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let written = Arc::clone(&lines);
        let names: Vec<_> = names.iter().map(|name| Arc::from(*name)).collect();
        let writer: LogWriter = Arc::new(move |line| written.lock().unwrap().push(line.to_owned()));
        (ServerList::new("app", &names, writer), lines)
    }

    #[test]
    fn another_list_is_warned_of_once_and_replaced() {
        let ((three, lines), (four, _)) = (list(&["a:1", "b:1", "c:1"]), list(&["a:1", "b:1", "c:1", "d:1"]));
        assert!(three.compare("here", None) && three.compare("here", Some(b"no list")));
        assert!(!three.compare("here", Some(&three.bytes)));
        assert!(lines.lock().unwrap().is_empty());
        for _ in 0..2 {
            assert!(three.compare("memcached at a:1", Some(&four.bytes)));
        }
        let lines = lines.lock().unwrap();
        let words = "here a:1,b:1,c:1, there a:1,b:1,c:1,d:1;";
        assert!(lines.len() == 1 && lines[0].contains(words), "{lines:?}");
    }

    #[test]
    fn one_server_by_two_names_keeps_all_keys() {
        let ((one, lines), (other, _)) = (list(&["cache:1"]), list(&["10.0.0.7:1"]));
        assert!(!one.compare("here", Some(&other.bytes)) && lines.lock().unwrap().is_empty());
    }

    /// Names that are cut differ by their fingerprint.
    #[test]
    fn long_lists_are_told_apart() {
        let long = "x".repeat(600);
        let (one, lines) = list(&[&format!("{long}1")]);
        let (other, _) = list(&[&format!("{long}2")]);
        assert!(one.bytes.len() == other.bytes.len() && one.compare("here", Some(&other.bytes)));
        assert!(lines.lock().unwrap()[0].contains('…'));
    }
}
