//! The error of waiting for admission.

use core::error::Error;
use core::fmt;
use core::time::Duration;

use crate::StorageError;

/// The reason why waiting ended without an admission.
///
/// [`Limiter::until_ready`](crate::Limiter::until_ready) and its variants return it.
///
/// ```
/// # use core::time::Duration;
/// # use traffik::{Limiter, Memory, TokenBucket, WaitError, rate, runtime::Manual};
/// # let runtime = Manual::new();
/// # let timer = &runtime;
/// # let storage = Memory::builder().clock(runtime.clone()).build();
/// # runtime.run(async {
/// let limiter = Limiter::new(TokenBucket::new(rate!("2/min")), storage);
/// assert!(limiter.check_n("alice", 2)?.is_allowed());
///
/// match limiter.until_ready_within("alice", 1, Duration::from_secs(5), timer).await {
///     Err(WaitError::TooLong { wait }) => assert_eq!(wait, Duration::from_secs(30)),
///     other => panic!("{other:?}"),
/// }
/// let beyond = limiter.until_ready_n("alice", 3, timer).await;
/// assert_eq!(beyond, Err(WaitError::Never));
/// # Ok::<(), traffik::StorageError>(())
/// # })??;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum WaitError<E = StorageError> {
    /// The limit can never admit the hit, however long it waits.
    Never,
    /// The hit would have to wait for longer than it may, or its queue is full.
    ///
    /// Nothing was charged, or the charge was refunded. It stays only if the storage could not take it back.
    TooLong {
        /// The wait from now on that would be necessary; a lower bound where it is not known exactly.
        wait: Duration,
    },
    /// The storage could not answer.
    Storage(E),
}

impl<E: fmt::Display> fmt::Display for WaitError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str(
                "the limit can never admit this hit, however long it waits; lower its cost or raise the limit",
            ),
            Self::TooLong { wait } => {
                write!(f, "the hit would have to wait for {wait:?}, which is too long")
            }
            Self::Storage(error) => error.fmt(f),
        }
    }
}

impl<E: Error> Error for WaitError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Never | Self::TooLong { .. } => None,
            Self::Storage(error) => error.source(),
        }
    }
}
