//! The body of a response as actix-web sends it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;

use super::{BodyKind, BodyKindProjection, ResponseBody};

/// The body as actix-web reads it. Actix-web never polls an empty body of known length: that one settles when
/// it is dropped.
impl<B: MessageBody> MessageBody for ResponseBody<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        match &self.kind {
            BodyKind::Inner { body } | BodyKind::Metered { body, .. } => body.size(),
            BodyKind::Own { bytes } => BodySize::Sized(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
        }
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        match self.project().kind.project() {
            BodyKindProjection::Inner { body } => body.poll_next(context),
            BodyKindProjection::Metered { body, count } => {
                if count.meter.is_some()
                    && let Some(data) = ready!(body.poll_next(context))
                {
                    return Poll::Ready(Some(data.inspect(|data| count.add(data.len()))));
                }
                // The end is reported only after the charge is settled.
                ready!(count.poll_settle(context));
                Poll::Ready(None)
            }
            BodyKindProjection::Own { bytes } => Poll::Ready(bytes.take().map(Ok)),
        }
    }
}
