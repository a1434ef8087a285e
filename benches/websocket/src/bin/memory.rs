//! Allocations that a limit adds to an admitted message, and bytes to a connection that is idle, a line each;
//! counted by an allocator that is not there where instructions are counted.

use allocation_counter::measure;
use traffik_bench_websocket::read::echoed;
use traffik_bench_websocket::wire::{Wire, limiting};

/// Enough messages to see one allocation for every thousandth.
const MESSAGES: u64 = 10_000;
const CONNECTIONS: usize = 1_000;

fn main() {
    let limited = limiting();
    // A new client may take memory.
    echoed(limited(Wire(10)));
    let bare = measure(|| echoed(Wire(MESSAGES))).count_total;
    let with = measure(|| echoed(limited(Wire(MESSAGES)))).count_total;
    // A connection itself takes some, once.
    let once = measure(|| echoed(limited(Wire(0)))).count_total;
    println!("{}", (with - once - bare) as f64 / MESSAGES as f64);

    let mut connections = Vec::with_capacity(CONNECTIONS);
    let heap = measure(|| connections.extend((0..CONNECTIONS).map(|_| limited(Wire(0))))).bytes_current;
    let place = connections.first().map_or(0, |first| size_of_val(first) - size_of::<Wire>());
    println!("{}", place + heap as usize / CONNECTIONS);
}
