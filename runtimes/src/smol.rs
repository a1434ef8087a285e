//! The smol runtime.

use std::fmt;
use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use smol::Executor;
use smol::net::TcpStream;
use traffik_core::Timer;

use crate::{Connect, Runtime};

/// The smol runtime, for programs on smol. Tasks run on the executor that it was given, or by default on the
/// one of `smol::spawn`. Time and sockets are smol's own, and need no executor.
///
/// ```
/// use std::time::Duration;
/// use traffik::Timer;
/// use traffik::runtime::{Elapsed, Runtime, Smol};
///
/// # smol::block_on(async {
/// let runtime = Smol::new();
/// let moment = Duration::from_millis(1);
/// assert_eq!(runtime.timeout(moment, runtime.sleep(moment * 1_000)).await, Err(Elapsed(moment)));
/// # });
/// ```
#[derive(Clone, Default)]
pub struct Smol {
    executor: Option<Arc<Executor<'static>>>,
}

impl Smol {
    /// Returns smol with its global executor. The variable `SMOL_THREADS` sets the number of its threads, by
    /// default 1.
    #[must_use]
    pub const fn new() -> Self {
        Self { executor: None }
    }

    /// Returns smol with an executor of yours. Tasks run only while you run the executor.
    #[must_use]
    pub const fn with(executor: Arc<Executor<'static>>) -> Self {
        Self { executor: Some(executor) }
    }
}

impl Timer for Smol {
    fn sleep(&self, wait: Duration) -> impl Future<Output = ()> + Send + 'static {
        let timer = smol::Timer::after(wait);
        async {
            timer.await;
        }
    }

    fn stopwatch(&self) -> impl Fn() -> Option<Duration> + Send + Sync + 'static {
        let start = Instant::now();
        move || Some(start.elapsed())
    }
}

impl Runtime for Smol {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        match &self.executor {
            Some(executor) => executor.spawn(future).detach(),
            None => smol::spawn(future).detach(),
        }
    }
}

impl Connect for Smol {
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

impl fmt::Debug for Smol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.executor.is_some() { "Smol(an executor)" } else { "Smol" })
    }
}
