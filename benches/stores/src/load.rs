//! How many calls a second tasks make together.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

/// How long each contender runs in a round.
const ROUND: Duration = Duration::from_millis(400);
/// Rounds, of which the median counts.
pub(crate) const ROUNDS: usize = 9;
/// Keys that are asked for in turn.
pub(crate) const KEYS: u64 = 1_000;

/// Calls a second that so many tasks make together.
pub(crate) fn rate<F: Future<Output = ()> + Send>(
    runtime: &Runtime,
    tasks: u64,
    call: impl Fn(u64) -> F + Clone + Send + 'static,
) -> f64 {
    runtime.block_on(async {
        let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let work: Vec<_> = (0..tasks)
            .map(|task| {
                let (stop, calls, call) = (stop.clone(), calls.clone(), call.clone());
                tokio::spawn(async move {
                    let mut key = task * 7_919;
                    while !stop.load(Ordering::Relaxed) {
                        call(key % KEYS).await;
                        calls.fetch_add(1, Ordering::Relaxed);
                        key += 1;
                    }
                })
            })
            .collect();
        let began = Instant::now();
        tokio::time::sleep(ROUND).await;
        stop.store(true, Ordering::Relaxed);
        for task in work {
            task.await.expect("a task that does not panic");
        }
        calls.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64()
    })
}

pub(crate) fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// Tells what each contender came to, and whether the first one keeps up with the second.
pub(crate) fn judged(head: &str, contenders: &[(&str, f64)]) -> usize {
    println!("\n{head}, calls a second");
    for (name, rate) in contenders {
        println!("  {name:<52} {rate:>9.0}");
    }
    let [(_, ours), (name, bare), ..] = contenders else { return 0 };
    let (ratio, kept) = (ours / bare, ours / bare >= 0.9);
    println!(
        "  {:<52} {ratio:>9.2} bound 0.9: {}",
        format!("traffik, over {name}"),
        if kept { "pass" } else { "FAIL" }
    );
    usize::from(!kept)
}
