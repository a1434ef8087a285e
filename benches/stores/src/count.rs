//! Instructions of a check on a shared store, beside those of a bare call: this program runs once more for
//! each, on one thread, so that what the client's own task takes is counted too.

use std::io;

use redis::Client;
use tokio::runtime::{Builder, Runtime};
use traffik_backends::{MemcachedStorage, RedisStorage};
use traffik_bench_support::Bound::AtMost;
use traffik_bench_support::{Counted, INSTRUCTIONS, Report};
use traffik_core::{AsyncLimiter, FixedWindow, Gcra, Rate};
use traffik_runtimes::Tokio;

const COUNTED: Counted = Counted(concat!(module_path!(), "::counted"));

/// How many keys are asked for in turn.
const KEYS: u64 = 100;

/// Asks so often, each time for the next key.
#[inline(never)]
fn counted(runtime: &Runtime, number: u64, call: impl AsyncFn(u64)) {
    runtime.block_on(async {
        for key in 0..number {
            call(key % KEYS).await;
        }
    });
}

/// Makes so many calls of this kind: a word and the address of a server.
pub(crate) fn run(kind: &str, number: u64) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let (word, address) = kind.split_once('@').expect("a word, @ and an address");
    match word {
        "bare" => {
            let client = Client::open(format!("redis://{address}")).expect("an address");
            let connected = runtime.block_on(client.get_multiplexed_async_connection());
            let connection = connected.expect("a connection");
            counted(&runtime, number, async |key| {
                let mut command = redis::cmd("SET");
                command.arg(format!("bare:{{{key}}}")).arg("a state of some bytes").arg("PX").arg(60_000);
                let answer: redis::Value =
                    command.query_async(&mut connection.clone()).await.expect("an answer");
                std::hint::black_box(answer);
            });
        }
        "redis" => {
            let storage = RedisStorage::url(&format!("redis://{address}")).expect("an address");
            let limit = Gcra::new(Rate::per_second(1_000_000)).burst(1_000_000).expect("a limit");
            let limiter = AsyncLimiter::new(limit, storage.build().expect("a storage"));
            counted(&runtime, number, async |key| {
                assert!(limiter.check(&key).await.expect("a verdict").is_allowed())
            });
        }
        _ => {
            let storage = MemcachedStorage::servers(Tokio, [address]).build().expect("a storage");
            let limiter = AsyncLimiter::new(FixedWindow::new(Rate::per_day(200_000)), storage);
            counted(&runtime, number, async |key| {
                assert!(limiter.check(&key).await.expect("a verdict").is_allowed())
            });
        }
    }
    Ok(())
}

/// Reports what a check takes on Redis, and beside it a `SET` by the same client.
pub(crate) fn redis(report: &mut Report, address: &str) -> io::Result<()> {
    let [check, bare] = ["redis", "bare"].map(|word| COUNTED.each_more(&format!("{word}@{address}")));
    let (check, bare) = (check?, bare?);
    report.head("instructions of a call");
    report.line("SET by the bare client", bare, INSTRUCTIONS, None);
    report.line("a check of Gcra", check, INSTRUCTIONS, None);
    report.line("a check, as a multiple of SET", check / bare, "x", Some(AtMost(1.7)));
    Ok(())
}

/// Reports what a check takes on Memcached.
pub(crate) fn memcached(report: &mut Report, address: &str) -> io::Result<()> {
    report.head("instructions of a call");
    report.line(
        "a check of a fixed window",
        COUNTED.each_more(&format!("memcached@{address}"))?,
        INSTRUCTIONS,
        None,
    );
    Ok(())
}
