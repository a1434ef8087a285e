//! The first of two futures.

use std::pin::pin;

pub(crate) use futures_util::future::Either;
use futures_util::future::select;

/// Runs both futures until one is done, and drops the other. If both are done, the first counts: an answer
/// that is there in time is never thrown away.
pub(crate) async fn race<A: Future, B: Future>(first: A, second: B) -> Either<A::Output, B::Output> {
    match select(pin!(first), pin!(second)).await {
        Either::Left((output, _)) => Either::Left(output),
        Either::Right((output, _)) => Either::Right(output),
    }
}
