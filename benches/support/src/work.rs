//! Work that several do at once for some time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

/// Work that goes on until it is stopped, and how much of it is done.
#[derive(Debug)]
pub struct Work {
    began: Instant,
    is_stopped: AtomicBool,
    done: AtomicU64,
}

impl Work {
    /// Begins now.
    pub fn begin() -> Self {
        Self { began: Instant::now(), is_stopped: AtomicBool::new(false), done: AtomicU64::new(0) }
    }

    /// Returns whether a worker is to go on.
    pub fn goes_on(&self) -> bool {
        !self.is_stopped.load(Ordering::Relaxed)
    }

    /// Counts one piece.
    pub fn count(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// Ends the work: [`Self::goes_on`] returns false from now on.
    pub fn stop(&self) {
        self.is_stopped.store(true, Ordering::Relaxed);
    }

    /// Returns the pieces done so far.
    pub fn done(&self) -> f64 {
        self.done.load(Ordering::Relaxed) as f64
    }

    /// Returns the pieces done a second, from the beginning until now.
    pub fn rate(&self) -> f64 {
        self.done() / self.began.elapsed().as_secs_f64()
    }
}
