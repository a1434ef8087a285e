//! The bodies that pass through the proxy, and what tells a slow side from one that stands still.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Sleep, sleep};

use crate::response::BodyError;

/// The progress of a request's body.
#[derive(Default)]
pub(crate) struct UploadProgress {
    frames: AtomicU64,
    ended: AtomicBool,
    failed: AtomicBool,
    /// Whether the client is to send the next part; otherwise the upstream is to take one.
    waits_for_client: AtomicBool,
}

impl UploadProgress {
    /// Returns the number of parts so far, and whether the body has ended.
    pub(crate) fn look(&self) -> (u64, bool) {
        // The counts guard no other data, so any order will do.
        (self.frames.load(Ordering::Relaxed), self.ended.load(Ordering::Relaxed))
    }

    /// Reports whether the body broke off, or was no body of its transfer coding.
    pub(crate) fn has_failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    pub(crate) fn waits_for_client(&self) -> bool {
        self.waits_for_client.load(Ordering::Relaxed)
    }
}

/// The body of a request, which notes its progress.
pub(crate) struct WatchedBody {
    inner: Incoming,
    progress: Arc<UploadProgress>,
}

impl WatchedBody {
    pub(crate) fn new(inner: Incoming) -> (Self, Arc<UploadProgress>) {
        let progress = Arc::new(UploadProgress::default());
        progress.ended.store(inner.is_end_stream(), Ordering::Relaxed);
        (Self { inner, progress: Arc::clone(&progress) }, progress)
    }
}

impl Body for WatchedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(context);
        let progress = &self.progress;
        // Pending means that the upstream could take more and the client has sent nothing.
        progress.waits_for_client.store(polled.is_pending(), Ordering::Relaxed);
        let frame = ready!(polled);
        let is_last = match &frame {
            Some(Ok(_)) => {
                progress.frames.fetch_add(1, Ordering::Relaxed);
                // A body whose length is known is not asked again after its last part.
                self.inner.is_end_stream()
            }
            Some(Err(_)) => {
                progress.failed.store(true, Ordering::Relaxed);
                true
            }
            None => true,
        };
        // Never back to false: an end is an end.
        progress.ended.fetch_or(is_last, Ordering::Relaxed);
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The body of a response, which fails if no part comes for too long.
pub(crate) struct PatientBody {
    inner: Incoming,
    patience: Duration,
    /// Runs while a part is waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

impl PatientBody {
    pub(crate) const fn new(inner: Incoming, patience: Duration) -> Self {
        Self { inner, patience, timer: None }
    }
}

impl Body for PatientBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.inner).poll_frame(context) {
            // The next wait begins anew. Most parts are there when asked for, and cost no timer.
            self.timer = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::from)));
        }
        let patience = self.patience;
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(patience)));
        ready!(timer.as_mut().poll(context));
        Poll::Ready(Some(Err(format!("the upstream sent nothing for {patience:?}").into())))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
