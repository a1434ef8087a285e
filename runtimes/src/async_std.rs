//! The async-std runtime.

use std::future::Future;
use std::io;
use std::time::{Duration, Instant};

use async_std::net::TcpStream;
use async_std::task;
use traffik_core::Timer;

use crate::{Connect, Runtime};

/// The async-std runtime, for programs that already use it. Its authors discontinued it in 2025 and name smol
/// as its successor: choose `Smol` (feature `smol`) for new programs.
///
/// ```
/// use std::time::Duration;
/// use traffik::Timer;
/// use traffik::runtime::{AsyncStd, Elapsed, Runtime};
///
/// # async_std::task::block_on(async {
/// let moment = Duration::from_millis(1);
/// assert_eq!(AsyncStd.timeout(moment, AsyncStd.sleep(moment * 1_000)).await, Err(Elapsed(moment)));
/// # });
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct AsyncStd;

impl Timer for AsyncStd {
    fn sleep(&self, wait: Duration) -> impl Future<Output = ()> + Send + 'static {
        // The sleep of async-std begins when it is first polled; a `Timer` counts from the call.
        let called = Instant::now();
        async move { task::sleep(wait.saturating_sub(called.elapsed())).await }
    }

    fn stopwatch(&self) -> impl Fn() -> Option<Duration> + Send + Sync + 'static {
        let start = Instant::now();
        move || Some(start.elapsed())
    }
}

impl Runtime for AsyncStd {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(task::spawn(future));
    }
}

impl Connect for AsyncStd {
    type Stream = TcpStream;

    fn connect(&self, address: &str) -> impl Future<Output = io::Result<Self::Stream>> + Send + 'static {
        let address = address.to_owned();
        async {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        }
    }
}
