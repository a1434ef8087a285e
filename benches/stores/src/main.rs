//! Checks on Redis beside bare calls of the same script and of what others send, on a server of its own; and a hot key
//! that tasks of several processes ask for at once. Only the ratios travel from machine to machine.

use std::future::Future;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{Client, IntoConnectionInfo};
use tokio::runtime::Runtime;
use traffik_backends::{RedisStorage, SystemClock};
use traffik_core::storage::AsyncStorage;
use traffik_core::strategy::Bounds;
use traffik_core::{
    AsyncLimiter, Clock, FixedWindow, Gcra, HeapLog, LeakyBucket, LeakyBucketQueue, QuotaRollover, Rate,
    SlidingWindow, Strategy, Timestamp, TokenBucket, Verdict,
};

/// How long each contender runs in a round.
const ROUND: Duration = Duration::from_millis(400);
/// Rounds, of which the median counts.
const ROUNDS: usize = 9;
/// How long four processes ask for one key.
const STORM: Duration = Duration::from_secs(8);
/// Keys that are asked for in turn.
const KEYS: u64 = 1_000;

/// The script that a check runs.
const CHECK: &str = concat!(
    include_str!("../../../std-backends/src/redis/check/head.lua"),
    include_str!("../../../std-backends/src/redis/check/meter.lua"),
    include_str!("../../../std-backends/src/redis/check/one.lua")
);

/// A fixed window as it is most often written: count, and let the first one set the time.
const PLAIN_WINDOW: &str = "local count = redis.call('INCRBY', KEYS[1], ARGV[1])
if count == tonumber(ARGV[1]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return count";

/// GCRA as it is most often written: the theoretical arrival time in seconds, and the answer as several numbers.
const PLAIN_GCRA: &str = "local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local tat = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now)
local interval, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local new = tat + interval
local allow_at = new - interval * burst
if now < allow_at then return {1, burst, 0, tostring(allow_at - now), tostring(tat - now)} end
redis.call('SET', KEYS[1], new, 'EX', math.ceil(new - now))
return {0, burst, math.floor((now - allow_at) / interval), '-1', tostring(new - now)}";

/// A server on a free port, without data on disk; ended when dropped.
struct Server {
    process: Child,
    url: String,
}

impl Server {
    fn start() -> Self {
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a port")
            .port();
        let options =
            ["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"];
        let process =
            Command::new("redis-server").args(options).stdout(Stdio::null()).spawn().expect("redis-server");
        Self { process, url: format!("redis://127.0.0.1:{port}") }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Calls a second that so many tasks make together.
fn rate<F: Future<Output = ()> + Send>(
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

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

/// A bare call of a script.
async fn call(connection: &MultiplexedConnection, hash: &str, key: u64, arguments: &[&str]) {
    let mut command = redis::cmd("EVALSHA");
    command.arg(hash).arg(1).arg(format!("bare:{{{key}}}")).arg(arguments);
    let answer: redis::Value = command.query_async(&mut connection.clone()).await.expect("an answer");
    std::hint::black_box(answer);
}

fn side_by_side(runtime: &Runtime, server: &Server, tasks: u64) -> usize {
    let (connection, hashes) = runtime.block_on(async {
        let info = server.url.as_str().into_connection_info().expect("an address");
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let client = Client::open(info).expect("a client");
        let mut connection = loop {
            if let Ok(connection) = client.get_multiplexed_async_connection().await {
                break connection;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        };
        let mut hashes = Vec::new();
        for script in [CHECK, PLAIN_WINDOW, PLAIN_GCRA] {
            let load = redis::cmd("SCRIPT").arg("LOAD").arg(script).query_async(&mut connection).await;
            hashes.push(load.unwrap_or_else(|error| panic!("{error}")));
        }
        (connection, <[String; 3]>::try_from(hashes).expect("three"))
    });
    let storage = RedisStorage::url(&server.url).map(|it| it.namespace("ours")).expect("an address");
    let storage = storage.timeout(Duration::from_secs(5)).build().expect("a storage");
    let gcra = Gcra::new(Rate::per_second(1_000)).burst(1_000).expect("can be counted");
    let limiter = Arc::new(AsyncLimiter::new(gcra, storage));

    // What `Gcra` of this rate and burst is told as: 1 unit drains in a microsecond, a hit takes 1000.
    let bare_arguments = ["", "1000000", "1", "l", "", "1", "1", "1", "1000", "1000000"];
    let [check, window, plain] = hashes.map(Arc::<str>::from);
    let mut rates = [const { Vec::new() }; 4];
    for _ in 0..ROUNDS {
        let (ours, one, two, three) =
            (limiter.clone(), connection.clone(), connection.clone(), connection.clone());
        let (check, window, plain) = (check.clone(), window.clone(), plain.clone());
        rates[0].push(rate(runtime, tasks, move |key| {
            let limiter = ours.clone();
            async move {
                let _ = std::hint::black_box(limiter.check(&key).await.expect("an answer"));
            }
        }));
        rates[1].push(rate(runtime, tasks, move |key| {
            let (connection, hash) = (one.clone(), check.clone());
            async move { call(&connection, &hash, key, &bare_arguments).await }
        }));
        rates[2].push(rate(runtime, tasks, move |key| {
            let (connection, hash) = (two.clone(), window.clone());
            async move { call(&connection, &hash, key + KEYS, &["1", "1000"]).await }
        }));
        rates[3].push(rate(runtime, tasks, move |key| {
            let (connection, hash) = (three.clone(), plain.clone());
            async move { call(&connection, &hash, key + 2 * KEYS, &["0.001", "1000"]).await }
        }));
    }
    let [ours, bare, window, plain] = rates.map(median);
    println!("\n{tasks} tasks on one connection, calls a second");
    println!("  {:<52} {ours:>9.0}", "traffik, Gcra");
    println!("  {:<52} {bare:>9.0}", "the same script, bare");
    println!("  {:<52} {window:>9.0}", "a fixed window as others write it");
    println!("  {:<52} {plain:>9.0}", "GCRA as others write it");
    let (ratio, kept) = (ours / bare, ours / bare >= 0.9);
    println!(
        "  {:<52} {ratio:>9.2} bound 0.9: {}",
        "traffik, over the same script bare",
        if kept { "pass" } else { "FAIL" }
    );
    usize::from(!kept)
}

/// Asks for one key from 64 tasks until the time is over: how many were admitted, how many asked, and the times taken.
fn storm<S: Strategy<Cost = u32>>(runtime: &Runtime, url: &str, limit: S) -> String
where
    RedisStorage: AsyncStorage<S>,
{
    let storage = RedisStorage::url(url).map(|it| it.namespace("storm").timeout(Duration::from_secs(5)));
    let limiter =
        Arc::new(AsyncLimiter::new(limit, storage.expect("an address").build().expect("a storage")));
    runtime.block_on(async {
        let began = Instant::now();
        let tasks: Vec<_> = (0..64)
            .map(|_| {
                let limiter = limiter.clone();
                tokio::spawn(async move {
                    let (mut admitted, mut times) = (0u64, Vec::new());
                    while began.elapsed() < STORM {
                        let asked = Instant::now();
                        let verdict = limiter.check("hot").await.expect("an answer");
                        admitted += u64::from(verdict.outcome().is_allowed());
                        times.push(asked.elapsed());
                    }
                    (admitted, times)
                })
            })
            .collect();
        let (mut admitted, mut times) = (0, Vec::new());
        for task in tasks {
            let (more, took) = task.await.expect("a task that does not panic");
            admitted += more;
            times.extend(took);
        }
        times.sort_unstable();
        let p99 = times[times.len() * 99 / 100].as_micros();
        format!("{admitted} {} {p99}", times.len())
    })
}

/// The limits that are stormed.
const STORMED: [&str; 9] = [
    "fixed-window",
    "sliding-window",
    "sliding-window:strict",
    "sliding-log",
    "token-bucket",
    "leaky-bucket",
    "leaky-bucket-queue",
    "gcra",
    "quota-rollover",
];

/// What is done with one of them.
trait Act {
    type Outcome;
    fn on<S: Strategy<Cost = u32> + Bounds>(self, limit: S) -> Self::Outcome;
}

fn with<A: Act>(strategy: &str, act: A) -> A::Outcome {
    let rate: Rate = "1000/10s".parse().expect("a rate");
    match strategy {
        "fixed-window" => act.on(FixedWindow::new(rate)),
        "sliding-window" => act.on(SlidingWindow::new(rate)),
        "sliding-window:strict" => act.on(SlidingWindow::strict::<10>(rate)),
        "sliding-log" => act.on(HeapLog::new(rate).expect("room for it")),
        "token-bucket" => act.on(TokenBucket::new(rate)),
        "leaky-bucket" => act.on(LeakyBucket::new(rate)),
        "leaky-bucket-queue" => act.on(LeakyBucketQueue::new(rate)),
        "gcra" => act.on(Gcra::new(rate).burst(1_000).expect("can be counted")),
        _ => act.on(QuotaRollover::new(rate)),
    }
}

/// Asks as one of the four processes.
struct Storm<'a>(&'a Runtime, &'a str);

impl Act for Storm<'_> {
    type Outcome = String;

    fn on<S: Strategy<Cost = u32> + Bounds>(self, limit: S) -> String {
        storm(self.0, self.1, limit)
    }
}

/// What a limit admits at least and at most: in the time that each process asks for, and in all the time it took.
struct Bound(Timestamp, Timestamp);

impl Act for Bound {
    type Outcome = (u64, u64);

    fn on<S: Strategy<Cost = u32> + Bounds>(self, limit: S) -> (u64, u64) {
        let Self(first, last) = self;
        let least = limit.least(first, first + STORM, 1);
        (least as u64, limit.most(first, last) as u64)
    }
}

/// Four processes with 64 tasks each on one key.
fn storms(server: &Server) -> usize {
    println!("\n4 processes of 64 tasks on one key, 1000 per 10 s, for 8 s");
    let mut failed = 0;
    for strategy in STORMED {
        let client = Client::open(server.url.as_str()).expect("a client");
        let _: () =
            redis::cmd("FLUSHALL").query(&mut client.get_connection().expect("a connection")).expect("done");
        let program = std::env::current_exe().expect("this program");
        let began = SystemClock.now();
        let processes: Vec<_> = (0..4)
            .map(|_| {
                Command::new(&program).args(["storm", &server.url, strategy]).stdout(Stdio::piped()).spawn()
            })
            .collect();
        let (mut admitted, mut asked, mut p99) = (0, 0, 0);
        for process in processes {
            let output = process.and_then(Child::wait_with_output).expect("a process");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let numbers: Vec<u64> =
                text.split_whitespace().filter_map(|number| number.parse().ok()).collect();
            let [more, calls, slow] = numbers[..] else { panic!("no numbers from a process: {text}") };
            (admitted, asked, p99) = (admitted + more, asked + calls, p99.max(slow));
        }
        let (least, most) = with(strategy, Bound(began, SystemClock.now()));
        let kept = (least..=most).contains(&admitted) && asked / 8 >= 15_000 && p99 <= 50_000;
        failed += usize::from(!kept);
        println!(
            "  {strategy:<22} admitted {admitted:>4} ({least} to {most}), {:>6} checks/s (15000), p99 {:>5.1} ms (50): {}",
            asked / 8,
            p99 as f64 / 1_000.0,
            if kept { "pass" } else { "FAIL" }
        );
    }
    failed
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime");
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [storm, url, strategy] = &arguments[..]
        && storm == "storm"
    {
        return println!("{}", with(strategy, Storm(&runtime, url)));
    }
    let server = Server::start();
    let failed = side_by_side(&runtime, &server, 1) + side_by_side(&runtime, &server, 64) + storms(&server);
    println!(
        "\n{}",
        if failed == 0 { "all as promised".to_owned() } else { format!("{failed} not as promised") }
    );
    drop(server);
    std::process::exit(i32::from(failed > 0));
}
