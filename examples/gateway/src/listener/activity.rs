//! The state of a connection: whether its client or the gateway is to act next, and until when.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::config::listener_options::ListenerOptions;

/// The first bytes of a connection that speaks HTTP/2 (RFC 9113, section 3.4).
const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Bytes that tell HTTP/2: no request of HTTP/1.1 begins so.
const TELLING: usize = 3;

/// The time that a client has for each of its parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ClientDeadlines {
    /// From the connection to the first byte, and from there to the end of the head.
    pub(crate) head: Duration,
    /// From a response to the next request.
    pub(crate) idle: Duration,
    /// From one part of a response to taking the next.
    pub(crate) write: Duration,
}

/// The verdict on a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum DeadlineVerdict {
    /// The client has until then at least.
    Wait(Instant),
    /// The client has not sent the whole head of a request in time.
    LateHead,
    /// The client has sent no further request in time.
    Idle,
    /// The client has not taken the response in time.
    Stalled,
}

/// The state of a connection, which its stream, its requests and its responses note.
pub(crate) struct Activity {
    state: Mutex<ConnectionState>,
    /// Notified when the connection is to end to make room for another.
    pub(crate) evicted: Notify,
}

struct ConnectionState {
    /// Requests whose response has not ended yet.
    requests: u32,
    /// Responses of which the client has a part that it has not taken yet.
    untaken: u32,
    /// When a client last took a part of a response.
    taken: Instant,
    /// When the connection was opened, or when its last response ended.
    since: Instant,
    /// When the first byte of the next head came.
    head: Option<Instant>,
    /// Bytes that came so far, up to as many as HTTP/2 begins with.
    received: usize,
    speaks_http2: bool,
    /// Whether a request has been received.
    has_asked: bool,
    is_closing: bool,
    is_late: bool,
}

impl Activity {
    pub(crate) fn new() -> Arc<Self> {
        let now = Instant::now();
        let state = ConnectionState {
            requests: 0,
            untaken: 0,
            taken: now,
            since: now,
            head: None,
            received: 0,
            speaks_http2: true,
            has_asked: false,
            is_closing: false,
            is_late: false,
        };
        Arc::new(Self { state: Mutex::new(state), evicted: Notify::new() })
    }

    /// Notes bytes from the client.
    pub(crate) fn read(&self, bytes: &[u8]) {
        let mut state = self.state();
        for (byte, expected) in bytes.iter().zip(HTTP2.iter().skip(state.received)) {
            state.speaks_http2 &= byte == expected;
        }
        // Bytes of a body come while its request is under way, and belong to no head.
        state.received = state.received.saturating_add(bytes.len()).min(HTTP2.len());
        if state.requests == 0 && state.head.is_none() && !bytes.is_empty() {
            state.head = Some(Instant::now());
        }
    }

    /// Notes a request, until the exchange is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Exchange {
        let mut state = self.state();
        state.requests = state.requests.saturating_add(1);
        state.has_asked = true;
        state.head = None;
        Exchange { activity: Arc::clone(self), is_untaken: false, is_endless: false }
    }

    /// Returns the verdict on the connection.
    pub(crate) fn verdict(&self, now: Instant, deadlines: &ClientDeadlines) -> DeadlineVerdict {
        let state = self.state();
        let (deadline, missed) = match () {
            () if state.untaken > 0 => (state.taken + deadlines.write, DeadlineVerdict::Stalled),
            // The upstream is to act, which has deadlines of its own. Whatever comes next begins later.
            () if state.requests > 0 => (now + deadlines.shortest(), DeadlineVerdict::Idle),
            () => match state.head {
                // Frames of HTTP/2 come without a request, too.
                Some(head) if !state.is_http2() || state.received < HTTP2.len() => {
                    (head + deadlines.head, DeadlineVerdict::LateHead)
                }
                // A client connects to ask at once; a browser soon makes a spare connection again.
                None if !state.has_asked => (state.since + deadlines.head, DeadlineVerdict::LateHead),
                _ => (state.since + deadlines.idle, DeadlineVerdict::Idle),
            },
        };
        if now >= deadline { missed } else { DeadlineVerdict::Wait(deadline.min(now + deadlines.shortest())) }
    }

    /// Lets the stream end at the next read.
    pub(crate) fn end_late(&self) {
        self.state().is_late = true;
    }

    /// Returns whether a client that was late gets a response: it has sent a part of a head. `None` if it was
    /// not late.
    pub(crate) fn is_late(&self) -> Option<bool> {
        let state = self.state();
        state.is_late.then(|| state.head.is_some() && !state.is_http2())
    }

    /// Returns the rank of an idle connection among those to end first: those that never asked, then those
    /// that have waited longest. `None` while a request is under way.
    pub(crate) fn rank(&self) -> Option<(bool, Instant)> {
        let state = self.state();
        (state.requests == 0 && !state.is_closing).then_some((state.has_asked, state.since))
    }

    /// Reports whether no request is under way.
    pub(crate) fn is_idle(&self) -> bool {
        self.state().requests == 0
    }

    /// Asks the connection to end.
    pub(crate) fn evict(&self) {
        self.state().is_closing = true;
        self.evicted.notify_one();
    }

    /// Reports whether the client has sent a request.
    pub(crate) fn has_asked(&self) -> bool {
        self.state().has_asked
    }

    fn state(&self) -> MutexGuard<'_, ConnectionState> {
        // Each change is whole when the lock is freed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ConnectionState {
    fn is_http2(&self) -> bool {
        self.speaks_http2 && self.received >= TELLING
    }
}

impl ClientDeadlines {
    pub(crate) const fn of(options: &ListenerOptions) -> Self {
        Self {
            head: options.head_timeout.0,
            idle: options.keep_alive_timeout.0,
            write: options.write_timeout.0,
        }
    }

    /// Returns the time after which a deadline may be missed that has not begun yet.
    pub(crate) fn shortest(&self) -> Duration {
        self.head.min(self.idle).min(self.write)
    }
}

/// A request and its response, until both have ended.
pub(crate) struct Exchange {
    activity: Arc<Activity>,
    is_untaken: bool,
    is_endless: bool,
}

impl Exchange {
    /// Keeps the connection from counting as idle for good, since it now speaks another protocol.
    pub(crate) const fn never_ends(&mut self) {
        self.is_endless = true;
    }

    /// Notes that the client was given a part of the response.
    pub(crate) fn gave(&mut self) {
        self.note(true);
    }

    /// Notes that the client could take a further part.
    pub(crate) fn was_taken(&mut self) {
        self.note(false);
    }

    fn note(&mut self, is_untaken: bool) {
        if is_untaken == self.is_untaken && !is_untaken {
            return;
        }
        let mut state = self.activity.state();
        // Of several responses, one that moves shows that the client still reads.
        state.taken = Instant::now();
        match (self.is_untaken, is_untaken) {
            (false, true) => state.untaken = state.untaken.saturating_add(1),
            (true, false) => state.untaken = state.untaken.saturating_sub(1),
            _ => {}
        }
        self.is_untaken = is_untaken;
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        // A part that was never taken must not count against the requests of the same connection.
        self.was_taken();
        if self.is_endless {
            return;
        }
        let mut state = self.activity.state();
        state.requests = state.requests.saturating_sub(1);
        state.since = Instant::now();
    }
}
