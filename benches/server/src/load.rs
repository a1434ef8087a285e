//! The clients: wrk for HTTP/1.1, h2load for gRPC, both for a fixed time.

use std::io;
use std::process::Command;

/// The result of a round.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Load {
    /// Requests that were answered, each second.
    pub(crate) per_second: f64,
    /// The latency that 99 % of them kept, in microseconds.
    pub(crate) p99_us: f64,
}

/// Sends requests for two seconds on 64 connections.
pub(crate) fn requests(address: &str, headers: &[&str]) -> io::Result<Load> {
    let mut command = Command::new("timeout");
    command.args(["20", "wrk", "--threads", "1", "--connections", "64", "--duration", "2s", "--latency"]);
    command.args(headers.iter().flat_map(|header| ["--header", header])).arg(format!("http://{address}/"));
    let text = output(command)?;
    // Responses that are no 2xx or 3xx would be another measurement.
    let all_passed = !text.contains("Non-2xx") && !text.contains("Socket errors");
    let word = |start: &str| text.lines().find_map(|line| line.trim().strip_prefix(start));
    let per_second = word("Requests/sec:").and_then(|rest| rest.trim().parse().ok());
    let p99_us = word("99%").and_then(microseconds);
    match (per_second, p99_us) {
        (Some(per_second), Some(p99_us)) if all_passed => Ok(Load { per_second, p99_us }),
        _ => Err(io::Error::other(text)),
    }
}

/// Calls a rate limit service for two seconds, 32 calls at once on each of 4 connections.
pub(crate) fn calls(address: &str, call: &str) -> io::Result<Load> {
    let mut command = Command::new("timeout");
    command.args(["20", "h2load", "--duration", "2", "--clients", "4", "--max-concurrent-streams", "32"]);
    command.args(["--header", "content-type: application/grpc", "--header", "te: trailers", "--data", call]);
    command.arg(format!("http://{address}/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"));
    let text = output(command)?;
    // The line is `finished in 2.00s, 12345.50 req/s, 1.2MB/s`.
    let finished = text.lines().find_map(|line| line.strip_prefix("finished in "));
    let per_second = finished.and_then(|it| it.split(", ").nth(1)?.strip_suffix(" req/s")?.parse().ok());
    let all_passed = text.contains(" 0 failed, 0 errored, 0 timeout");
    let load = per_second.filter(|_| all_passed).map(|per_second| Load { per_second, p99_us: f64::NAN });
    load.ok_or_else(|| io::Error::other(text.clone()))
}

/// Returns what a client prints.
fn output(mut command: Command) -> io::Result<String> {
    let output = command.output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if output.status.success() { Ok(text) } else { Err(io::Error::other(text)) }
}

/// Returns the microseconds of a time as wrk prints it, such as `1.23ms`.
fn microseconds(text: &str) -> Option<f64> {
    let text = text.trim();
    let scales = [("us", 1.0), ("ms", 1e3), ("s", 1e6)];
    scales.iter().find_map(|(unit, scale)| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * scale))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_times_of_wrk() {
        assert_eq!(microseconds("  812.00us"), Some(812.0));
        assert_eq!(microseconds("   1.50ms"), Some(1_500.0));
        assert_eq!(microseconds("2.00s"), Some(2_000_000.0));
        assert_eq!(microseconds("n/a"), None);
    }
}
