//! The keys that servers evict for lack of memory: counted from the servers' statistics, and warned of once.
//!
//! An evicted key has its whole limit again. No client can prevent that, so the operator must know.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use portable_atomic::AtomicU64;
use spin::mutex::SpinMutex;

use super::warning::{LogWriter, Warning};

/// The least time between two looks at a server's count.
const PAUSE: Duration = Duration::from_secs(10);

/// The pause after a server refused a look.
const LONG_PAUSE: Duration = Duration::from_secs(600);

/// The longest time that a call waits for the answer to a look that was sent beside it.
pub(crate) const PATIENCE: Duration = Duration::from_millis(100);

/// The evictions on all servers of a storage, as far as the storage saw the servers' counts grow.
pub(crate) struct Evictions {
    count: AtomicU64,
    warning: Warning,
}

impl Evictions {
    pub(crate) fn new(writer: LogWriter) -> Arc<Self> {
        Arc::new(Self { count: AtomicU64::new(0), warning: Warning::new(writer) })
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Logs a warning unless this storage logged one.
    pub(crate) fn warn(&self, line: impl FnOnce() -> String) {
        // Once for all servers of the storage: the remedy is the same.
        self.warning.give(line);
    }
}

/// The evictions on one server.
pub(crate) struct EvictionWatch {
    pub(crate) evictions: Arc<Evictions>,
    /// The time of the next look. The lock lets one call at a time begin it.
    next: SpinMutex<Instant>,
    /// The server's count at the last look; [`UNSEEN`](Self::UNSEEN) before the first.
    last: AtomicU64,
}

impl EvictionWatch {
    const UNSEEN: u64 = u64::MAX;

    pub(crate) fn new(evictions: Arc<Evictions>) -> Self {
        Self { evictions, next: SpinMutex::new(Instant::now()), last: AtomicU64::new(Self::UNSEEN) }
    }

    /// Returns whether a look is due. If so, the next one is due [`PAUSE`] later.
    #[inline]
    pub(crate) fn begin(&self, now: Instant) -> bool {
        let mut next = self.next.lock();
        let is_due = now >= *next;
        if is_due {
            // Moved on under the lock: of concurrent calls one begins the look.
            *next = now + PAUSE;
        }
        is_due
    }

    /// Ends a look with the server's count, and returns the growth. Evictions before the first look do not
    /// count, nor those that a restarted server forgot.
    pub(crate) fn end(&self, count: u64) -> u64 {
        let last = self.last.swap(count, Ordering::Relaxed);
        // grown = count - last, and 0 if the count fell, or if last is UNSEEN, the largest number.
        let grown = count.saturating_sub(last);
        self.evictions.count.fetch_add(grown, Ordering::Relaxed);
        grown
    }

    /// Ends a look that the server refused or answered with something else. The next look waits
    /// [`LONG_PAUSE`].
    pub(crate) fn refused(&self, now: Instant) {
        *self.next.lock() = now + LONG_PAUSE;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    fn watch() -> (EvictionWatch, Arc<Mutex<Vec<String>>>) {
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let written = Arc::clone(&lines);
        let writer: LogWriter = Arc::new(move |line| written.lock().unwrap().push(line.to_owned()));
        (EvictionWatch::new(Evictions::new(writer)), lines)
    }

    #[test]
    fn a_look_is_due_at_once_and_then_rarely() {
        let (watch, _) = watch();
        let made = *watch.next.lock();
        let at = |seconds| made + Duration::from_secs(seconds);
        assert_eq!(
            [0, 0, 9, 10, 19].map(|seconds| watch.begin(at(seconds))),
            [true, false, false, true, false]
        );
        watch.refused(at(20));
        assert_eq!([619, 620].map(|seconds| watch.begin(at(seconds))), [false, true]);
    }

    #[test]
    fn what_is_seen_to_grow_is_counted() {
        let (watch, lines) = watch();
        assert_eq!([7, 7, 10, 2, 3].map(|count| watch.end(count)), [0, 0, 3, 0, 1]);
        assert_eq!(watch.evictions.count(), 4);
        for line in ["one", "other"] {
            watch.evictions.warn(|| line.to_owned());
        }
        assert_eq!(*lines.lock().unwrap(), ["one"]);
    }
}
