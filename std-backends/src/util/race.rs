//! Whichever of two futures is done first.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

/// The output of the one that was done first.
pub(crate) enum Either<A, B> {
    First(A),
    Second(B),
}

/// Runs both until one is done, and drops the other. If both are, the first counts: what is there in time is
/// never thrown away.
pub(crate) async fn race<A: Future, B: Future>(first: A, second: B) -> Either<A::Output, B::Output> {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|context| {
        if let Poll::Ready(output) = first.as_mut().poll(context) {
            return Poll::Ready(Either::First(output));
        }
        second.as_mut().poll(context).map(Either::Second)
    })
    .await
}
