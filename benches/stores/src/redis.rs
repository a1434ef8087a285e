//! Checks on Redis beside bare calls of the same script and of what others send.

use std::sync::Arc;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::io::tcp::TcpSettings;
use redis::{Client, IntoConnectionInfo};
use tokio::runtime::Runtime;
use traffik_backends::RedisStorage;
use traffik_bench_support::Report;
use traffik_core::{AsyncLimiter, Gcra, Rate};

use crate::load::{self, KEYS, calls};

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

/// The arguments of [`CHECK`] for `Gcra` at 1000 a second, as many at once: 1 unit drains in a microsecond, a
/// hit takes 1000.
const BARE: &[&str] = &["", "1000000", "1", "l", "", "1", "1", "1", "1000", "1000000"];

/// A bare call of a script.
async fn call(connection: &MultiplexedConnection, hash: &str, key: u64, arguments: &[&str]) {
    let mut command = redis::cmd("EVALSHA");
    command.arg(hash).arg(1).arg(format!("bare:{{{key}}}")).arg(arguments);
    let answer: redis::Value = command.query_async(&mut connection.clone()).await.expect("an answer");
    std::hint::black_box(answer);
}

pub(crate) fn side_by_side(report: &mut Report, runtime: &Runtime, url: &str, tasks: u64) {
    let (connection, hashes) = runtime.block_on(async {
        let info = url.into_connection_info().expect("an address");
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let client = Client::open(info).expect("a client");
        let mut connection = client.get_multiplexed_async_connection().await.expect("a connection");
        let mut hashes = Vec::new();
        for script in [CHECK, PLAIN_WINDOW, PLAIN_GCRA] {
            let load = redis::cmd("SCRIPT").arg("LOAD").arg(script).query_async(&mut connection).await;
            hashes.push(load.expect("a script that the server takes"));
        }
        (connection, <[String; 3]>::try_from(hashes).expect("three"))
    });
    let storage = RedisStorage::url(url).map(|it| it.namespace("ours")).expect("an address");
    let storage = storage.timeout(Duration::from_secs(5)).build().expect("a storage");
    let gcra = Gcra::new(Rate::per_second(1_000)).burst(1_000).expect("can be counted");
    let limiter = Arc::new(AsyncLimiter::new(gcra, storage));

    let [check, window, plain] = hashes.map(Arc::<str>::from);
    let bare = |name, hash: Arc<str>, offset, arguments: &'static [&'static str]| {
        let connection = connection.clone();
        calls(runtime, tasks, name, move |key| {
            let (connection, hash) = (connection.clone(), hash.clone());
            async move { call(&connection, &hash, key + offset, arguments).await }
        })
    };
    let contenders = [
        calls(runtime, tasks, "Gcra", move |key| {
            let limiter = limiter.clone();
            async move {
                let _ = std::hint::black_box(limiter.check(&key).await.expect("an answer"));
            }
        }),
        bare("the same script, bare", check, 0, BARE),
        bare("a fixed window as others write it", window, KEYS, &["1", "1000"]),
        bare("GCRA as others write it", plain, 2 * KEYS, &["0.001", "1000"]),
    ];
    load::side_by_side(report, &format!("{tasks} tasks on one connection"), contenders);
}
