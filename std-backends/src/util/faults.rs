//! The faults of a server: a log line when one begins, and one when it ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use spin::mutex::SpinMutex;
use traffik_core::storage::{BackendError, ErrorKind};

use super::warning::LogWriter;

/// The time without a failure after which a fault ends. A server that fails now and then has one fault, not
/// many.
const QUIET: Duration = Duration::from_secs(1);

/// The present fault of a server, if any.
pub(crate) struct Faults {
    /// The server in log lines, such as `Redis at 10.0.0.7:6379`.
    server: String,
    writer: LogWriter,
    /// Whether there is a fault. Written under the lock of `fault` after each change, so both always agree;
    /// read without the lock, so a reader may see a change a moment late.
    is_faulty: AtomicBool,
    fault: SpinMutex<Option<Fault>>,
}

/// The failures of a server since the first one.
struct Fault {
    began: Instant,
    last: Instant,
    failures: u64,
    /// The last failure.
    cause: BackendError,
}

impl Faults {
    pub(crate) fn new(server: String, writer: LogWriter) -> Self {
        Self { server, writer, is_faulty: AtomicBool::new(false), fault: SpinMutex::default() }
    }

    /// Records a failed call, and logs the first failure of a fault. Ignores failures of one call that are no
    /// fault of the server.
    pub(crate) fn failed(&self, failure: &BackendError, now: Instant) {
        // The server answered, or the program closed the storage: no fault.
        if matches!(
            failure.kind(),
            ErrorKind::Contended | ErrorKind::Invalid | ErrorKind::Closed | ErrorKind::Corrupt
        ) {
            return;
        }
        // The lock is released before the line is written, since writing may be slow.
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

    /// Records an answered call, and logs the end of a fault.
    #[inline]
    pub(crate) fn answered(&self, now: impl FnOnce() -> Instant) {
        if self.is_faulty.load(Ordering::Relaxed) {
            self.end(now());
        }
    }

    #[cold]
    fn end(&self, now: Instant) {
        // Under the lock, one of several answers ends the fault and writes the line. The flag changes under
        // the same lock: otherwise a failure in between would begin a fault that the flag hides.
        let is_over = |fault: &mut Fault| now.saturating_duration_since(fault.last) >= QUIET;
        let mut fault = self.fault.lock();
        let Some(Fault { began, failures, .. }) = fault.take_if(is_over) else { return };
        self.is_faulty.store(false, Ordering::Relaxed);
        drop(fault);
        let (server, lasted) = (&self.server, now.saturating_duration_since(began).as_secs_f64());
        (self.writer)(&format!("{server} answers again, after {lasted:.1} s and {failures} failures"));
    }

    /// Returns the last failure of the present fault.
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
