//! What hyper asks of a runtime: where it spawns, and what it waits by.

use std::future::Future;
use std::pin::Pin;
use std::time::{Duration, Instant};

use hyper::rt::{Executor, Sleep, Timer};
use hyper_util::rt::TokioTimer;
use smol_hyper::rt::SmolTimer;
use traffik::runtime::Runtime;

use super::Chosen;

impl<F> Executor<F> for Chosen
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        self.spawn(async { drop(future.await) });
    }
}

impl Timer for Chosen {
    fn sleep(&self, wait: Duration) -> Pin<Box<dyn Sleep>> {
        match self {
            Self::Tokio(_) => TokioTimer::new().sleep(wait),
            Self::Smol(_) => SmolTimer::new().sleep(wait),
        }
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        match self {
            Self::Tokio(_) => TokioTimer::new().sleep_until(deadline),
            Self::Smol(_) => SmolTimer::new().sleep_until(deadline),
        }
    }

    fn reset(&self, sleep: &mut Pin<Box<dyn Sleep>>, deadline: Instant) {
        match self {
            Self::Tokio(_) => TokioTimer::new().reset(sleep, deadline),
            Self::Smol(_) => SmolTimer::new().reset(sleep, deadline),
        }
    }
}
