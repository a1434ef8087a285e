//! Messages a second over real sockets, with a limit on each connection and without, in pairs that take turns: only the
//! ratios travel.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::task::LocalSet;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::{WebSocketStream, accept_async_with_config, client_async};
use traffik_bench_support::Bound::AtLeast;
use traffik_bench_support::{Pair, Report, Work, best, pairs};
use traffik_bench_websocket::wire::limiting;

/// How long each contender runs in a round.
const ROUND: Duration = Duration::from_millis(400);
/// Rounds; in each both of a pair run.
const ROUNDS: usize = 11;
/// How often a pair is measured at most.
const TIMES: usize = 3;

/// Measures the throughput of limited sockets beside that of others.
pub(crate) fn run(report: &mut Report) {
    let plain = serve(|| |socket| socket);
    let limited = serve(limiting);
    report
        .head(format_args!("messages echoed a second, with a limit in memory over without; {ROUNDS} rounds"));
    for connections in [1, 100] {
        let bound = Some(AtLeast(0.9));
        let measure = || pairs(ROUNDS, || [load(limited, connections)], || [load(plain, connections)]);
        let [pair] = best(TIMES, bound, |[pair]: &[Pair; 1]| pair.ratio, measure);
        report.pair(format_args!("{connections} connections"), &pair, "messages/s", bound);
    }
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
    let (begun, beginning) = channel();
    let client = thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        LocalSet::new().block_on(&runtime, async move {
            let mut sockets = Vec::new();
            for _ in 0..connections {
                let stream = TcpStream::connect(address).await.expect("a connection");
                stream.set_nodelay(true).expect("a socket");
                let (socket, _) = client_async("ws://localhost/", stream).await.expect("a handshake");
                sockets.push(socket);
            }
            let messages = Arc::new(Work::begin());
            begun.send(Arc::clone(&messages)).expect("a thread that waits for it");
            let tasks: Vec<_> = sockets
                .into_iter()
                .map(|mut socket| {
                    let messages = Arc::clone(&messages);
                    tokio::task::spawn_local(async move {
                        while messages.goes_on() {
                            socket.send(Message::binary(&b"sixteen bytes..."[..])).await.expect("a socket");
                            assert!(socket.next().await.is_some_and(|answer| answer.is_ok()));
                            messages.count();
                        }
                    })
                })
                .collect();
            for task in tasks {
                task.await.expect("a client that does not panic");
            }
        });
    });
    let messages = beginning.recv().expect("a client that does not panic");
    thread::sleep(ROUND);
    messages.stop();
    let rate = messages.rate();
    client.join().expect("a client that does not panic");
    rate
}
