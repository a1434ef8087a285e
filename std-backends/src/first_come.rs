//! Lines of those who wait, in the memory of this process.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use traffik_core::storage::{Lines, Place};
use traffik_core::{ErasedKey, Key};

/// Lines in which waiters for a key are served first come, first served; see
/// [`Limiter::until_ready`](traffik_core::Limiter::until_ready).
///
/// Choose it for a storage of your own whose waiters are to be served fairly; those of this crate have one.
/// It keeps one place, about 50 bytes, for each future that waits. Keys are told apart by a hash that is
/// keyed at random: two keys that collide would wait for each other.
///
/// ```
/// use traffik_backends::FirstCome;
/// use traffik_core::storage::Lines;
///
/// struct Mine {
///     lines: FirstCome,
///     // and the states
/// }
///
/// impl Mine {
///     // Of `Storage` and of `AsyncStorage`.
///     fn lines(&self) -> Option<&dyn Lines> {
///         Some(&self.lines)
///     }
/// }
/// # assert!(Mine { lines: FirstCome::new() }.lines().is_some_and(|lines| lines.is_empty(&"alice")));
/// ```
pub struct FirstCome {
    hasher: RandomState,
    /// How many places there are, so that no one takes the lock to learn that there are none.
    waiting: AtomicUsize,
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    tickets: u64,
    /// In the order of the lines, and in each of its tickets.
    taken: BTreeMap<Place, Option<Waker>>,
}

impl FirstCome {
    /// No one waits yet.
    #[must_use]
    pub fn new() -> Self {
        Self { hasher: RandomState::new(), waiting: AtomicUsize::new(0), places: Mutex::default() }
    }

    /// How many wait now, for whatever key.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    fn line(&self, key: &dyn ErasedKey) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        key.feed(&mut |bytes: &[u8]| hasher.write(bytes));
        hasher.finish()
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines for FirstCome {
    fn is_empty(&self, key: &dyn ErasedKey) -> bool {
        self.waiting() == 0 || self.places().first(self.line(key)).is_none()
    }

    fn join(&self, key: &dyn ErasedKey) -> Place {
        let line = self.line(key);
        let mut places = self.places();
        let place = Place { line, ticket: places.tickets };
        places.tickets += 1;
        places.taken.insert(place, None);
        self.waiting.store(places.taken.len(), Ordering::Relaxed);
        place
    }

    fn poll_turn(&self, place: Place, context: &mut Context<'_>) -> Poll<()> {
        let mut places = self.places();
        let is_first = places.first(place.line) == Some(place);
        let waker = match places.taken.get_mut(&place) {
            Some(waker) if !is_first => waker,
            _ => return Poll::Ready(()),
        };
        let before = match waker {
            Some(waker) if waker.will_wake(context.waker()) => None,
            waker => waker.replace(context.waker().clone()),
        };
        // To drop a waker can drop a task, and with it another place.
        drop(places);
        drop(before);
        Poll::Pending
    }

    fn leave(&self, place: Place) {
        let mut places = self.places();
        let left = places.taken.remove(&place);
        self.waiting.store(places.taken.len(), Ordering::Relaxed);
        // A first that knows its turn keeps no waker, so a place left further back wakes nobody.
        let next = places.taken.range_mut(line_of(place.line)).next().and_then(|(_, waker)| waker.take());
        // To drop or wake a task can drop another place.
        drop(places);
        drop(left);
        if let Some(waker) = next {
            waker.wake();
        }
    }
}

impl Places {
    fn first(&self, line: u64) -> Option<Place> {
        self.taken.range(line_of(line)).next().map(|(place, _)| *place)
    }
}

/// All places of a line.
fn line_of(line: u64) -> RangeInclusive<Place> {
    Place { line, ticket: 0 }..=Place { line, ticket: u64::MAX }
}

impl Default for FirstCome {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for FirstCome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FirstCome").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::Wake;

    use super::*;

    /// Counts how often it is woken.
    #[derive(Default)]
    struct Counted(AtomicUsize);

    impl Wake for Counted {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn is_turn(lines: &FirstCome, place: Place, counted: &Arc<Counted>) -> bool {
        let waker = Waker::from(Arc::clone(counted));
        lines.poll_turn(place, &mut Context::from_waker(&waker)).is_ready()
    }

    #[test]
    fn the_first_of_each_line_has_its_turn_and_only_the_next_is_woken() {
        let (lines, woken) = (FirstCome::new(), [(); 5].map(|()| Arc::<Counted>::default()));
        let places = ["a", "b", "a", "a", "a"].map(|key| lines.join(&key));
        let turns = || [0, 1, 2, 3, 4].map(|who| is_turn(&lines, places[who], &woken[who]));
        let wakes = || woken.each_ref().map(|woken| woken.0.load(Ordering::Relaxed));
        assert_eq!(turns(), [true, true, false, false, false]);
        // Nobody learns of a place left further back; the next one learns of the first's.
        lines.leave(places[2]);
        assert_eq!((wakes(), lines.waiting()), ([0, 0, 0, 0, 0], 4));
        lines.leave(places[0]);
        assert_eq!(wakes(), [0, 0, 0, 1, 0]);
        // Not even if it comes late is it passed by, nor woken again.
        lines.leave(places[0]);
        assert!(!is_turn(&lines, places[4], &woken[4]) && is_turn(&lines, places[3], &woken[3]));
        assert_eq!(wakes(), [0, 0, 0, 1, 0]);
        // A next one that has not asked for its turn yet finds it.
        let last = lines.join(&"b");
        lines.leave(places[1]);
        assert!(is_turn(&lines, last, &woken[1]));
        for place in [places[3], places[4], last] {
            lines.leave(place);
        }
        assert_eq!((wakes(), lines.waiting()), ([0, 0, 0, 1, 1], 0));
        assert!(Lines::is_empty(&lines, &"a") && Lines::is_empty(&lines, &"b"));
    }

    #[test]
    fn the_last_waker_is_woken() {
        let (lines, woken) = (FirstCome::new(), [(); 2].map(|()| Arc::<Counted>::default()));
        let (first, second) = (lines.join(&"a"), lines.join(&"a"));
        assert!(woken.iter().all(|woken| !is_turn(&lines, second, woken)));
        lines.leave(first);
        assert_eq!(woken.map(|woken| woken.0.load(Ordering::Relaxed)), [0, 1]);
    }
}
