//! Three processes of the example `shared_worker`, on a real Redis, against an API that answers 429 once.

use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use traffik_test_support::servers::{Redis, until};

const WORKERS: usize = 3;
const JOBS: usize = 8;
/// The call that is answered 429, with `Retry-After: 2`.
const REFUSED: usize = 6;
/// The most by which the clocks of a machine drift apart during the test.
const DRIFT: u64 = 5_000; // µs

/// A call as the API receives it, in µs by the clock of the system, which is also that of Redis.
struct Call {
    path: String,
    turn: u64,
    arrived: u64,
    is_refused: bool,
}

/// An API that notes its calls.
#[derive(Default)]
struct Api {
    calls: Mutex<Vec<Call>>,
}

impl Api {
    /// Starts the API. Returns its address too.
    fn start() -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let api = Arc::new(Self::default());
        let served = Arc::clone(&api);
        thread::spawn(move || {
            for stream in listener.incoming() {
                let api = Arc::clone(&served);
                thread::spawn(move || api.answer(stream.unwrap()));
            }
        });
        (api, url)
    }

    fn answer(&self, mut stream: TcpStream) {
        let arrived = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
        let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
        let head: Vec<_> = lines.take_while(|line| !line.is_empty()).collect();
        let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)) else { return };
        let turn = head.iter().find_map(|line| line.strip_prefix("x-turn: ")?.parse().ok()).unwrap();
        let is_refused = {
            let mut calls = self.calls.lock().unwrap();
            let is_refused = calls.len() == REFUSED;
            calls.push(Call { path: path.to_owned(), turn, arrived, is_refused });
            is_refused
        };
        let status = if is_refused { "429 Too Many Requests\r\nretry-after: 2" } else { "200 OK" };
        let reply = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(reply.as_bytes()).unwrap();
    }
}

/// A worker, which ends with its value. Each calls paths of its own.
struct Worker(Child);

impl Worker {
    fn start(redis: &Redis, api: &str, number: usize, jobs: usize) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_shared_worker"));
        command.args([redis.url(), format!("{api}/{number}"), jobs.to_string()]);
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    /// Waits for the end. Returns the printed lines.
    fn end(mut self) -> Vec<String> {
        let lines = BufReader::new(self.0.stdout.take().unwrap()).lines().map(Result::unwrap).collect();
        assert!(self.0.wait().unwrap().success(), "{lines:?}");
        lines
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn workers_share_one_limit_and_one_pause() {
    let (redis, (api, url)) = (Redis::start(), Api::start());
    let workers = [0, 1, 2].map(|number| Worker::start(&redis, &url, number, JOBS));
    let printed: Vec<_> = workers.into_iter().flat_map(Worker::end).collect();
    assert_eq!(printed.iter().filter(|line| *line == "0 jobs left").count(), WORKERS, "{printed:?}");

    let calls = api.calls.lock().unwrap();
    let done: HashSet<_> = calls.iter().filter(|call| !call.is_refused).map(|call| &call.path).collect();
    assert_eq!((done.len(), calls.len()), (WORKERS * JOBS, WORKERS * JOBS + 1));
    assert!(calls.iter().all(|call| call.arrived + DRIFT >= call.turn), "a call came before its turn");

    // Each call has a turn of its own, a ninth of a second after the one before. So 11 take more than 1 s.
    let mut turns: Vec<_> = calls.iter().map(|call| call.turn).collect();
    turns.sort_unstable();
    // The turns of a batch are rounded to 1 µs each.
    assert!(turns.windows(2).all(|pair| pair[1] - pair[0] >= 111_109), "{turns:?}");
    assert!(turns.windows(11).all(|eleven| eleven[10] - eleven[0] > 1_000_000), "{turns:?}");

    // One worker begins the pause, at a time by the clock of Redis. No turn in it is used, by any worker.
    let began: Vec<u64> =
        printed.iter().filter_map(|line| line.strip_prefix("pause of 2 s from ")?.parse().ok()).collect();
    assert_eq!(began.len(), 1, "{printed:?}");
    let pause = began[0] + DRIFT..began[0] + 2_000_000 - DRIFT;
    assert!(!turns.iter().any(|turn| pause.contains(turn)), "{pause:?}: {turns:?}");
}

/// A worker that is stopped makes the calls that it has turns for. A worker waits for a server that is down.
#[test]
fn a_worker_waits_for_redis_and_ends_on_ctrl_c() {
    let (mut redis, (api, url)) = (Redis::start(), Api::start());
    redis.stop();
    let worker = Worker::start(&redis, &url, 0, 1_000);
    redis.start_again();
    until(Duration::from_secs(20), "the first calls", || api.calls.lock().unwrap().len() >= 2);
    let process = worker.0.id().to_string();
    assert!(Command::new("kill").args(["-INT", &process]).status().unwrap().success());
    let printed = worker.end();
    let done = api.calls.lock().unwrap().iter().filter(|call| !call.is_refused).count();
    assert!(printed.contains(&format!("{} jobs left", 1_000 - done)), "{done} done: {printed:?}");
}
