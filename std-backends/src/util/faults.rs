//! The faults of a server: a line when one begins, and one when it ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use spin::mutex::SpinMutex;
use traffik_core::storage::{BackendError, ErrorKind};

use super::warning::LogWriter;

/// How long a server has to answer without a failure until its fault has ended: a server that fails now and
/// then has one fault, not many.
const QUIET: Duration = Duration::from_secs(1);

/// The present fault of a server, if it has one.
pub(crate) struct Faults {
    /// Such as `Redis at 10.0.0.7:6379`.
    server: String,
    writer: LogWriter,
    /// Whether there is one, for a look that costs next to nothing.
    is_faulty: AtomicBool,
    fault: SpinMutex<Option<Fault>>,
}

struct Fault {
    began: Instant,
    last: Instant,
    failures: u64,
    /// The last cause.
    cause: BackendError,
}

impl Faults {
    pub(crate) fn new(server: String, writer: LogWriter) -> Self {
        Self { server, writer, is_faulty: AtomicBool::new(false), fault: SpinMutex::default() }
    }

    /// Notes a call that failed, and writes a line if that is the first one. Kinds that say something about
    /// one call, and nothing about the server, are left out.
    pub(crate) fn failed(&self, failure: &BackendError, now: Instant) {
        if matches!(
            failure.kind(),
            ErrorKind::Contended | ErrorKind::Invalid | ErrorKind::Closed | ErrorKind::Corrupt
        ) {
            return;
        }
        let mut fault = self.fault.lock();
        if let Some(fault) = &mut *fault {
            (fault.last, fault.failures) = (now, fault.failures.saturating_add(1));
            fault.cause = failure.clone();
            return;
        }
        *fault = Some(Fault { began: now, last: now, failures: 1, cause: failure.clone() });
        self.is_faulty.store(true, Ordering::Relaxed);
        drop(fault);
        let (server, mut line) = (&self.server, failure.to_string());
        if !line.starts_with(&**server) {
            line = format!("{server}: {line}");
        }
        (self.writer)(&format!("{line}; a line follows when it answers again"));
    }

    /// Notes a call that was answered, and writes a line if that ends a fault.
    #[inline]
    pub(crate) fn answered(&self, now: impl FnOnce() -> Instant) {
        if self.is_faulty.load(Ordering::Relaxed) {
            self.end(now());
        }
    }

    #[cold]
    fn end(&self, now: Instant) {
        let is_over = |fault: &mut Fault| now.saturating_duration_since(fault.last) >= QUIET;
        let ended = self.fault.lock().take_if(is_over);
        let Some(Fault { began, failures, .. }) = ended else { return };
        self.is_faulty.store(false, Ordering::Relaxed);
        let (server, lasted) = (&self.server, now.saturating_duration_since(began).as_secs_f64());
        (self.writer)(&format!("{server} answers again, after {lasted:.1} s and {failures} failures"));
    }

    /// Returns the last cause of the present fault.
    pub(crate) fn cause(&self) -> Option<BackendError> {
        self.fault.lock().as_ref().map(|fault| fault.cause.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_fault_has_one_line_at_its_beginning_and_one_at_its_end() {
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let written = Arc::clone(&lines);
        let writer: LogWriter = Arc::new(move |line| written.lock().unwrap().push(line.to_owned()));
        let (faults, began) = (Faults::new("Redis at here".to_owned(), writer), Instant::now());
        let at = |millis| began + Duration::from_millis(millis);
        let fail =
            |kind, millis| faults.failed(&BackendError::new(kind, "Redis at here: refused"), at(millis));
        let answer = |millis| faults.answered(|| at(millis));
        let taken = || std::mem::take(&mut *lines.lock().unwrap());

        answer(0);
        for kind in [ErrorKind::Contended, ErrorKind::Invalid, ErrorKind::Closed, ErrorKind::Corrupt] {
            fail(kind, 0);
        }
        assert!(taken().is_empty() && faults.cause().is_none());
        fail(ErrorKind::Unavailable, 0);
        fail(ErrorKind::Timeout, 500);
        answer(1_000);
        fail(ErrorKind::Unavailable, 1_400);
        answer(2_399);
        assert_eq!(taken(), ["Redis at here: refused; a line follows when it answers again"]);
        assert_eq!(faults.cause().unwrap().kind(), ErrorKind::Unavailable);
        answer(2_400);
        answer(9_000);
        assert_eq!(taken(), ["Redis at here answers again, after 2.4 s and 3 failures"]);
        assert!(faults.cause().is_none());
        fail(ErrorKind::Denied, 9_100);
        assert_eq!(taken().len(), 1);
    }
}
