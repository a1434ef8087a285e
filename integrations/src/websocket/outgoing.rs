//! Messages of the throttle itself, and waiters for room to send.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

/// What was sent, and whether it has left.
#[derive(Debug, Default)]
pub(super) struct Replies {
    pub(super) is_on_its_way: bool,
    silent_until: Option<Instant>,
}

impl Replies {
    /// Whether the peer knows already.
    pub(super) fn is_silent(&self, now: Instant) -> bool {
        self.silent_until.is_some_and(|until| now < until)
    }

    pub(super) fn silence(&mut self, now: Instant, how_long: Duration) {
        self.silent_until = now.checked_add(how_long);
    }
}

/// A socket wakes only the one who polled its sink last. Here that can be the reader, whose throttle has something to send,
/// while the other half of the socket waits to send, too. So it is told to wake both.
pub(super) struct Waiters {
    both: Arc<Both>,
    waker: Waker,
}

#[derive(Default)]
struct Both(Mutex<[Option<Waker>; 2]>);

impl Waiters {
    /// Whom to wake when the reader waits for the sink.
    pub(super) fn reader(&self, waker: &Waker) -> &Waker {
        self.note(0, waker)
    }

    /// Whom to wake when the writer does.
    pub(super) fn writer(&self, waker: &Waker) -> &Waker {
        self.note(1, waker)
    }

    fn note(&self, place: usize, waker: &Waker) -> &Waker {
        let mut both = self.both.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = both.get_mut(place)
            && !place.as_ref().is_some_and(|known| known.will_wake(waker))
        {
            let before = place.replace(waker.clone());
            drop(both);
            // To drop a waker can drop a task, and with it whatever it holds.
            drop(before);
        }
        &self.waker
    }
}

impl Default for Waiters {
    fn default() -> Self {
        let both = Arc::<Both>::default();
        Self { waker: Waker::from(Arc::clone(&both)), both }
    }
}

impl Wake for Both {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let wakers = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        wakers.into_iter().flatten().for_each(Waker::wake);
    }
}

impl fmt::Debug for Waiters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waiters")
    }
}
