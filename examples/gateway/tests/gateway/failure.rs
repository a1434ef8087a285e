//! The gateway while its store is killed, paused or cut off under load. It answers in time, as `--on-error`
//! says, and limits exactly again soon after the store is back. Metrics, health and headers report the fault.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use tokio::task::{JoinHandle, spawn_blocking};

use super::heard::heard;
use super::own::body;
use super::{Gateway, client, get};
use traffik_test_support::servers::{Proxy, Redis};

/// The deadline of a call to the store, with room for a busy machine.
const DEADLINE: &str = "200ms";
/// Longest time of a response: a deadline, and slack for a busy machine.
const PATIENCE: Duration = Duration::from_secs(2);
/// Time from the return of the store to exact limits.
const RECOVERY: Duration = Duration::from_secs(1);
/// Hits that the limit admits. It refills so slowly that nothing comes back during the test.
const LIMIT: usize = 600;
/// Least number of calls that the breaker refuses before the store is back.
const AWAY: usize = 50;
/// Least number of calls that fail by then: those that open the breaker, and one trial call.
const TRIED: usize = 5;
/// Results of calls that the store may have charged.
const FAILED: &[&str] = &["failed_timeout", "failed_unavailable", "dropped"];
const CLIENTS: usize = 4;

/// A fault of the store.
#[derive(Clone, Copy, Debug)]
enum Fault {
    Killed,
    Paused,
    CutOff,
}

/// An answer of the gateway.
struct Answer {
    status: u16,
    /// The source of the decision, empty for the store.
    source: String,
    took: Duration,
    at: Instant,
}

impl Answer {
    fn is_from_store(&self) -> bool {
        self.source.is_empty() && matches!(self.status, 200 | 429)
    }
}

/// A gateway under load, in front of a store that can be taken away.
struct Scene {
    redis: Redis,
    proxy: Proxy,
    gateway: Gateway,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<Answer>>>,
}

impl Scene {
    fn start(on_error: &str) -> Self {
        let redis = Redis::options().persistent().start();
        let proxy = Proxy::to(redis.address());
        let (url, rate) = (proxy.url(), format!("{LIMIT}/52w"));
        let gateway = Gateway::start(&[
            "--storage",
            &url,
            "--timeout",
            DEADLINE,
            "--on-error",
            on_error,
            "--rate",
            &rate,
            "--strategy",
            "token-bucket",
        ]);
        let stop = Arc::new(AtomicBool::new(false));
        let clients =
            (0..CLIENTS).map(|_| tokio::spawn(load(gateway.url.clone(), Arc::clone(&stop)))).collect();
        Self { redis, proxy, gateway, stop, clients }
    }

    fn take_away(&mut self, fault: Fault) {
        match fault {
            Fault::Killed => self.redis.kill(),
            Fault::Paused => self.redis.pause(),
            Fault::CutOff => self.proxy.black_hole(true),
        }
    }

    fn bring_back(&mut self, fault: Fault) {
        match fault {
            Fault::Killed => self.redis.start_again(),
            Fault::Paused => self.redis.resume(),
            Fault::CutOff => self.proxy.black_hole(false),
        }
    }

    /// Stops the clients and returns all their answers.
    async fn end(&mut self) -> Vec<Answer> {
        self.stop.store(true, Ordering::Relaxed);
        let mut answers = Vec::new();
        for client in self.clients.drain(..) {
            answers.extend(client.await.unwrap());
        }
        answers
    }
}

/// Sends requests until `stop` is set, and returns all answers.
async fn load(url: String, stop: Arc<AtomicBool>) -> Vec<Answer> {
    let (client, mut answers) = (client(false), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let response = get(&client, &url, &[]).await;
        let source = response.headers().get("x-ratelimit-source");
        let source = source.map_or(String::new(), |source| source.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        drop(response.into_body().collect().await.unwrap());
        answers.push(Answer { status, source, took: began.elapsed(), at: Instant::now() });
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    answers
}

/// Returns the sum of the metrics whose name and labels begin with `line`.
pub(super) fn figure(metrics: &str, line: &str) -> usize {
    sum(metrics.lines().filter(|it| it.starts_with(line)))
}

/// Runs one policy through one fault. `expected` has the statuses and the source of answers while the store
/// is away.
async fn survives(fault: Fault, on_error: &str, expected: (&[u16], &str)) {
    let what = format!("{fault:?}, {on_error}");
    let mut scene = Scene::start(on_error);
    until_true(&what, async || figure(&body(&scene.gateway, "metrics").await, STORE) > 20).await;
    assert!(body(&scene.gateway, "health").await.starts_with("ready\n"), "{what}");

    scene.take_away(fault);
    until_true(&what, async || body(&scene.gateway, "health").await.contains(": circuit open")).await;
    let health = body(&scene.gateway, "health").await;
    assert_eq!(health.starts_with("not ready: "), expected.1 != "fallback", "{what}: {health}");
    // The breaker refuses calls, and more than one trial call fails.
    until_true(&what, async || {
        let metrics = body(&scene.gateway, "metrics").await;
        let failed = figure_of(&metrics, FAILED);
        figure(&metrics, "traffik_breaker_refused_total") > AWAY && failed > TRIED
    })
    .await;

    let mut scene = spawn_blocking(move || {
        scene.bring_back(fault);
        scene
    })
    .await
    .unwrap();
    let back = Instant::now();
    // The rest of the limit is admitted, then denied, until a while after recovery.
    let denied = r#"traffik_store_calls_total{store="#;
    until_true(&what, async || {
        let metrics = body(&scene.gateway, "metrics").await;
        let is_denied = |line: &str| line.starts_with(denied) && line.contains(r#"result="denied""#);
        back.elapsed() > RECOVERY * 3 / 2 && metrics.lines().any(is_denied)
    })
    .await;
    let answers = scene.end().await;

    // Every answer came in time and as `--on-error` says.
    assert!(
        answers.iter().all(|it| it.took < PATIENCE),
        "{what}: {:?}",
        answers.iter().map(|it| it.took).max()
    );
    for Answer { status, source, .. } in answers.iter().filter(|it| !it.is_from_store()) {
        assert!(expected.0.contains(status) && source == expected.1, "{what}: {status} from {source:?}");
    }
    let instead = answers.iter().filter(|it| !it.is_from_store()).count();
    assert!(instead > CLIENTS, "{what}: {instead} while the store was away");
    // Soon after the store was back, it decided again.
    let again = answers.iter().filter(|it| it.is_from_store() && it.at > back).map(|it| it.at).min().unwrap();
    assert!(again - back < RECOVERY, "{what}: after {:?}", again - back);
    // And it went on deciding: a breaker that opens again and again would refuse most later calls.
    let later = || answers.iter().filter(|it| it.at > back + RECOVERY);
    let (late, instead_late) = (later().count(), later().filter(|it| !it.is_from_store()).count());
    assert!(late > CLIENTS && instead_late * 10 <= late, "{what}: {instead_late} of {late}");
    // The limit held exactly, except for calls with an unknown outcome.
    let metrics = body(&scene.gateway, "metrics").await;
    let unknown = figure_of(&metrics, FAILED);
    let admitted = answers.iter().filter(|it| it.is_from_store() && it.status == 200).count();
    assert!(
        (LIMIT - unknown.min(LIMIT)..=LIMIT).contains(&admitted),
        "{what}: {admitted}, {unknown} unknown"
    );
    // The metrics count each answer by its source.
    let decided_by = |source: &str| {
        figure(&metrics, &format!("traffik_decisions_total{{throttle=\"gateway\",source=\"{source}\"}}"))
    };
    assert_eq!(decided_by(expected.1), instead, "{what}");
    assert_eq!(decided_by("store"), answers.len() - instead, "{what}");
    assert_eq!(figure(&metrics, "traffik_breaker_open"), 0, "{what}");
    assert!(body(&scene.gateway, "health").await.contains(": circuit closed, "), "{what}");
}

const STORE: &str = r#"traffik_decisions_total{throttle="gateway",source="store"}"#;

/// Returns the number of store calls with one of these results.
pub(super) fn figure_of(metrics: &str, results: &[&str]) -> usize {
    let lines = metrics.lines().filter(|line| line.starts_with("traffik_store_calls_total{"));
    let counted = |line: &&str| results.iter().any(|result| line.contains(&format!("result=\"{result}\"")));
    sum(lines.filter(counted))
}

/// Returns the sum of the figures at the ends of lines.
fn sum<'a>(lines: impl Iterator<Item = &'a str>) -> usize {
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum()
}

pub(super) async fn until_true(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < Duration::from_secs(20), "{what}: never");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn all_policies(fault: Fault) {
    survives(fault, "throttle", (&[503], "degraded-closed")).await;
    survives(fault, "allow", (&[200], "degraded-open")).await;
    survives(fault, "fallback", (&[200, 429], "fallback")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_killed_under_load() {
    all_policies(Fault::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_paused_under_load() {
    all_policies(Fault::Paused).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_cut_off_under_load() {
    all_policies(Fault::CutOff).await;
}

/// The fallback holds the limit, or the share of one of several gateways.
#[tokio::test]
async fn a_fallback_holds_the_limit_or_its_share() {
    for (strategy, on_error, limit) in [
        ("token-bucket", "fallback", 12),
        ("token-bucket", "fallback:instances=4", 3),
        ("token-bucket:burst=12", "fallback:instances=4", 3),
        ("gcra:burst=12", "fallback:instances=4", 3),
        ("leaky-bucket:capacity=12", "fallback:instances=4", 3),
        ("cost-based:burst=12", "fallback:instances=4", 3),
    ] {
        let mut redis = Redis::start();
        let options = ["--timeout", DEADLINE, "--rate", "12/52w", "--strategy", strategy];
        let gateway =
            Gateway::start(&[&["--storage", &redis.url(), "--on-error", on_error], &options[..]].concat());
        redis.kill();
        let client = client(false);
        let mut admitted = 0;
        for _ in 0..20 {
            admitted += usize::from(get(&client, &gateway.url, &[]).await.status() == 200);
        }
        assert_eq!(admitted, limit, "{strategy} {on_error}");
        assert!(body(&gateway, "health").await.starts_with("ready\n"));
    }
}

/// The log warns of a store that evicts keys in one line, and the metrics count the evictions.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_evicts_is_warned_of_and_counted() {
    let options = Redis::options().config(&["maxmemory", "2mb"]);
    let redis = options.config(&["maxmemory-policy", "allkeys-lru"]).start();
    let (gateway, log) = heard(&["--storage", &redis.url()]);
    let (client, url) = (client(false), gateway.url.clone());
    assert_eq!(get(&client, &url, &[]).await.status(), 200);
    let (value, mut keys) = ("x".repeat(300_000), 0);
    until_true("evictions are counted", async || {
        keys += 1;
        redis.command(&["SET", &format!("filling {keys}"), &value, "PX", "600000"]);
        let _ = get(&client, &url, &[]).await;
        figure(&body(&gateway, "metrics").await, "traffik_store_evictions_total{") > 0
    })
    .await;
    let said = log.rest(gateway);
    let warning = format!(" WARN Redis at {} evicts keys", redis.address());
    assert_eq!(said.matches(&warning).count(), 1, "{said}");
    assert!(said.contains("set maxmemory-policy to noeviction"), "{said}");
}

/// The log warns of values that another program wrote in one line, and the metrics count them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_with_values_of_others_is_warned_of_and_counted() {
    const CORRUPT: &str = "traffik_store_errors_total{kind=\"corrupt\"}";
    let redis = Redis::start();
    let (gateway, log) = heard(&["--storage", &redis.url()]);
    let (client, url) = (client(false), gateway.url.clone());
    assert_eq!(get(&client, &url, &[]).await.status(), 200);
    assert_eq!(figure(&body(&gateway, "metrics").await, CORRUPT), 0);
    let keys = redis.command(&["KEYS", "*"]);
    for count in 1..3 {
        redis.command(&["SET", keys.array()[0].text().as_str(), "no state at all"]);
        assert_eq!(get(&client, &url, &[]).await.status(), 200);
        for _ in 0..2 {
            assert_eq!(figure(&body(&gateway, "metrics").await, CORRUPT), count);
        }
    }
    let said = log.rest(gateway);
    assert_eq!(said.matches("is no state of the limit that read it").count(), 1, "{said}");
    assert!(said.contains(" WARN a value in the namespace traffik on Redis"), "{said}");
}

/// `throttle:wait=` sets the Retry-After while no storage can decide.
#[tokio::test]
async fn the_wait_of_a_throttled_client_can_be_chosen() {
    let gateway = Gateway::start(&["--storage", "redis://127.0.0.1:1", "--on-error", "throttle:wait=7s"]);
    let response = get(&client(false), &gateway.url, &[]).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (503, &"7".parse().unwrap())
    );
}

/// On SIGTERM, requests under way are answered by the store before its connections are closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_under_way_are_finished_before_it_ends() {
    let redis = Redis::start();
    let proxy = Proxy::to(redis.address());
    let mut gateway = Gateway::start(&["--storage", &proxy.url(), "--timeout", "10s", "--rate", "100/52w"]);
    let client = client(false);
    assert_eq!(get(&client, &gateway.url, &[]).await.status(), 200);
    let before = checks(&redis);
    proxy.delay(Duration::from_millis(400));
    let asking: Vec<_> = (0..5)
        .map(|_| {
            let url = gateway.url.clone();
            tokio::spawn(async move { get(&super::client(false), &url, &[]).await.status().as_u16() })
        })
        .collect();
    // SIGTERM comes when the server has done the checks and its answers are on their way.
    until_true("all are checked", async || checks(&redis) == before + 5).await;
    gateway.signal("TERM");
    for asked in asking {
        assert_eq!(asked.await.unwrap(), 200);
    }
    assert_eq!(gateway.process.wait().unwrap().code(), Some(0));
}

/// Returns the number of checks that the server has done.
fn checks(redis: &Redis) -> usize {
    let stats = redis.command(&["INFO", "commandstats"]);
    let calls = |line: &str| line.split_once("calls=")?.1.split(',').next()?.parse::<usize>().ok();
    stats.text().lines().filter(|line| line.starts_with("cmdstat_eval")).filter_map(calls).sum()
}
