//! Workers that share the limit of an API. They make each call in a turn of a queue on Redis.
//!
//! Start several of them, each with jobs of its own: `cargo run -p traffik-examples --features redis,reqwest
//! --bin shared_worker redis://127.0.0.1 http://127.0.0.1:3000 20` calls `/0` to `/19`. A worker waits while
//! Redis is down. Ctrl-C ends it after the turns that it has taken, within two seconds if the API answers.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{StatusCode, header::RETRY_AFTER};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use traffik::reexport::redis::{Client, ErrorKind, InfoDict, RedisError, aio::MultiplexedConnection, cmd};
use traffik::{AsyncLimiter, LeakyBucket, LeakyBucketQueue, Outcome, Rate, RedisStorage, Timestamp, rate};

/// The key of the pauses after a 429.
const PAUSE: &str = "api: pause";
/// The API allows 10 calls in any second. At 9/s eleven calls take 1.11 s, which leaves 111 ms for delays.
const RATE: Rate = rate!("9/s");
/// Turns that a worker takes in one round trip.
const BATCH: u32 = 5;
/// Three workers hold at most 16 turns: 10 of the others, the one that begins, and 5 new ones.
const QUEUE: u32 = 15;
/// A turn that is missed by more is not used. The rest of the 111 ms is for the way to the API.
const LATEST: Duration = Duration::from_millis(60);
/// Turns that Redis forgot in a restart are over after 16 / 9 = 1.8 s. It rounds its uptime by up to 1 s.
const SETTLED: u64 = 3;
/// The wait after a failure of Redis.
const RETRY: Duration = Duration::from_millis(250);

struct Worker {
    api: String,
    http: reqwest::Client,
    turns: AsyncLimiter<LeakyBucketQueue, RedisStorage>,
    /// Drains by 1 a second: it denies for as many seconds as were charged.
    pauses: AsyncLimiter<LeakyBucket, RedisStorage>,
}

/// Turns in a row. The first one is `due` by the clock of Redis, between `earliest` and `latest` by this one.
struct Turns {
    due: Timestamp,
    earliest: Instant,
    latest: Instant,
}

/// Connects to Redis, unless it has just started: turns that it gave before may not be over.
async fn connect(client: Client) -> Result<MultiplexedConnection, RedisError> {
    let mut connection = client.get_multiplexed_async_connection().await?;
    let info: InfoDict = cmd("INFO").arg("server").query_async(&mut connection).await?;
    match info.get::<u64>("uptime_in_seconds") {
        Some(SETTLED..) => Ok(connection),
        _ => Err((ErrorKind::Client, "Redis has just started").into()),
    }
}

impl Worker {
    /// Works until all jobs are done, or until `stop`. Returns the jobs that are left.
    async fn run(self: Arc<Self>, mut jobs: Vec<u32>, mut stop: watch::Receiver<bool>) -> Vec<u32> {
        let gap = RATE.period() / RATE.limit();
        let mut calls = JoinSet::new();
        while !*stop.borrow() {
            if jobs.is_empty() {
                let Some(done) = calls.join_next().await else { break };
                jobs.extend(done.ok().flatten());
                continue;
            }
            let count = BATCH.min(jobs.len() as u32);
            let mut wait = Duration::ZERO;
            match self.take_turns(count).await {
                Ok(turns) => {
                    for turn in 0..count {
                        sleep_until(turns.latest + gap * turn).await;
                        wait = self.pause_left().await;
                        if !wait.is_zero() {
                            break; // the other turns of this batch lapse
                        }
                        let is_late = turns.earliest.elapsed() > gap * turn + LATEST;
                        if !is_late && let Some(job) = jobs.pop() {
                            calls.spawn(Arc::clone(&self).call(job, turns.due + gap * turn));
                        }
                    }
                }
                Err(denied) => wait = denied,
            }
            tokio::select! { () = sleep(wait) => {}, _ = stop.wait_for(|stop| *stop) => {} }
            while let Some(done) = calls.try_join_next() {
                jobs.extend(done.ok().flatten());
            }
        }
        jobs.extend(calls.join_all().await.into_iter().flatten());
        jobs
    }

    /// Takes so many turns in a row. Returns how long to wait if there are none.
    ///
    /// Await it outside of `select!`: a future that is dropped half way may lose the turns.
    async fn take_turns(&self, count: u32) -> Result<Turns, Duration> {
        let asked = Instant::now();
        let decision = self.turns.check_n("api", count).await.map_err(|_| RETRY)?;
        let Outcome::Allow { after } = decision.outcome() else {
            return Err(decision.retry_after().unwrap_or(RETRY));
        };
        let due = decision.receipt().at() + after;
        Ok(Turns { due, earliest: asked + after, latest: Instant::now() + after })
    }

    /// Returns how long the pause after a 429 lasts, whichever worker received that.
    async fn pause_left(&self) -> Duration {
        let decision = self.pauses.peek(PAUSE, 1).await;
        decision.map_or(RETRY, |decision| decision.retry_after().unwrap_or_default())
    }

    /// Makes the call of a job. Returns the job if the call has to be made again.
    async fn call(self: Arc<Self>, job: u32, due: Timestamp) -> Option<u32> {
        let call = self.http.get(format!("{}/{job}", self.api)).header("x-turn", due.as_micros());
        let answer = call.send().await.inspect_err(|error| eprintln!("{error}"));
        let Ok(answer) = answer else { return Some(job) };
        if answer.status() == StatusCode::TOO_MANY_REQUESTS {
            let header = answer.headers().get(RETRY_AFTER);
            let seconds: u32 = header.and_then(|it| it.to_str().ok()?.parse().ok()).unwrap_or(1);
            // A worker that got a 429 at the same time may have begun the pause.
            if let Some(first) = self.pauses.check(PAUSE).await.ok().filter(|it| it.is_allowed()) {
                let _ = self.pauses.charge(PAUSE, seconds.saturating_sub(1)).await;
                println!("pause of {seconds} s from {}", first.receipt().at().as_micros());
            }
            return Some(job);
        }
        answer.status().is_server_error().then_some(job)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [redis, api, jobs] = arguments.try_into().map_err(|_| "usage: shared_worker REDIS API JOBS")?;
    let client = Client::open(redis)?;
    let storage = RedisStorage::factory(move || connect(client.clone())).namespace("worker").build()?;
    let worker = Arc::new(Worker {
        api,
        http: reqwest::Client::builder().timeout(Duration::from_secs(5)).build()?,
        turns: AsyncLimiter::new(LeakyBucketQueue::new(RATE).queue(QUEUE)?, storage.clone()),
        pauses: AsyncLimiter::new(LeakyBucket::new(rate!("1/s")), storage),
    });
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move { tokio::signal::ctrl_c().await.map(|()| stop.send_replace(true)) });
    let left = worker.run((0..jobs.parse()?).collect(), stopped).await;
    println!("{} jobs left", left.len());
    Ok(())
}
