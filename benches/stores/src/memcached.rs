//! Checks on Memcached beside a bare `ma`, over as many connections of the same kind.

use std::sync::Arc;
use std::time::Duration;

use futures_util::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::runtime::Runtime;
use tokio::sync::{Mutex, Semaphore};
use traffik_backends::MemcachedStorage;
use traffik_bench_support::Report;
use traffik_core::{AsyncLimiter, FixedWindow, Gcra, Rate};
use traffik_runtimes::{Connect, Runtime as _, Tokio};

use crate::load::{self, KEYS, calls};

const CONNECTIONS: usize = 16;

const DEADLINE: Duration = Duration::from_secs(5);

/// The same connections, each for one call at a time with a deadline, and no more to it.
struct Bare {
    free: Semaphore,
    connections: Mutex<Vec<BufReader<<Tokio as Connect>::Stream>>>,
}

impl Bare {
    async fn new(address: &str) -> Self {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            connections.push(BufReader::new(Tokio.connect(address).await.expect("a connection")));
        }
        Self { free: Semaphore::new(CONNECTIONS), connections: Mutex::new(connections) }
    }

    /// Counts one on an item, and reads both lines of the answer.
    async fn count(&self, key: u64) -> u64 {
        let _permit = self.free.acquire().await.expect("is open");
        let mut connection = self.connections.lock().await.pop().expect("one for each permit");
        let command = format!("ma bare:{{user:{key}}} N60 J1000000 MD v c\r\n");
        let mut answer = String::new();
        let ask = async {
            connection.get_mut().write_all(command.as_bytes()).await.expect("is open");
            for _ in 0..2 {
                connection.read_line(&mut answer).await.expect("is open");
            }
        };
        Tokio.timeout(DEADLINE, ask).await.expect("an answer in time");
        self.connections.lock().await.push(connection);
        answer.lines().last().and_then(|line| line.trim_end().parse().ok()).expect("a number")
    }
}

pub(crate) fn side_by_side(report: &mut Report, runtime: &Runtime, address: &str, tasks: u64) {
    let storage = || {
        let storage = MemcachedStorage::servers(Tokio, [address]).max_connections(CONNECTIONS);
        storage.timeout(DEADLINE).build().expect("a storage")
    };
    let window = Arc::new(AsyncLimiter::new(FixedWindow::new(Rate::per_minute(100_000)), storage()));
    let gcra = Gcra::new(Rate::per_second(1_000)).burst(1_000).expect("can be counted");
    let gcra = Arc::new(AsyncLimiter::new(gcra, storage()));
    let bare = Arc::new(runtime.block_on(Bare::new(address)));
    let contenders = [
        calls(runtime, tasks, "FixedWindow", move |key| {
            let limiter = window.clone();
            async move {
                let _ = std::hint::black_box(limiter.check(&format!("user:{key}")).await.expect("an answer"));
            }
        }),
        calls(runtime, tasks, "`ma`, bare", move |key| {
            let bare = bare.clone();
            async move {
                let _ = std::hint::black_box(bare.count(key).await);
            }
        }),
        calls(runtime, tasks, "Gcra, by compare-and-swap", move |key| {
            let limiter = gcra.clone();
            async move {
                let key = format!("user:{}", key + KEYS);
                let _ = std::hint::black_box(limiter.check(&key).await.expect("an answer"));
            }
        }),
    ];
    load::side_by_side(report, &format!("{tasks} tasks on {CONNECTIONS} connections"), contenders);
}
