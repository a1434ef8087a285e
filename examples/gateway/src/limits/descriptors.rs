//! The descriptors of a rate limit service that a throttle applies to.

use std::fmt;
use std::sync::Arc;

use crate::limits::keys::KeySpec;

/// The descriptors that a throttle applies to, and their place in a client's key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DescriptorSpec {
    /// The domain of the requests; `None` for any domain.
    pub(crate) domain: Option<String>,
    /// The entries of a descriptor, all of them, in order.
    pub(crate) entries: Vec<EntrySpec>,
    /// The name of the limit in responses; `None` for that of the policy.
    pub(crate) limit_name: Option<String>,
    /// The names of the limits that a match of this one switches off for the request.
    pub(crate) replaces: Vec<String>,
    /// The file that the throttle comes from, which decides how entries are looked up.
    pub(crate) lookup: Lookup,
    /// Whether the throttle counts no HTTP requests.
    pub(crate) is_alone: bool,
}

/// The rule by which a descriptor finds its throttles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Lookup {
    /// The most specific throttle whose entries all match.
    BestMatch,
    /// The most specific entry at each step, as Envoy's own service looks a descriptor up.
    StepByStep,
}

/// One entry of a descriptor.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EntrySpec {
    pub(crate) key: String,
    pub(crate) value: EntryValue,
    /// Whether each value has a count of its own.
    pub(crate) is_counted: bool,
}

/// The values that an entry matches.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum EntryValue {
    Exact(String),
    /// Any value with this beginning.
    Prefix(String),
    Any,
}

impl EntrySpec {
    /// Returns an entry that matches this value alone; without a value, each value by itself.
    pub(crate) fn new(key: String, value: Option<String>) -> Self {
        let is_counted = value.is_none();
        Self { key, value: value.map_or(EntryValue::Any, EntryValue::Exact), is_counted }
    }
}

impl DescriptorSpec {
    /// Returns the descriptors that stand for the keys of the command line, in any domain.
    pub(crate) fn of_keys(keys: &[KeySpec]) -> Arc<Self> {
        let entry = |key: &KeySpec| match key {
            KeySpec::Header(name) => EntrySpec::new(name.to_string(), None),
            KeySpec::Entry(name) => EntrySpec::new(name.clone(), None),
            _ => EntrySpec::new("remote_address".to_owned(), None),
        };
        Arc::new(Self {
            domain: None,
            entries: keys.iter().map(entry).collect(),
            limit_name: None,
            replaces: Vec::new(),
            lookup: Lookup::BestMatch,
            is_alone: false,
        })
    }

    /// Returns the keys that the counted entries stand for where the throttle names none.
    pub(crate) fn keys(&self) -> Vec<KeySpec> {
        self.counted().map(|entry| key_of(&entry.key)).collect()
    }

    /// Returns the entries whose values are parts of a client's key.
    pub(crate) fn counted(&self) -> impl Iterator<Item = &EntrySpec> {
        self.entries.iter().filter(|entry| entry.is_counted)
    }
}

/// Returns the key that an entry stands for: the client's address, or a text.
fn key_of(entry: &str) -> KeySpec {
    match entry {
        "remote_address" | "masked_remote_address" => KeySpec::Peer,
        _ => KeySpec::Entry(entry.to_owned()),
    }
}

impl fmt::Display for DescriptorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "descriptors {}", self.domain.as_deref().unwrap_or("of any domain"))?;
        for entry in &self.entries {
            match &entry.value {
                EntryValue::Exact(value) => write!(f, " {}={value}", entry.key)?,
                EntryValue::Prefix(value) => write!(f, " {}={value}*", entry.key)?,
                EntryValue::Any => write!(f, " {}", entry.key)?,
            }
        }
        f.write_str(if self.is_alone { " alone" } else { "" })
    }
}
