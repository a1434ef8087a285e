//! The body of a response as actix-web sends it.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::body::{BodySize, MessageBody};
use bytes::Bytes;

use super::{Kind, KindProjection, ResponseBody};

/// A body of known length that is empty is never asked for its end, and settles when it is dropped.
impl<B: MessageBody> MessageBody for ResponseBody<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        match &self.kind {
            Kind::Inner { body } | Kind::Metered { body, .. } => body.size(),
            Kind::Own { bytes } => BodySize::Sized(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64)),
        }
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Self::Error>>> {
        match self.project().kind.project() {
            KindProjection::Inner { body } => body.poll_next(context),
            KindProjection::Metered { body, count } => {
                if count.meter.is_some()
                    && let Some(data) = ready!(body.poll_next(context))
                {
                    return Poll::Ready(Some(data.inspect(|data| count.add(data.len()))));
                }
                // The body ends once the books are settled.
                ready!(count.poll_settle(context));
                Poll::Ready(None)
            }
            KindProjection::Own { bytes } => Poll::Ready(bytes.take().map(Ok)),
        }
    }
}
