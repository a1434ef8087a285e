//! The body of a response: that of the inner service, or the throttle's own.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use traffik_core::debug_fields;
use traffik_core::storage::BoxFuture;

#[cfg(feature = "actix")]
mod actix;

pin_project! {
    /// The body of a response behind a throttle: either that of the service, unchanged, or the throttle's
    /// own. Name it where a server wants the type of a body; make one with `From` for responses that bypass
    /// the throttle.
    ///
    /// ```
    /// use http_body::Body;
    /// use traffik::web::ResponseBody;
    ///
    /// let of_service = ResponseBody::from(String::from("hello"));
    /// assert_eq!(of_service.size_hint().exact(), Some(5));
    /// let own = ResponseBody::<String>::own("slow down".into());
    /// assert_eq!(own.size_hint().exact(), Some(9));
    /// ```
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        #[pin]
        kind: BodyKind<B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = BodyKindProjection]
    enum BodyKind<B> {
        Inner { #[pin] body: B },
        Metered { #[pin] body: B, count: BodyCounter },
        Own { bytes: Option<Bytes> },
    }
}

/// Settles a charge by the length of a response body.
pub(crate) trait BodyMeter: Send + Sync {
    /// Settles by the `bytes` that were passed on, once the body has ended or was dropped.
    ///
    /// A body that was read to its end awaits the returned future; otherwise the future is dropped.
    fn settle(self: Box<Self>, bytes: u64) -> Option<BoxFuture<'static, ()>>;
}

/// Settles both meters, the first one first.
impl BodyMeter for (Box<dyn BodyMeter>, Box<dyn BodyMeter>) {
    fn settle(self: Box<Self>, bytes: u64) -> Option<BoxFuture<'static, ()>> {
        let (one, another) = *self;
        in_turn(one.settle(bytes), another.settle(bytes))
    }
}

/// Returns a future that runs both, one after the other.
pub(crate) fn in_turn(
    one: Option<BoxFuture<'static, ()>>,
    another: Option<BoxFuture<'static, ()>>,
) -> Option<BoxFuture<'static, ()>> {
    match (one, another) {
        (Some(one), Some(another)) => Some(Box::pin(async {
            one.await;
            another.await;
        })),
        (one, another) => one.or(another),
    }
}

/// The counter of a body, which calls its meter once.
struct BodyCounter {
    bytes: u64,
    meter: Option<Box<dyn BodyMeter>>,
    settling: Option<SettleFuture>,
}

/// A future that settles a charge, in a form that is `Sync`: bodies have to be.
struct SettleFuture(std::sync::Mutex<BoxFuture<'static, ()>>);

impl SettleFuture {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        // `&mut self` proves that no other thread polls, so the mutex is never locked: it only makes the
        // future `Sync`.
        let future = self.0.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        future.as_mut().poll(context)
    }
}

debug_fields!([] BodyCounter: bytes);

impl BodyCounter {
    /// Adds bytes that were passed on.
    const fn add(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Calls the meter, once, and waits until it has settled.
    fn poll_settle(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(meter) = self.meter.take() {
            self.settling =
                meter.settle(self.bytes).map(|future| SettleFuture(std::sync::Mutex::new(future)));
        }
        if let Some(settling) = &mut self.settling {
            ready!(settling.poll(context));
            self.settling = None;
        }
        Poll::Ready(())
    }
}

impl Drop for BodyCounter {
    /// Settles a body that was not read to its end.
    fn drop(&mut self) {
        // The client went away, or the server knew the length and did not poll for the end.
        if let Some(meter) = self.meter.take() {
            drop(meter.settle(self.bytes));
        }
    }
}

/// Wraps the body of a response that does not go through a throttle.
impl<B> From<B> for ResponseBody<B> {
    fn from(body: B) -> Self {
        Self { kind: BodyKind::Inner { body } }
    }
}

impl<B> ResponseBody<B> {
    /// Returns a body of a throttle's own, such as that of [`Action::Answer`](crate::Action::Answer).
    #[must_use]
    pub fn own(bytes: Bytes) -> Self {
        Self { kind: BodyKind::Own { bytes: Some(bytes).filter(|bytes| !bytes.is_empty()) } }
    }

    /// Returns the body of a service, counted if there is a meter.
    pub(crate) fn of(body: B, meter: Option<Box<dyn BodyMeter>>) -> Self {
        let kind = match meter {
            None => BodyKind::Inner { body },
            meter => BodyKind::Metered { body, count: BodyCounter { bytes: 0, meter, settling: None } },
        };
        Self { kind }
    }
}

/// Returns the remaining data; `Bytes` are not copied.
fn bytes(mut data: impl Buf) -> Bytes {
    data.copy_to_bytes(data.remaining())
}

/// The data are [`Bytes`], as axum and tonic require. `Bytes` of a service pass unchanged; other data are
/// copied.
impl<B: Body> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            BodyKindProjection::Inner { body } => {
                body.poll_frame(context).map_ok(|frame| frame.map_data(bytes))
            }
            BodyKindProjection::Metered { body, count } => {
                if count.meter.is_some() {
                    let frame = ready!(body.poll_frame(context));
                    if let Some(Ok(frame)) = frame {
                        let frame = frame.map_data(bytes);
                        count.add(frame.data_ref().map_or(0, Bytes::len));
                        return Poll::Ready(Some(Ok(frame)));
                    }
                    if let Some(Err(error)) = frame {
                        return Poll::Ready(Some(Err(error)));
                    }
                }
                // The end is reported only after the charge is settled. So a client that has read the whole
                // body meets the settled state with its next request.
                ready!(count.poll_settle(context));
                Poll::Ready(None)
            }
            BodyKindProjection::Own { bytes } => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            BodyKind::Inner { body } => body.is_end_stream(),
            // `true` would keep servers from polling for the end, and the charge would be settled in `Drop`,
            // where its future cannot be awaited.
            BodyKind::Metered { count, .. } => count.meter.is_none() && count.settling.is_none(),
            BodyKind::Own { bytes } => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            BodyKind::Inner { body } | BodyKind::Metered { body, .. } => body.size_hint(),
            BodyKind::Own { bytes } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
        }
    }
}
