//! Lines of those who wait, in the memory of this process.

use std::collections::BTreeMap;
use std::collections::hash_map::RandomState;
use std::fmt;
use std::hash::{BuildHasher, Hasher};
use std::mem;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use traffik_core::storage::{Ahead, Foreseen, Lines, Place, Waiter};
use traffik_core::{ErasedKey, Key, Timestamp};

/// First come, first served: the lines of those who wait in [`until_ready`](traffik_core::Limiter::until_ready), for the
/// storages of this crate and for yours.
///
/// A place is taken for each future that waits, and given back when it is done or dropped. Keys are told apart by a hash
/// that is keyed at random; two that met would wait for each other, and nothing worse.
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
    taken: BTreeMap<Place, Standing>,
}

struct Standing {
    alarm: Option<Timestamp>,
    waker: Option<Waker>,
    /// Only of the last one.
    foreseen: Option<Box<Foreseen>>,
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

    /// A strategy that panics in a line leaves it as it was.
    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lines for FirstCome {
    fn is_empty(&self, key: &dyn ErasedKey) -> bool {
        self.waiting() == 0 || self.places().first(self.line(key)).is_none()
    }

    fn join(&self, key: &dyn ErasedKey, arrive: &mut dyn FnMut(Ahead<'_>) -> Waiter) -> Place {
        let line = self.line(key);
        let mut places = self.places();
        let mut last = places.taken.range_mut(line_of(line)).next_back();
        let ahead = match &last {
            None => Ahead::Nobody,
            Some((_, last)) => Ahead::Somebody(last.foreseen.as_deref()),
        };
        let Waiter { alarm, foreseen } = arrive(ahead);
        if let Some((_, last)) = &mut last {
            last.foreseen = None;
        }
        let place = Place { line, ticket: places.tickets };
        places.tickets += 1;
        let foreseen = foreseen.map(Box::new);
        places.taken.insert(place, Standing { alarm, waker: None, foreseen });
        self.waiting.store(places.taken.len(), Ordering::Relaxed);
        place
    }

    fn set_alarm(&self, place: Place, alarm: Option<Timestamp>) {
        if let Some(standing) = self.places().taken.get_mut(&place) {
            standing.alarm = alarm;
        }
    }

    fn poll_turn(&self, place: Place, context: &mut Context<'_>) -> Poll<()> {
        let mut places = self.places();
        let is_first = places.first(place.line).is_some_and(|(first, _)| first == place);
        let Some(standing) = places.taken.get_mut(&place) else { return Poll::Ready(()) };
        if is_first && standing.alarm.is_none() {
            return Poll::Ready(());
        }
        let before = match &mut standing.waker {
            Some(waker) if waker.will_wake(context.waker()) => None,
            waker => waker.replace(context.waker().clone()),
        };
        // To drop a waker can drop a task, and with it another place.
        drop(places);
        drop(before);
        Poll::Pending
    }

    fn leave(&self, place: Place) -> Option<(Place, Option<Timestamp>)> {
        let mut places = self.places();
        let is_first = places.first(place.line).is_some_and(|(first, _)| first == place);
        let left = places.taken.remove(&place);
        self.waiting.store(places.taken.len(), Ordering::Relaxed);
        let next = places.first(place.line).map(|(next, standing)| (next, standing.alarm));
        drop(places);
        drop(left);
        next.filter(|_| is_first)
    }

    fn call(&self, place: Place) {
        let mut places = self.places();
        let called = places.taken.get_mut(&place).and_then(|standing| {
            standing.alarm = None;
            mem::take(&mut standing.waker)
        });
        drop(places);
        if let Some(waker) = called {
            waker.wake();
        }
    }
}

impl Places {
    fn first(&self, line: u64) -> Option<(Place, &Standing)> {
        self.taken.range(line_of(line)).next().map(|(place, standing)| (*place, standing))
    }
}

/// All places of a line.
fn line_of(line: u64) -> std::ops::RangeInclusive<Place> {
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

    fn join(lines: &FirstCome, key: &str, alarm: Option<u64>) -> Place {
        let alarm = alarm.map(Timestamp::from_micros);
        lines.join(&key, &mut |_| Waiter { alarm, foreseen: None })
    }

    fn is_turn(lines: &FirstCome, place: Place, counted: &Arc<Counted>) -> bool {
        let waker = Waker::from(Arc::clone(counted));
        lines.poll_turn(place, &mut Context::from_waker(&waker)).is_ready()
    }

    #[test]
    fn the_first_of_each_line_has_its_turn_and_only_who_is_called_is_woken() {
        let (lines, woken) = (FirstCome::new(), [(); 4].map(|()| Arc::<Counted>::default()));
        let places = [
            join(&lines, "a", None),
            join(&lines, "b", None),
            join(&lines, "a", None),
            join(&lines, "a", None),
        ];
        let turns = || [0, 1, 2, 3].map(|who| is_turn(&lines, places[who], &woken[who]));
        assert_eq!(turns(), [true, true, false, false]);
        // Who leaves from behind tells nobody; who leaves from the front tells who is next.
        assert_eq!(lines.leave(places[2]), None);
        assert_eq!(lines.leave(places[0]), Some((places[3], None)));
        lines.call(places[3]);
        assert_eq!(woken.each_ref().map(|woken| woken.0.load(Ordering::Relaxed)), [0, 0, 0, 1]);
        assert!(is_turn(&lines, places[3], &woken[3]));
        assert_eq!((lines.leave(places[3]), lines.leave(places[1]), lines.waiting()), (None, None, 0));
        // Nothing is left of either, and to leave twice does no harm.
        assert!(Lines::is_empty(&lines, &"a") && Lines::is_empty(&lines, &"b"));
        assert_eq!(lines.leave(places[1]), None);
        lines.call(places[1]);
    }

    #[test]
    fn who_has_an_alarm_has_no_turn_until_it_rings_or_is_taken_back() {
        let (lines, woken) = (FirstCome::new(), Arc::<Counted>::default());
        let (first, second) = (join(&lines, "a", Some(7)), join(&lines, "a", Some(9)));
        assert!(!is_turn(&lines, first, &woken));
        lines.set_alarm(first, None);
        assert!(is_turn(&lines, first, &woken) && !is_turn(&lines, second, &woken));
        assert_eq!(lines.leave(first), Some((second, Some(Timestamp::from_micros(9)))));
        assert!(!is_turn(&lines, second, &woken));
        lines.call(second);
        lines.call(second);
        assert!(is_turn(&lines, second, &woken));
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn who_joins_is_told_whether_somebody_stands_in_front() {
        let lines = FirstCome::new();
        let mut seen = Vec::new();
        for _ in 0..3 {
            lines.join(&"a", &mut |ahead| {
                seen.push(match ahead {
                    Ahead::Nobody => None,
                    Ahead::Somebody(foreseen) => Some(foreseen.is_some()),
                });
                Waiter::default()
            });
        }
        assert_eq!(seen, [None, Some(false), Some(false)]);
    }
}
