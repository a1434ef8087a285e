//! The memory that throttles take: next to none until they are asked, and then a part of their room.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};

use http::Request;
use traffik::web::{PeerAddress, Throttle};
use traffik::{Limiter, Memory, TokenBucket, rate};
use traffik_test_support::program;

/// Set for the process whose memory is measured: in it runs nothing else.
const MEASURED: &str = "TRAFFIK_MEASURED";

const THROTTLES: u64 = 100;
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
/// The memory that the kernel gives at once to a region that is advised to be made of large pages.
const LARGE_PAGE: u64 = 2 * MIB;

/// Bytes of this process that are in memory.
fn resident() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<u64>().unwrap() * 4 * KIB
}

/// By how many bytes the process grows by some work, and what the work made.
fn growth<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let before = resident();
    let made = work();
    (resident().saturating_sub(before), made)
}

#[test]
fn a_throttle_takes_memory_when_it_is_asked() {
    if std::env::var_os(MEASURED).is_none() {
        let mut again = program::again(module_path!(), "a_throttle_takes_memory_when_it_is_asked");
        let output = again.env(MEASURED, "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
        print!("{text}");
        return;
    }
    let limit = TokenBucket::new(rate!("100/min"));
    let build = |uid: u64| Throttle::in_memory(&format!("throttle-{uid}"), limit).build().unwrap();
    // The first request takes memory for the whole process, such as for code that is loaded.
    let mut request = Request::new(());
    request.extensions_mut().insert(PeerAddress::new(([192, 0, 2, 1], 1000).into()));
    let ask = |throttle: &Throttle<_, _>| {
        assert!(pin!(throttle.hit(&request)).poll(&mut Context::from_waker(Waker::noop())).is_ready());
    };
    ask(&build(THROTTLES));

    let (idle, throttles) = growth(|| (0..THROTTLES).map(build).collect::<Vec<_>>());
    let (asked, ()) = growth(|| throttles.iter().for_each(ask));
    let (large, storage) = growth(|| Memory::new(10_000_000));
    let limiter = Limiter::new(limit, storage);
    let (one_key, admitted) = growth(|| limiter.check("alice").unwrap().is_allowed());
    println!("{THROTTLES} idle throttles {} KiB", idle / KIB);
    println!("a request on each {} KiB a throttle", asked / KIB / THROTTLES);
    println!("an idle memory of 10 M keys {} KiB, its first key {} KiB", large / KIB, one_key / KIB);
    assert!(admitted && idle <= 10 * MIB, "{idle} bytes of idle throttles");
    assert!(asked <= THROTTLES * 64 * KIB, "{asked} bytes of throttles that were asked once");
    assert!(large <= 2 * MIB, "{large} bytes of an idle memory");
    // The part of the key, which may lie across the border of two large pages, and what leads to it.
    assert!(one_key <= 2 * LARGE_PAGE + MIB, "{one_key} bytes of a memory with one key");
}
