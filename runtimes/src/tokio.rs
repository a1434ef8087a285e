//! The tokio runtime.

use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};
use traffik_core::Timer;

use crate::{Connect, Runtime};

/// The tokio runtime, for programs on tokio. Its time is tokio's, which tests can pause.
///
/// # Panics
///
/// Sleeping, spawning and connecting panic outside a tokio runtime. Sleeping also panics if the runtime has
/// no time driver, and connecting if it has no I/O driver: build the runtime with `enable_all`.
///
/// ```
/// # use std::time::Duration;
/// use traffik::Memory;
/// use traffik::{Gcra, Limiter, Rate};
/// use traffik::runtime::Tokio;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), traffik::WaitError> {
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

    fn stopwatch(&self) -> impl Fn() -> Option<Duration> + Send + Sync + 'static {
        let start = tokio::time::Instant::now();
        move || Some(start.elapsed())
    }
}

impl Runtime for Tokio {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(future));
    }
}

impl Connect for Tokio {
    type Stream = Compat<TcpStream>;

    fn connect(&self, address: &str) -> impl Future<Output = io::Result<Self::Stream>> + Send + 'static {
        let address = address.to_owned();
        async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(stream.compat())
        }
    }
}
