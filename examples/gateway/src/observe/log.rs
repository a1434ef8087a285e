//! The log on standard error, as text or as JSON, and the lines on standard output.

use std::io::{self, Write};
use std::sync::OnceLock;
use std::time::Duration;

use clap::ValueEnum;
use tracing::level_filters::LevelFilter;
use tracing::{Dispatch, dispatcher};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::{MakeWriter, Subscriber};
use tracing_subscriber::layer::SubscriberExt;

use crate::observe::line_queue::LineQueue;

/// The form of the log's lines.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// The least severe lines that the log has.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
}

/// Longest time that the end of the program waits for the readers of its lines.
const FLUSH: Duration = Duration::from_millis(500);

/// The queues of the program's standard error and standard output.
static ERRORS: OnceLock<LineQueue> = OnceLock::new();
static OUTPUT: OnceLock<LineQueue> = OnceLock::new();

/// Starts the log. Lines before the first call are lost; later calls change nothing.
pub(crate) fn start(format: LogFormat, level: LogLevel) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    // The thread that writes the queue must not use the queue, which may be full.
    let direct = subscriber(format, level, io::stderr);
    let report = move |count: u64| {
        dispatcher::with_default(&direct, || {
            tracing::warn!(count, "lines of the log left out, since its reader is too slow: {count}");
        });
    };
    // Without a thread the gateway runs without a log.
    let Ok(queue) = LineQueue::to(io::stderr(), report) else { return };
    if ERRORS.set(queue.clone()).is_err() {
        return;
    }
    let _ = dispatcher::set_global_default(subscriber(format, level, move || LogLine {
        queue: queue.clone(),
        is_text: format == LogFormat::Text,
    }));
    std::panic::set_hook(Box::new(|panic| tracing::error!("a defect of the gateway: {panic}")));
}

/// Returns the subscriber that formats lines for a writer. No line has colours.
fn subscriber<W>(format: LogFormat, level: LevelFilter, writer: W) -> Dispatch
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = Subscriber::builder().with_max_level(level).with_target(false).with_writer(writer);
    // Other libraries log each frame of a connection at the level debug.
    let own = Targets::new().with_target("traffik", level).with_default(level.min(LevelFilter::WARN));
    match format {
        LogFormat::Text => builder.finish().with(own).into(),
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .finish()
            .with(own)
            .into(),
    }
}

/// A writer that adds each line to the queue.
struct LogLine {
    queue: LineQueue,
    is_text: bool,
}

impl Write for LogLine {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let mut text = line.to_vec();
        if self.is_text {
            // A record of several lines is indented, so that each line at the margin begins a record.
            let inner = line.strip_suffix(b"\n").unwrap_or(line);
            text = inner.split(|byte| *byte == b'\n').collect::<Vec<_>>().join(&b"\n    "[..]);
            text.push(b'\n');
        }
        self.queue.push(text);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Logs a line of a store's client, about a fault or its end.
pub(crate) fn store_line(line: &str) {
    // The client has one function for all lines; this is the only one of them that reports no fault.
    if line.contains(" answers again, after ") { tracing::info!("{line}") } else { tracing::warn!("{line}") }
}

/// Writes a line to standard output. Never waits for its reader.
pub(crate) fn say(line: &str) {
    let output = || LineQueue::to(io::stdout(), |_| {});
    if OUTPUT.get().is_none()
        && let Ok(queue) = output()
    {
        let _ = OUTPUT.set(queue);
    }
    if let Some(queue) = OUTPUT.get() {
        queue.push(format!("{line}\n").into_bytes());
    }
}

/// Writes a line to standard output and waits for its reader: for a program that only prints.
pub(crate) fn print(line: &str) {
    // A closed pipe has a reader that has seen enough, such as `head`.
    let _ = writeln!(io::stdout(), "{line}");
}

/// Writes the line with which the program fails to standard error.
pub(crate) fn fail(line: &str) {
    match ERRORS.get() {
        Some(queue) => queue.push(format!("{line}\n").into_bytes()),
        None => drop(writeln!(io::stderr(), "{line}")),
    }
}

/// Returns the number of lines of the log that were left out.
pub(crate) fn left_out() -> u64 {
    ERRORS.get().map_or(0, LineQueue::left_out)
}

/// Waits until all lines are written, for at most half a second each on standard output and standard error.
pub(crate) fn flush() {
    [&OUTPUT, &ERRORS].into_iter().filter_map(OnceLock::get).for_each(|queue| queue.flush(FLUSH));
}
