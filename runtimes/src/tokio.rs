//! The tokio runtime.

use std::future::Future;
use std::time::Duration;

use traffik_core::Timer;

use crate::Runtime;

/// Tokio. Every method must be called from within a tokio runtime whose time driver is enabled; tokio panics
/// otherwise.
///
/// ```
/// # use std::time::Duration;
/// use traffik_backends::Memory;
/// use traffik_core::{Gcra, Limiter, Rate};
/// use traffik_runtimes::Tokio;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), traffik_core::WaitError> {
/// let limiter = Limiter::new(Gcra::new(Rate::per_second(1_000)), Memory::new(100));
/// for _ in 0..5 {
///     limiter.until_ready("uplink", &Tokio).await?; // a millisecond apart
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Tokio;

impl Timer for Tokio {
    fn sleep(&self, wait: Duration) -> impl Future<Output = ()> + Send + 'static {
        tokio::time::sleep(wait)
    }
}

impl Runtime for Tokio {
    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(future));
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;
    use crate::Elapsed;
    use traffik_backends::Memory;
    use traffik_core::{Clock, Gcra, Limiter, Rate, Timestamp, WaitError};

    /// Tokio's own virtual time as the clock of a storage.
    struct Virtual(tokio::time::Instant);

    impl Clock for Virtual {
        fn now(&self) -> Timestamp {
            Timestamp::EPOCH + self.0.elapsed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn until_ready_waits_out_each_denial_exactly() {
        let clock = Virtual(tokio::time::Instant::now());
        let limiter = Limiter::new(Gcra::new(Rate::per_minute(60)), Memory::builder().clock(clock).build());
        for second in 0..5 {
            assert!(limiter.until_ready("key", &Tokio).await.unwrap().is_allowed());
            assert_eq!(limiter.now().as_micros(), second * 1_000_000);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn until_ready_does_not_wait_for_what_can_never_be() {
        let closed = Limiter::new(Gcra::new(Rate::per_second(0)), Memory::new(1));
        assert_eq!(closed.until_ready("key", &Tokio).await, Err(WaitError::Never));
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_ends_what_does_not() {
        let limit = Duration::from_secs(3);
        assert_eq!(Tokio.timeout(limit, pending::<()>()).await, Err(Elapsed(limit)));
        assert_eq!(Tokio.timeout(Duration::ZERO, ready(7)).await, Ok(7));
    }

    #[tokio::test]
    async fn what_is_spawned_runs_unattended() {
        let (done, told) = tokio::sync::oneshot::channel();
        Tokio.spawn(async {
            let _ = done.send(7);
        });
        assert_eq!(told.await, Ok(7));
    }
}
