//! Calls a second that tasks make together, in turns with others.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Runtime;
use traffik_bench_support::Bound::AtLeast;
use traffik_bench_support::{Contender, Report, Work, race};

/// How long each contender runs in a round.
const ROUND: Duration = Duration::from_millis(400);
/// Rounds, of which the median counts.
const ROUNDS: usize = 9;
/// Keys that are asked for in turn.
pub(crate) const KEYS: u64 = 1_000;

/// A contender of which so many tasks make calls.
pub(crate) fn calls<'a, F: Future<Output = ()> + Send>(
    runtime: &'a Runtime,
    tasks: u64,
    name: &'a str,
    call: impl Fn(u64) -> F + Clone + Send + 'static,
) -> Contender<'a, ()> {
    (name, Box::new(move |()| rate(runtime, tasks, call.clone())))
}

/// Returns the calls a second that so many tasks make together.
fn rate<F: Future<Output = ()> + Send>(
    runtime: &Runtime,
    tasks: u64,
    call: impl Fn(u64) -> F + Clone + Send + 'static,
) -> f64 {
    runtime.block_on(async {
        let calls = Arc::new(Work::begin());
        let work: Vec<_> = (0..tasks)
            .map(|task| {
                let (calls, call) = (calls.clone(), call.clone());
                tokio::spawn(async move {
                    let mut key = task * 7_919;
                    while calls.goes_on() {
                        call(key % KEYS).await;
                        calls.count();
                        key += 1;
                    }
                })
            })
            .collect();
        tokio::time::sleep(ROUND).await;
        calls.stop();
        for task in work {
            task.await.expect("a task that does not panic");
        }
        calls.rate()
    })
}

/// Reports the calls a second of each, and whether the first one keeps up with the second.
pub(crate) fn side_by_side<const N: usize>(
    report: &mut Report,
    head: &str,
    mut contenders: [Contender<'_, ()>; N],
) {
    report.head(format_args!("{head}, calls a second"));
    let rates = race(ROUNDS, &mut contenders, || ());
    for ((name, _), rate) in contenders.iter().zip(rates) {
        report.line(name, rate, "calls/s", None);
    }
    if let ([_, (name, _), ..], [ours, bare, ..]) = (contenders.as_slice(), rates.as_slice()) {
        report.line(format_args!("traffik, over {name}"), ours / bare, "x", Some(AtLeast(0.9)));
    }
}
