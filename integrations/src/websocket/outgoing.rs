//! The state of the throttle's own messages, and the wakers of the sink.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

/// The state of the throttle's own messages: at most one is being flushed.
#[derive(Debug, Default)]
pub(super) struct Replies {
    pub(super) is_flushing: bool,
    silent_until: Option<Instant>,
}

impl Replies {
    /// Reports whether notices to the peer are suppressed at this time.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.silent_until.is_some_and(|until| now < until)
    }

    /// Suppresses notices from now on for this long.
    pub(super) fn silence(&mut self, now: Instant, how_long: Duration) {
        self.silent_until = now.checked_add(how_long);
    }
}

/// The wakers of the tasks that wait for the sink: the reader, whose throttle sends notices, and the writer.
///
/// A socket wakes only the task that polled its sink last, so the socket gets a waker that wakes both.
pub(super) struct SinkWakers {
    both: Arc<WakerPair>,
    waker: Waker,
}

/// The wakers of the reader and the writer, in this order.
#[derive(Default)]
struct WakerPair(Mutex<[Option<Waker>; 2]>);

impl SinkWakers {
    /// Registers the reader, and returns the waker for the sink.
    pub(super) fn reader(&self, waker: &Waker) -> &Waker {
        self.note(0, waker)
    }

    /// Registers the writer, and returns the waker for the sink.
    pub(super) fn writer(&self, waker: &Waker) -> &Waker {
        self.note(1, waker)
    }

    fn note(&self, place: usize, waker: &Waker) -> &Waker {
        // No panic can leave half a waker, so a poisoned lock can be used.
        let mut both = self.both.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = both.get_mut(place)
            && !place.as_ref().is_some_and(|known| known.will_wake(waker))
        {
            let before = place.replace(waker.clone());
            drop(both);
            // Dropping a waker can drop a task with all it holds, even this socket. So the lock ends first.
            drop(before);
        }
        &self.waker
    }
}

impl Default for SinkWakers {
    fn default() -> Self {
        let both = Arc::<WakerPair>::default();
        Self { waker: Waker::from(Arc::clone(&both)), both }
    }
}

impl Wake for WakerPair {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // The wakers are taken out first: a task that is woken may register again at once, on this thread.
        let wakers = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl fmt::Debug for SinkWakers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SinkWakers")
    }
}
