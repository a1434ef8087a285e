//! The names of the keys that are denied most, in a fixed number of places.

use std::fmt::{self, Write};

use traffik_core::storage::home;
use traffik_core::{Digest, Key};

use crate::util::spin_lock::SpinLock;

/// A key that was denied often, with its name.
///
/// [`Memory::denied`](crate::Memory::denied) returns it.
///
/// ```
/// use traffik::{Limiter, Memory, TokenBucket, rate};
///
/// let storage = Memory::builder().track_denied_keys(8).build();
/// let limiter = Limiter::new(TokenBucket::new(rate!("1/min")), storage);
/// for _ in 0..3 {
///     limiter.check("alice")?;
/// }
/// let denied = limiter.storage().denied(1);
/// assert_eq!((denied[0].name.as_str(), denied[0].denials), ("alice", 2));
/// # Ok::<(), traffik::StorageError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeniedKey {
    /// The [name](Key::name) of the key, or its first 80 bytes.
    pub name: String,
    /// The keyed hash of the key, by which the storage finds its state.
    pub digest: Digest,
    /// An upper bound of its denials.
    pub denials: u64,
    /// A lower bound of its denials. It is below [`denials`](Self::denials) if the key took the place of
    /// another key, whose denials that bound includes.
    pub at_least: u64,
}

/// A fixed number of places for names, in sets. A key belongs to one set.
///
/// Each set runs "Space saving" (A. Metwally, D. Agrawal, A. El Abbadi, "Efficient computation of frequent
/// and top-k elements in data streams", 2005). A new key takes the place of the one denied least, and
/// inherits its count. So a key with more than an eighth of a set's denials always has a place. A name is
/// written when a key takes a place; further denials only count. Nothing is allocated.
pub(super) struct DeniedNames {
    sets: Box<[SpinLock<[NameEntry; WAYS]>]>,
}

/// The places in a set.
const WAYS: usize = 8;

/// The longest name, in bytes.
const LENGTH: usize = 80;

/// A place in a set, for one key. The key's true denials lie between `denials - inherited` and `denials`.
#[derive(Clone, Copy, Debug)]
struct NameEntry {
    digest: Digest,
    denials: u64,
    /// The denials of the earlier keys in this place.
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
    /// Creates places for this many names, rounded up to whole sets.
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
            // Space saving: denials = (least count in the set) + 1, inherited = that least count.
            let inherited = least.denials;
            *least =
                NameEntry { digest, denials: inherited.saturating_add(1), inherited, ..NameEntry::default() };
            // A write beyond the room fails, which ends the name there.
            let _ = key.name(&mut least.name);
        }
    }

    /// Returns the `k` keys denied most, the most denied first.
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

/// A text that cuts off what exceeds its room.
#[derive(Clone, Copy, Debug)]
struct NameText {
    bytes: [u8; LENGTH],
    length: usize,
}

impl NameText {
    fn as_str(&self) -> &str {
        // Only whole characters are written.
        self.bytes.get(..self.length).and_then(|bytes| str::from_utf8(bytes).ok()).unwrap_or_default()
    }
}

impl Write for NameText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = LENGTH - self.length;
        // The longest prefix that fits and ends between two characters.
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
    fn the_keys_denied_most_are_listed_by_name() {
        let names = DeniedNames::new(16);
        for (key, times) in [("few", 3), ("many", 50), ("some", 10)] {
            (0..times).for_each(|_| note(&names, key));
        }
        let top: Vec<_> = names.top(2).into_iter().map(|it| (it.name, it.denials, it.at_least)).collect();
        assert_eq!(top, [("many".to_owned(), 50, 50), ("some".to_owned(), 10, 10)]);
        names.clear();
        assert!(names.top(10).is_empty());
    }

    /// A flood of others never displaces a key that is denied more often than they can take places.
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
