//! What people call the keys that are denied most, in a fixed number of places.

use std::fmt::{self, Write};

use traffik_core::storage::home;
use traffik_core::{Digest, Key};

use crate::util::spin_lock::SpinLock;

/// A key that was denied, as people call it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeniedKey {
    /// Its [name](Key::name), or the beginning of it if it is longer than 80 bytes.
    pub name: String,
    /// All that is kept of the key in the table.
    pub digest: Digest,
    /// How often it was denied, at most.
    pub denials: u64,
    /// How often it was denied, at least: less where it took the place of another, for whose denials it then
    /// stands as well.
    pub at_least: u64,
}

/// Places for names, in sets of which a key belongs to one.
///
/// "Space saving" (A. Metwally, D. Agrawal, A. El Abbadi, "Efficient computation of frequent and top-k
/// elements in data streams", 2005) within each set: a key that is not there takes the place of the one
/// denied least, and takes over its count. So one that makes up more than an eighth of a set's denials is
/// there. A name is written when a key takes a place; after that a denial only counts. Nothing is allocated,
/// whatever is denied.
pub(super) struct DeniedNames {
    sets: Box<[SpinLock<[NameEntry; WAYS]>]>,
}

/// Places in a set.
const WAYS: usize = 8;

/// Bytes of a name.
const LENGTH: usize = 80;

#[derive(Clone, Copy, Debug)]
struct NameEntry {
    digest: Digest,
    denials: u64,
    /// Those of others in whose place it came.
    inherited: u64,
    name: NameText,
}

impl Default for NameEntry {
    fn default() -> Self {
        let name = NameText { bytes: [0; LENGTH], length: 0 };
        Self { digest: Digest::default(), denials: 0, inherited: 0, name }
    }
}

impl DeniedNames {
    /// Places for so many names, rounded up to whole sets.
    pub(super) fn new(places: usize) -> Self {
        let sets = places.div_ceil(WAYS);
        Self { sets: (0..sets).map(|_| SpinLock::default()).collect() }
    }

    /// Counts a denial.
    pub(super) fn note(&self, digest: Digest, key: &(impl Key + ?Sized)) {
        let Some(set) = self.sets.get(home(digest, self.sets.len())) else { return };
        let mut entries = set.lock();
        if let Some(entry) = entries.iter_mut().find(|entry| entry.denials > 0 && entry.digest == digest) {
            entry.denials = entry.denials.saturating_add(1);
        } else if let Some(least) = entries.iter_mut().min_by_key(|entry| entry.denials) {
            let inherited = least.denials;
            *least =
                NameEntry { digest, denials: inherited.saturating_add(1), inherited, ..NameEntry::default() };
            // An end of the room is the end of the name.
            let _ = key.name(&mut least.name);
        }
    }

    /// The `k` keys denied most, the most first.
    pub(super) fn top(&self, k: usize) -> Vec<DeniedKey> {
        let mut all = Vec::new();
        for set in &self.sets {
            let entries = *set.lock();
            all.extend(entries.iter().filter(|entry| entry.denials > 0).map(|entry| DeniedKey {
                name: entry.name.as_str().to_owned(),
                digest: entry.digest,
                denials: entry.denials,
                at_least: entry.denials - entry.inherited,
            }));
        }
        all.sort_by(|a, b| b.denials.cmp(&a.denials).then_with(|| a.name.cmp(&b.name)));
        all.truncate(k);
        all
    }

    pub(super) fn clear(&self) {
        self.sets.iter().for_each(|set| *set.lock() = Default::default());
    }
}

/// NameText that takes as much as there is room for.
#[derive(Clone, Copy, Debug)]
struct NameText {
    bytes: [u8; LENGTH],
    length: usize,
}

impl NameText {
    fn as_str(&self) -> &str {
        // Only whole characters were written.
        self.bytes.get(..self.length).and_then(|bytes| str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl Write for NameText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = LENGTH - self.length;
        let fits = (0..=room.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
        let (written, rest) = text.split_at(fits.unwrap_or(0));
        let end = self.length + written.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(written.as_bytes());
        self.length = end;
        if rest.is_empty() { Ok(()) } else { Err(fmt::Error) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use traffik_core::Seed;

    fn note(names: &DeniedNames, key: &str) {
        names.note(Seed::new(1).digest(key), key);
    }

    #[test]
    fn those_denied_most_are_told_by_name() {
        let names = DeniedNames::new(16);
        for (key, times) in [("few", 3), ("many", 50), ("some", 10)] {
            (0..times).for_each(|_| note(&names, key));
        }
        let told: Vec<_> = names.top(2).into_iter().map(|it| (it.name, it.denials, it.at_least)).collect();
        assert_eq!(told, [("many".to_owned(), 50, 50), ("some".to_owned(), 10, 10)]);
        names.clear();
        assert!(names.top(10).is_empty());
    }

    /// However many others are denied once, a key denied more often than they can take places stays.
    #[test]
    fn a_flood_of_others_does_not_push_out_who_is_denied_most() {
        let names = DeniedNames::new(WAYS);
        for other in 0..10_000 {
            note(&names, &format!("other-{other}"));
            if other % 4 == 0 {
                note(&names, "heavy");
            }
        }
        let top = names.top(WAYS + 1);
        assert_eq!(top.len(), WAYS);
        let heavy = top.iter().find(|it| it.name == "heavy").unwrap();
        assert!(heavy.at_least <= 2_500 && heavy.denials >= 2_500, "{heavy:?}");
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        let names = DeniedNames::new(1);
        note(&names, &format!("{}ééé", "x".repeat(LENGTH - 1)));
        assert_eq!(names.top(1)[0].name, "x".repeat(LENGTH - 1));
        note(&names, &"é".repeat(LENGTH));
        assert_eq!(names.top(2)[1].name.chars().count(), LENGTH / 2);
    }
}
