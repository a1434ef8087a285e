//! Notes on the nodes of a storage, each kept as long as its node exists.

use std::collections::BTreeMap;
use std::collections::btree_map::IntoValues;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard, Weak};

/// A note for each node of a storage, found by the handle that [`AsyncStorage::node`] returns.
///
/// It holds handles weakly. A note is forgotten once its handle was dropped, at the latest when the next
/// node arrives, so there are never more notes than handles. Two handles of one name share a note.
///
/// [`AsyncStorage::node`]: traffik_core::storage::AsyncStorage::node
pub(crate) struct Nodes<T> {
    /// The notes by the address of a handle. No other handle gets that address while a weak one exists.
    notes: RwLock<Notes<T>>,
}

type Notes<T> = BTreeMap<usize, (Weak<str>, Arc<T>)>;

impl<T> Nodes<T> {
    pub(crate) const fn new() -> Self {
        Self { notes: RwLock::new(BTreeMap::new()) }
    }

    /// Returns the note of a node. `make` builds a new one from a copy of the name, so that a note holds no
    /// handle. While `make` runs, no other note can be made or [changed](Self::change).
    pub(crate) fn get(&self, node: &Arc<str>, make: impl FnOnce(Arc<str>) -> T) -> Arc<T> {
        let address = Arc::as_ptr(node).cast::<u8>().addr();
        // Most calls find their note here, under a read lock.
        let notes = self.notes.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, note)) = notes.get(&address) {
            return Arc::clone(note);
        }
        drop(notes);
        let mut notes = self.living();
        // Another thread may have made the note between the two locks.
        if let Some((_, note)) = notes.get(&address) {
            return Arc::clone(note);
        }
        let namesake = notes.values().find(|(handle, _)| handle.upgrade().is_some_and(|it| it == *node));
        let note = match namesake {
            Some((_, note)) => Arc::clone(note),
            None => Arc::new(make(Arc::from(&**node))),
        };
        notes.insert(address, (Arc::downgrade(node), Arc::clone(&note)));
        note
    }

    /// Returns the note of each node, once.
    pub(crate) fn all(&self) -> Vec<Arc<T>> {
        self.change(Vec::from_iter)
    }

    /// Calls `change` with the note of each node, once, while no note can be made.
    pub(crate) fn change<A>(&self, change: impl FnOnce(IntoValues<usize, Arc<T>>) -> A) -> A {
        let notes = self.living();
        let each = notes.values().map(|(_, note)| (Arc::as_ptr(note).addr(), Arc::clone(note)));
        change(each.collect::<BTreeMap<_, _>>().into_values())
    }

    /// Forgets the notes of nodes that left, and returns the others.
    fn living(&self) -> RwLockWriteGuard<'_, Notes<T>> {
        let mut notes = self.notes.write().unwrap_or_else(PoisonError::into_inner);
        notes.retain(|_, (handle, _)| handle.strong_count() > 0);
        notes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(nodes: &Nodes<Arc<str>>) -> Vec<String> {
        let mut names: Vec<_> = nodes.all().iter().map(|name| name.to_string()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_note_is_kept_as_long_as_its_handle_and_holds_none() {
        let nodes = Nodes::new();
        let (one, other): (Arc<str>, Arc<str>) = ("one".into(), "other".into());
        let note = nodes.get(&one, |name| name);
        assert!(Arc::ptr_eq(&note, &nodes.get(&one, |_| unreachable!("it is known"))));
        let _ = nodes.get(&other, |name| name);
        assert_eq!((Arc::strong_count(&one), Arc::weak_count(&one)), (1, 1));
        assert_eq!(names(&nodes), ["one", "other"]);
        drop(one);
        assert_eq!(names(&nodes), ["other"]);
    }

    #[test]
    fn handles_of_one_name_share_a_note() {
        let nodes = Nodes::new();
        let handles: [Arc<str>; 3] = [(); 3].map(|()| "one".into());
        let notes = handles.each_ref().map(|handle| nodes.get(handle, |name| name));
        assert!(notes.iter().all(|note| Arc::ptr_eq(note, &notes[0])));
        assert_eq!(names(&nodes), ["one"]);
        let [first, ..] = handles;
        drop(first);
        assert_eq!(names(&nodes), ["one"], "two of its handles are left");
    }

    /// Clusters whose nodes change for ever leave nothing behind.
    #[test]
    fn ten_thousand_nodes_that_come_and_go_take_no_more_room_than_those_that_are_there() {
        let nodes = Nodes::new();
        let mut handles = std::collections::VecDeque::new();
        let mut weak = Vec::new();
        for number in 0..10_000 {
            let handle: Arc<str> = format!("10.0.0.{number}:6379").into();
            weak.push(Arc::downgrade(&nodes.get(&handle, |name| name)));
            handles.push_back(handle);
            if handles.len() > 3 {
                handles.pop_front();
            }
            assert!(nodes.notes.read().unwrap().len() <= 4);
        }
        assert_eq!(nodes.all().len(), 3);
        assert_eq!(weak.iter().filter(|note| note.strong_count() > 0).count(), 3, "notes that are in memory");
    }
}
