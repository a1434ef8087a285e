//! A queue of lines in front of standard output or standard error, so that no reader of these can block the
//! gateway.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, SyncSender, TrySendError};
use std::thread;
use std::time::Duration;

/// Most lines that wait for the reader.
const ROOM: usize = 1_024;

/// The queue of lines, and the thread that writes them. A line that finds it full is left out and counted.
#[derive(Clone)]
pub(crate) struct LineQueue {
    sender: SyncSender<QueuedLine>,
    /// Number of lines left out, of which the log has a line already.
    reported: Arc<AtomicU64>,
    /// Number of lines left out since then.
    left_out: Arc<AtomicU64>,
}

/// An entry of the queue.
enum QueuedLine {
    Line(Vec<u8>),
    /// A signal to send once all lines before it are written.
    Flush(SyncSender<()>),
}

impl LineQueue {
    /// Starts the thread that writes to `sink`. It calls `report` with the number of lines left out, once
    /// there is room again.
    ///
    /// # Errors
    ///
    /// Fails if the system has no thread left.
    pub(crate) fn to(
        mut sink: impl Write + Send + 'static,
        report: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let (sender, entries) = mpsc::sync_channel(ROOM);
        let left_out = Arc::new(AtomicU64::new(0));
        let reported = Arc::new(AtomicU64::new(0));
        let (counted, total) = (Arc::clone(&left_out), Arc::clone(&reported));
        let write = move || {
            for entry in entries {
                match entry {
                    // A sink that is broken has no reader, so nobody misses the line.
                    QueuedLine::Line(line) => drop(sink.write_all(&line).and_then(|()| sink.flush())),
                    QueuedLine::Flush(done) => drop(done.try_send(())),
                }
                match counted.swap(0, Ordering::Relaxed) {
                    0 => {}
                    count => {
                        total.fetch_add(count, Ordering::Relaxed);
                        report(count);
                    }
                }
            }
        };
        thread::Builder::new().name("lines".to_owned()).spawn(write)?;
        Ok(Self { sender, reported, left_out })
    }

    /// Adds a line to the queue. Never waits.
    pub(crate) fn push(&self, line: Vec<u8>) {
        if let Err(TrySendError::Full(_)) = self.sender.try_send(QueuedLine::Line(line)) {
            // To wait here would let a reader that stopped reading delay requests.
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Returns the number of lines left out so far.
    pub(crate) fn left_out(&self) -> u64 {
        self.reported.load(Ordering::Relaxed) + self.left_out.load(Ordering::Relaxed)
    }

    /// Waits until all lines so far are written, for at most `patience`.
    pub(crate) fn flush(&self, patience: Duration) {
        let (done, written) = mpsc::sync_channel(1);
        // A full queue has a reader that stopped reading, so waiting for it would be useless.
        if self.sender.try_send(QueuedLine::Flush(done)).is_ok() {
            let _: Result<(), RecvTimeoutError> = written.recv_timeout(patience);
        }
    }
}
