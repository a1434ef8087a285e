//! The duties of every runtime, as functions over any of them: a checklist that each is held to.
//!
//! Time is real here, so nothing says how late something is, only that it is not early.

use std::future::{pending, ready};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use futures_util::future::{Either, poll_immediate, select, try_join};
use futures_util::{AsyncReadExt, AsyncWriteExt};
use smol::channel::bounded;
use traffik::runtime::{Connect, Elapsed, Runtime};

const MOMENT: Duration = Duration::from_millis(20);

/// Long enough for a busy machine.
const SOON: Duration = Duration::from_secs(20);

pub(crate) async fn a_sleep_is_never_early(runtime: impl Runtime) {
    for wait in [Duration::ZERO, Duration::from_nanos(1), Duration::from_micros(900), MOMENT] {
        let called = runtime.now();
        runtime.sleep(wait).await;
        assert!(runtime.now() - called >= wait, "{wait:?}");
    }
    let (called, sleeps) = (runtime.now(), [3, 1, 2].map(|times| (times, runtime.sleep(MOMENT * times))));
    for (times, sleep) in sleeps {
        sleep.await;
        assert!(runtime.now() - called >= MOMENT * times);
    }
    assert!(poll_immediate(runtime.sleep(Duration::MAX)).await.is_none());
}

/// Else what else was done meanwhile would add to it.
pub(crate) async fn a_sleep_counts_from_the_call(runtime: impl Runtime) {
    let (long, mut short) = (pin!(runtime.sleep(MOMENT * 2)), pin!(runtime.sleep(MOMENT * 2)));
    short.as_mut().await;
    short.set(runtime.sleep(MOMENT));
    assert!(matches!(select(long, short).await, Either::Left(_)));
}

pub(crate) async fn a_timeout_ends_and_drops_what_does_not_end(runtime: impl Runtime) {
    let held = Arc::new(());
    let (endless, called) = (Arc::clone(&held), runtime.now());
    let never = async move { (pending::<()>().await, endless) };
    assert_eq!(runtime.timeout(MOMENT, never).await.unwrap_err(), Elapsed(MOMENT));
    assert!(runtime.now() - called >= MOMENT);
    assert_eq!(Arc::strong_count(&held), 1);
    // An output that is there in time is never thrown away, however short the time.
    assert_eq!(runtime.timeout(Duration::ZERO, ready(7)).await, Ok(7));
    assert_eq!(runtime.timeout(Duration::MAX, runtime.sleep(MOMENT)).await, Ok(()));
}

pub(crate) async fn what_is_spawned_runs_unattended(runtime: impl Runtime) {
    let (done, told) = bounded(1);
    let inner = runtime.clone();
    runtime.spawn(async move {
        inner.sleep(MOMENT).await;
        inner.clone().spawn(async move {
            inner.sleep(MOMENT).await;
            let _ = done.try_send(7);
        });
    });
    assert_eq!(runtime.timeout(SOON, told.recv()).await, Ok(Ok(7)));
}

pub(crate) async fn an_interval_ticks_no_faster_than_its_period(runtime: impl Runtime) {
    let made = runtime.now();
    let mut interval = runtime.interval(MOMENT);
    for tick in 1..=3 {
        // A tick that is given up half-way is not lost.
        assert!(
            runtime.timeout(Duration::ZERO, interval.tick()).await.is_err() || runtime.now() - made >= MOMENT
        );
        interval.tick().await;
        assert!(runtime.now() - made >= MOMENT * tick);
    }
    assert!(poll_immediate(runtime.interval(Duration::MAX).tick()).await.is_none());
    runtime.interval(Duration::ZERO).tick().await;
}

pub(crate) async fn what_is_sent_to_a_server_comes_back(runtime: impl Connect) {
    let server = Echo::start();
    for host in ["127.0.0.1", "localhost"] {
        let connected = runtime.connect(&format!("{host}:{}", server.0.port()));
        let stream = runtime.timeout(SOON, connected).await.unwrap().unwrap();
        // More than any buffer between the two holds, so both directions have to wait for each other.
        let sent: Vec<u8> = (0..8u32 << 20).map(|number| (number % 251) as u8).collect();
        let (mut reader, mut writer) = stream.split();
        let mut told = vec![0; sent.len()];
        let both = try_join(writer.write_all(&sent), reader.read_exact(&mut told));
        runtime.timeout(SOON, both).await.unwrap().unwrap();
        assert!(told == sent);
    }
}

pub(crate) async fn what_cannot_be_connected_to_is_told(runtime: impl Connect) {
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    for (address, kind) in [
        (nobody.to_string().as_str(), io::ErrorKind::ConnectionRefused),
        ("no port", io::ErrorKind::InvalidInput),
        ("127.0.0.1:70000", io::ErrorKind::InvalidInput),
        ("", io::ErrorKind::InvalidInput),
    ] {
        let failed = runtime.timeout(SOON, runtime.connect(address)).await.unwrap();
        assert_eq!(failed.err().map(|error| error.kind()), Some(kind), "{address}");
    }
}

pub(crate) async fn nothing_is_left_of_what_is_dropped(runtime: impl Connect) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = thread::spawn(move || {
        let mut ends = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            let mut sent = Vec::new();
            let end = stream.read_to_end(&mut sent);
            if sent == b"last" {
                return ends;
            }
            ends.push(end.map_err(|error| error.kind()));
        }
    });
    // Dropped before it connects, or while; and with a connection in hand.
    drop(runtime.connect(&address));
    assert!(poll_immediate(runtime.connect("localhost:1")).await.is_none_or(|done| done.is_err()));
    drop(poll_immediate(runtime.connect(&address)).await);
    let mut stream = runtime.connect(&address).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    assert!(runtime.timeout(MOMENT, stream.read(&mut [0])).await.is_err());
    drop(stream);
    let mut last = runtime.connect(&address).await.unwrap();
    last.write_all(b"last").await.unwrap();
    drop(last);
    let (done, told) = bounded(1);
    thread::spawn(move || done.try_send(server.join().unwrap()));
    for end in runtime.timeout(SOON * 2, told.recv()).await.unwrap().unwrap() {
        // An end or a reset, and never a read that waits for more.
        assert!(matches!(end, Ok(0 | 5) | Err(io::ErrorKind::ConnectionReset)), "{end:?}");
    }
}

/// A server that sends back what it is sent, until the end of the program.
struct Echo(SocketAddr);

impl Echo {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming() {
                thread::spawn(move || echo(&stream.unwrap()));
            }
        });
        Self(address)
    }
}

fn echo(mut stream: &TcpStream) {
    let mut bytes = [0; 1 << 14];
    while let Ok(length @ 1..) = stream.read(&mut bytes) {
        stream.write_all(bytes.get(..length).unwrap()).unwrap();
    }
}
