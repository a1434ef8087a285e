//! Messages a second over real sockets, with a limit on each connection and without, in pairs that take turns: only the
//! ratios travel.

use std::net::{SocketAddr, TcpListener};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, accept_async_with_config, client_async};

use traffik_bench_websocket::wire::limiting;

/// How long each contender runs in a round.
const ROUND: Duration = Duration::from_millis(400);
/// Rounds; in each both of a pair run, one right after the other, and the median of their ratios is what counts.
const ROUNDS: usize = 11;
/// How often a pair is measured at most: what else the machine does disturbs either of them, so the best time counts.
const TIMES: usize = 3;
/// With a limit, as a multiple of without.
const BOUND: f64 = 0.9;

pub(crate) fn run() -> ExitCode {
    let plain = serve(|| |socket| socket);
    let limited = serve(limiting);
    let mut failed = false;
    println!("messages echoed a second, with a limit in memory and without; {ROUNDS} rounds");
    for connections in [1, 100] {
        let mut best = (0.0, 0.0, 0.0);
        for _ in 0..TIMES {
            let rounds: Vec<_> =
                (0..ROUNDS).map(|_| (load(limited, connections), load(plain, connections))).collect();
            let ratio = median(rounds.iter().map(|(with, without)| with / without));
            if ratio > best.2 {
                best = (
                    median(rounds.iter().map(|round| round.0)),
                    median(rounds.iter().map(|round| round.1)),
                    ratio,
                );
            }
            if best.2 >= BOUND {
                break;
            }
        }
        let (with, without, ratio) = best;
        failed |= ratio < BOUND;
        let verdict = if ratio < BOUND { "FAIL" } else { "pass" };
        let name = format!("{connections} connections");
        println!("  {name:<40} {with:>7.0} {without:>7.0}   {ratio:.2} x, bound {BOUND}: {verdict}");
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn median(figures: impl Iterator<Item = f64>) -> f64 {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

type Socket = WebSocketStream<TcpStream>;

/// Echoes on a thread of its own as long as the process runs; each socket as `around` has it.
fn serve<F, A, W, E>(around: F) -> SocketAddr
where
    F: FnOnce() -> A + Send + 'static,
    A: Fn(Socket) -> W + 'static,
    W: Stream<Item = Result<Message, E>> + Sink<Message, Error = E> + Unpin + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let around = std::rc::Rc::new(around());
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        LocalSet::new().block_on(&runtime, async move {
            let listener = tokio::net::TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                let _ = stream.set_nodelay(true);
                let around = std::rc::Rc::clone(&around);
                tokio::task::spawn_local(async move {
                    let config = WebSocketConfig::default().read_buffer_size(4 << 10);
                    let Ok(socket) = accept_async_with_config(stream, Some(config)).await else { return };
                    let mut socket = around(socket);
                    while let Some(Ok(message)) = socket.next().await {
                        if (message.is_text() || message.is_binary()) && socket.send(message).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
    });
    address
}

/// Messages a second over so many connections, each of which sends the next message when the one before has come back.
fn load(address: SocketAddr, connections: usize) -> f64 {
    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let ready = Arc::new(std::sync::Barrier::new(2));
    let client = {
        let (stop, done, ready) = (Arc::clone(&stop), Arc::clone(&done), Arc::clone(&ready));
        thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
            LocalSet::new().block_on(&runtime, async move {
                let mut sockets = Vec::new();
                for _ in 0..connections {
                    let stream = TcpStream::connect(address).await.expect("a connection");
                    stream.set_nodelay(true).expect("a socket");
                    let (socket, _) = client_async("ws://localhost/", stream).await.expect("a handshake");
                    sockets.push(socket);
                }
                ready.wait();
                let tasks: Vec<_> = sockets
                    .into_iter()
                    .map(|mut socket| {
                        let (stop, done) = (Arc::clone(&stop), Arc::clone(&done));
                        tokio::task::spawn_local(async move {
                            while !stop.load(Ordering::Relaxed) {
                                socket
                                    .send(Message::binary(&b"sixteen bytes..."[..]))
                                    .await
                                    .expect("a socket");
                                assert!(socket.next().await.is_some_and(|answer| answer.is_ok()));
                                done.fetch_add(1, Ordering::Relaxed);
                            }
                        })
                    })
                    .collect();
                for task in tasks {
                    task.await.expect("a client that does not panic");
                }
            });
        })
    };
    ready.wait();
    let began = Instant::now();
    thread::sleep(ROUND);
    stop.store(true, Ordering::Relaxed);
    let done = done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    client.join().expect("a client that does not panic");
    done
}
