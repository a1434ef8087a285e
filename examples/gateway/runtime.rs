//! The runtime that was asked for: whatever differs between tokio and smol is in this folder, and nothing else.

use std::future::{Future, pending};
use std::io;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use futures_util::future::Either;
use futures_util::stream::{BoxStream, poll_fn};
use futures_util::{StreamExt, TryFutureExt};
use tokio::signal::unix::{SignalKind, signal};
use traffik::Timer;
use traffik::runtime::{Connect, Runtime, Smol, Tokio};

mod hyper;
mod sockets;

pub(crate) use sockets::{Connector, Listener};

/// A runtime by its name.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum RuntimeSpec {
    Tokio,
    Smol,
}

/// The runtime that was chosen, for whoever waits, spawns, listens or connects.
#[derive(Clone, Debug)]
pub(crate) enum Chosen {
    Tokio(Tokio),
    Smol(Smol),
}

impl RuntimeSpec {
    /// Runs a program to its end, with a thread for each core.
    pub(crate) fn run<F, T>(self, program: impl FnOnce(Chosen) -> F) -> Result<T, String>
    where
        F: Future<Output = Result<T, String>>,
    {
        match self {
            Self::Tokio => {
                let runtime =
                    tokio::runtime::Runtime::new().map_err(|error| format!("--runtime tokio: {error}"))?;
                runtime.block_on(program(Chosen::Tokio(Tokio)))
            }
            Self::Smol => {
                let executor = Arc::new(smol::Executor::new());
                for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
                    let executor = Arc::clone(&executor);
                    // A task that panics ends itself, and not the thread.
                    thread::spawn(move || {
                        while catch_unwind(|| smol::block_on(executor.run(pending::<()>()))).is_err() {}
                    });
                }
                smol::block_on(program(Chosen::Smol(Smol::with(executor))))
            }
        }
    }
}

/// What the system can tell a process.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Signal {
    Terminate,
    Interrupt,
    HangUp,
}

impl Chosen {
    /// Tells whenever this signal came.
    pub(crate) fn on(&self, which: Signal) -> Result<BoxStream<'static, ()>, String> {
        self.signals(which).map_err(|error| format!("{which:?}: {error}"))
    }

    fn signals(&self, which: Signal) -> io::Result<BoxStream<'static, ()>> {
        Ok(match self {
            Self::Tokio(_) => {
                let mut signals = signal(match which {
                    Signal::Terminate => SignalKind::terminate(),
                    Signal::Interrupt => SignalKind::interrupt(),
                    Signal::HangUp => SignalKind::hangup(),
                })?;
                poll_fn(move |context| signals.poll_recv(context)).boxed()
            }
            Self::Smol(_) => {
                let signals = async_signal::Signals::new([match which {
                    Signal::Terminate => async_signal::Signal::Term,
                    Signal::Interrupt => async_signal::Signal::Int,
                    Signal::HangUp => async_signal::Signal::Hup,
                }])?;
                signals.filter_map(async |signal| signal.ok().map(drop)).boxed()
            }
        })
    }
}

impl Connect for Chosen {
    type Stream = Either<<Tokio as Connect>::Stream, <Smol as Connect>::Stream>;

    fn connect(&self, address: &str) -> impl Future<Output = io::Result<Self::Stream>> + Send + 'static {
        match self {
            Self::Tokio(runtime) => Either::Left(runtime.connect(address).map_ok(Either::Left)),
            Self::Smol(runtime) => Either::Right(runtime.connect(address).map_ok(Either::Right)),
        }
    }
}

impl Timer for Chosen {
    fn sleep(&self, wait: Duration) -> impl Future<Output = ()> + Send + 'static {
        match self {
            Self::Tokio(runtime) => Either::Left(runtime.sleep(wait)),
            Self::Smol(runtime) => Either::Right(runtime.sleep(wait)),
        }
    }
}

impl Runtime for Chosen {
    fn now(&self) -> Instant {
        match self {
            Self::Tokio(runtime) => runtime.now(),
            Self::Smol(runtime) => runtime.now(),
        }
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        match self {
            Self::Tokio(runtime) => runtime.spawn(future),
            Self::Smol(runtime) => runtime.spawn(future),
        }
    }
}
