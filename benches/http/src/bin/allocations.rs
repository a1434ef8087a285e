//! Allocations that a throttle adds to an admitted request, counted by an allocator that is not there where instructions are
//! counted.

use allocation_counter::measure;
use traffik_integrations::Throttled;

use traffik_bench_http::calls::called;
use traffik_bench_http::service::{serving, throttle};

/// Enough requests to see one allocation for every thousandth.
const REQUESTS: u64 = 10_000;

fn main() {
    let (bare, with) = (serving(), Throttled::new(serving(), throttle(true)));
    // A new client may take memory.
    called(&with, 10);
    let bare = measure(|| called(&bare, REQUESTS)).count_total;
    let with = measure(|| called(&with, REQUESTS)).count_total;
    println!("{}", (with - bare) as f64 / REQUESTS as f64);
}
