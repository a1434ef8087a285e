//! The body of a response: the inner service's own, or ours.

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
    /// Either the body of the service behind a throttle, untouched, or the throttle's own answer.
    #[derive(Debug)]
    pub struct ResponseBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[derive(Debug)]
    #[project = KindProjection]
    enum Kind<B> {
        Inner { #[pin] body: B },
        Metered { #[pin] body: B, count: Count },
        Own { bytes: Option<Bytes> },
    }
}

/// Hears how long a body was.
pub(crate) trait Meter: Send + Sync {
    /// The body has ended, or nobody wants more of it: so many bytes were passed on. What is given is to be awaited,
    /// if there is somebody to await it.
    fn settle(self: Box<Self>, bytes: u64) -> Option<BoxFuture<'static, ()>>;
}

/// Both hear of it.
impl Meter for (Box<dyn Meter>, Box<dyn Meter>) {
    fn settle(self: Box<Self>, bytes: u64) -> Option<BoxFuture<'static, ()>> {
        let (one, another) = *self;
        in_turn(one.settle(bytes), another.settle(bytes))
    }
}

/// One after the other, if there are both.
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

/// Counts a body.
struct Count {
    bytes: u64,
    meter: Option<Box<dyn Meter>>,
    settling: Option<Settling>,
}

/// A future that is polled by one at a time, so that a body which holds it can be shared between threads.
struct Settling(std::sync::Mutex<BoxFuture<'static, ()>>);

impl Settling {
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let future = self.0.get_mut().unwrap_or_else(std::sync::PoisonError::into_inner);
        future.as_mut().poll(context)
    }
}

debug_fields!([] Count: bytes);

impl Count {
    /// Notes that so many bytes were passed on.
    const fn add(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes as u64);
    }

    /// Tells the meter, once, and waits until it has settled.
    fn poll_settle(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if let Some(meter) = self.meter.take() {
            self.settling = meter.settle(self.bytes).map(|future| Settling(std::sync::Mutex::new(future)));
        }
        if let Some(settling) = &mut self.settling {
            ready!(settling.poll(context));
            self.settling = None;
        }
        Poll::Ready(())
    }
}

impl Drop for Count {
    /// The client went away, or the server knew the length and asked for no end.
    fn drop(&mut self) {
        if let Some(meter) = self.meter.take() {
            drop(meter.settle(self.bytes));
        }
    }
}

/// The body of a service, for a response that does not go through a throttle.
impl<B> From<B> for ResponseBody<B> {
    fn from(body: B) -> Self {
        Self { kind: Kind::Inner { body } }
    }
}

impl<B> ResponseBody<B> {
    /// A throttle's own answer, such as that of [`Action::Answer`](crate::Action::Answer).
    #[must_use]
    pub fn own(bytes: Bytes) -> Self {
        Self { kind: Kind::Own { bytes: Some(bytes).filter(|bytes| !bytes.is_empty()) } }
    }

    /// The body of a service, counted if there is a meter.
    pub(crate) fn of(body: B, meter: Option<Box<dyn Meter>>) -> Self {
        let kind = match meter {
            None => Kind::Inner { body },
            meter => Kind::Metered { body, count: Count { bytes: 0, meter, settling: None } },
        };
        Self { kind }
    }
}

/// What is left of data: of `Bytes`, themselves.
fn bytes(mut data: impl Buf) -> Bytes {
    data.copy_to_bytes(data.remaining())
}

/// Its data are [`Bytes`], as axum and tonic want them: those of a service are passed on, and data of any other kind copied.
impl<B: Body> Body for ResponseBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProjection::Inner { body } => body.poll_frame(context).map_ok(|frame| frame.map_data(bytes)),
            KindProjection::Metered { body, count } => {
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
                // The body ends once the books are settled.
                ready!(count.poll_settle(context));
                Poll::Ready(None)
            }
            KindProjection::Own { bytes } => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            // Else nobody would ask for the end, and the books would be settled with nobody waiting.
            Kind::Metered { count, .. } => count.meter.is_none() && count.settling.is_none(),
            Kind::Own { bytes } => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } | Kind::Metered { body, .. } => body.size_hint(),
            Kind::Own { bytes } => SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
        }
    }
}
