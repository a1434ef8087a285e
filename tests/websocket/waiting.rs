//! Messages that wait: how long, how many, and what goes on meanwhile.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;
use traffik::runtime::{AsyncStd, Manual, Runtime, Smol};
use traffik::web::{ClientKey, Throttle, WsAction, WsError, WsNotices, WsPolicy, WsThrottle};
use traffik::{FixedWindow, Timer, TokenBucket, rate};

use super::wire::{client, echo, json, millis, pair, pair_that_gathers, receive, receive_all, send, serve};

fn delaying(runtime: &Manual) -> WsPolicy<u32, Message> {
    WsPolicy::new(runtime.clone()).action(WsAction::Delay)
}

/// One a second, of which none waits at first.
fn one_a_second() -> TokenBucket {
    TokenBucket::new(rate!("60/min")).burst(1).unwrap()
}

#[test]
fn messages_wait_until_they_are_admitted_and_none_is_lost() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let mut socket = serve(&runtime, one_a_second(), delaying(&runtime)).await;
            send(&mut socket, (0..10).map(|number| number.to_string())).await;
            for number in 0..10 {
                assert_eq!(receive(&mut socket).await, number.to_string());
                assert_eq!(millis(&runtime), number * 1_000);
            }
        })
        .unwrap();
}

/// A message waits on any runtime, and no shorter than the limit asks for.
#[test]
fn a_message_waits_on_smol_and_on_async_std() {
    async fn third_message_is_two_periods_late(runtime: impl Runtime) {
        let limit = TokenBucket::new(rate!("20/s")).burst(1).unwrap();
        let throttle = Throttle::in_memory("messages", limit).build().unwrap();
        let policy = WsPolicy::new(runtime.clone()).action(WsAction::Delay);
        let (server, mut socket) = pair(1 << 10).await;
        let client = throttle.client_for(ClientKey::connection());
        runtime.spawn(echo(WsThrottle::new(server, client, Arc::new(policy))));
        let began = Instant::now();
        send(&mut socket, ["a", "b", "c"]).await;
        for message in ["a", "b", "c"] {
            assert_eq!(receive(&mut socket).await, message);
        }
        assert!(began.elapsed() >= Duration::from_millis(100));
    }
    smol::block_on(third_message_is_two_periods_late(Smol::new()));
    async_std::task::block_on(third_message_is_two_periods_late(AsyncStd));
}

#[test]
fn a_ping_passes_a_message_that_waits() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let mut socket = serve(&runtime, one_a_second(), delaying(&runtime)).await;
            send(&mut socket, ["a", "b"]).await;
            for number in 0..5 {
                socket.send(Message::Ping(format!("{number}").into())).await.unwrap();
            }
            let first = ["a", "pong 0", "pong 1", "pong 2", "pong 3", "pong 4"];
            // A pong may stand for those before it (RFC 6455, section 5.5.3).
            let mut told = Vec::new();
            while told.last().is_none_or(|last| last != "pong 4") {
                told.push(receive(&mut socket).await);
            }
            assert!(told.iter().all(|told| first.contains(&told.as_str())) && told[0] == "a", "{told:?}");
            assert_eq!(millis(&runtime), 0);
            assert_eq!(receive(&mut socket).await, "b");
            assert_eq!(millis(&runtime), 1_000);
        })
        .unwrap();
}

/// However many messages a ping lies behind, it is answered within the bound; what cannot wait as long is dropped, and the
/// peer told once.
#[test]
fn a_ping_is_answered_within_the_bound_whatever_it_lies_behind() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let policy = delaying(&runtime).max_delay(Duration::from_secs(5));
            let mut socket = serve(&runtime, one_a_second(), policy).await;
            let (mut pinged, mut longest, mut echoed, mut told) = (Vec::new(), 0, 0, 0);
            for round in 0..20u32 {
                runtime.sleep(Duration::from_secs(2)).await;
                send(&mut socket, (0..100).map(|_| "x")).await;
                socket.send(Message::Ping(round.to_string().into())).await.unwrap();
                pinged.push(millis(&runtime));
                while let Ok(answer) = runtime.timeout(Duration::from_secs(1), receive(&mut socket)).await {
                    match answer.strip_prefix("pong ") {
                        Some(round) => {
                            let at = pinged[round.parse::<usize>().unwrap()];
                            longest = longest.max(millis(&runtime) - at);
                            break;
                        }
                        None if answer == "x" => echoed += 1,
                        None => told += 1,
                    }
                }
            }
            assert!((1_000..=5_000).contains(&longest), "{longest} ms");
            // It is still the limit that says how many pass.
            assert!(
                echoed <= millis(&runtime) / 1_000 + 1 && echoed >= 20,
                "{echoed} of {}",
                millis(&runtime)
            );
            assert!((1..=20).contains(&told), "{told}");
        })
        .unwrap();
}

/// Unread messages fill the peer's own socket: it cannot send more.
#[test]
fn at_most_two_messages_are_held() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let (server, mut socket) = pair(64).await;
            let mut server = WsThrottle::new(server, client(&runtime, one_a_second()), delaying(&runtime));
            runtime.spawn(async move { while server.next().await.is_some() {} });
            let mut sent = 0;
            let long = "x".repeat(200_000);
            // More than the reading end gathers at a time, so what it holds is seen from outside.
            while runtime
                .timeout(Duration::from_millis(100), send(&mut socket, [long.as_str()]))
                .await
                .is_ok()
            {
                sent += 1;
            }
            assert_eq!(sent, 3, "one has passed, one waits, and one is held after it");
        })
        .unwrap();
}

#[test]
fn a_message_that_would_wait_for_too_long_closes_the_connection_if_asked() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let policy = WsPolicy::new(runtime.clone()).action(WsAction::DelayOrClose);
            let mut socket = serve(&runtime, FixedWindow::new(rate!("1/min")), policy).await;
            runtime.sleep(Duration::from_secs(50)).await;
            send(&mut socket, ["a", "b"]).await;
            assert_eq!(receive_all(&mut socket, 2).await, ["a", "b"]);
            assert_eq!(millis(&runtime), 60_000);
            send(&mut socket, ["c"]).await;
            assert_eq!(receive(&mut socket).await, "close 1008 rate limit exceeded");
            assert_eq!(millis(&runtime), 60_000);
        })
        .unwrap();
}

/// The peer has its answer at once, and what it sent before is still read.
#[test]
fn a_close_is_answered_while_a_message_waits_and_comes_after_it() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let (server, mut socket) = pair(1 << 16).await;
            let mut server = WsThrottle::new(server, client(&runtime, one_a_second()), delaying(&runtime));
            let closes = async {
                send(&mut socket, ["a", "b"]).await;
                socket.send(Message::Close(None)).await.unwrap();
                assert_eq!((receive(&mut socket).await.as_str(), millis(&runtime)), ("a", 0));
                assert_eq!((receive(&mut socket).await.as_str(), millis(&runtime)), ("Close(None)", 0));
                assert_eq!(receive(&mut socket).await, "end");
            };
            let reads = async {
                assert_eq!(server.next().await.unwrap().unwrap(), Message::text("a"));
                server.send(Message::text("a")).await.unwrap();
                assert_eq!(server.next().await.unwrap().unwrap(), Message::text("b"));
                assert_eq!(millis(&runtime), 1_000);
                assert_eq!(server.next().await.unwrap().unwrap(), Message::Close(None));
                assert!(server.next().await.is_none());
                // It hangs up, for which the client waits.
                drop(server);
            };
            futures_util::join!(closes, reads);
        })
        .unwrap();
}

#[test]
fn a_peer_that_is_gone_is_noticed_while_a_message_waits() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let (server, mut socket) = pair(1 << 16).await;
            let mut server = WsThrottle::new(server, client(&runtime, one_a_second()), delaying(&runtime));
            send(&mut socket, ["a", "b"]).await;
            drop(socket);
            assert_eq!(server.next().await.unwrap().unwrap(), Message::text("a"));
            assert!(matches!(server.next().await, Some(Err(WsError::Socket(_)))));
            assert!(server.next().await.is_none());
            assert_eq!(millis(&runtime), 0);
        })
        .unwrap();
}

/// A reader that stops waiting for the next message, at any time, finds it when it asks again.
#[test]
fn to_stop_waiting_loses_nothing() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let (server, mut socket) = pair(1 << 16).await;
            let mut server = WsThrottle::new(server, client(&runtime, one_a_second()), delaying(&runtime));
            send(&mut socket, (0..8).map(|number| number.to_string())).await;
            let mut read = Vec::new();
            let mut given_up = 0;
            while read.len() < 8 {
                match runtime.timeout(Duration::from_millis(130), server.next()).await {
                    Ok(message) => read.push(message.unwrap().unwrap().to_string()),
                    Err(_) => given_up += 1,
                }
            }
            assert_eq!(read, ["0", "1", "2", "3", "4", "5", "6", "7"]);
            assert!(given_up > 40 && millis(&runtime) == 7_000, "{given_up}");
        })
        .unwrap();
}

/// For a peer that never reads nothing is queued but one notice, and what it sends is still read.
#[test]
fn a_peer_that_never_reads_is_not_written_to() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let (server, mut socket) = pair_that_gathers(256, 1 << 17).await;
            let policy =
                WsPolicy::new(runtime.clone()).notices(WsNotices::Each).extra("x", "y".repeat(300).as_str());
            let mut server =
                WsThrottle::new(server, client(&runtime, FixedWindow::new(rate!("1/w"))), policy);
            let sent = async {
                for _ in 0..1_000 {
                    socket.send(Message::text("x")).await.unwrap();
                }
                socket
            };
            let read = async {
                assert_eq!(server.next().await.unwrap().unwrap(), Message::text("x"));
                server.next().await
            };
            // All of it is read, and only then the peer reads for the first time.
            let mut socket = tokio::select! {
                biased;
                message = read => panic!("{message:?}"),
                socket = sent => socket,
            };
            assert!(runtime.timeout(Duration::from_millis(1), server.next()).await.is_err());
            runtime.spawn(async move { while server.next().await.is_some() {} });
            let mut told = 0;
            while let Ok(text) = runtime.timeout(Duration::from_secs(1), receive(&mut socket)).await {
                assert_eq!(json(&text)["type"], "rate_limit");
                told += 1;
            }
            assert_eq!(told, 1);
        })
        .unwrap();
}

/// A peer that sends messages to be dropped, without end, does not keep its thread to itself.
#[test]
fn a_flood_leaves_room_for_others() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let (server, mut socket) = pair(1 << 20).await;
            let policy = WsPolicy::new(runtime.clone());
            let mut server =
                WsThrottle::new(server, client(&runtime, FixedWindow::new(rate!("1/w"))), policy);
            send(&mut socket, (0..1_000).map(|_| "x")).await;
            assert!(server.next().await.is_some());
            let mut turns = 0;
            let mut next = pin!(server.next());
            let woken = Arc::new(Woken::default());
            let waker = Waker::from(Arc::clone(&woken));
            loop {
                assert!(matches!(next.as_mut().poll(&mut Context::from_waker(&waker)), Poll::Pending));
                turns += 1;
                if !woken.0.swap(false, std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
            }
            assert!(turns >= 999 / 64, "{turns}");
        })
        .unwrap();
}

#[derive(Default)]
struct Woken(std::sync::atomic::AtomicBool);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

/// A notice that waits for room and a writer that waits for room are both woken once there is some.
#[test]
fn a_notice_does_not_take_the_writers_turn() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let (server, mut socket) = pair(128).await;
            let policy = WsPolicy::new(runtime.clone()).notices(WsNotices::Each);
            let server = WsThrottle::new(server, client(&runtime, FixedWindow::new(rate!("1/w"))), policy);
            let (mut sink, mut stream) = server.split();
            let clock = runtime.clone();
            runtime.spawn(async move {
                clock.sleep(Duration::from_secs(1)).await;
                for number in 0..20 {
                    sink.send(Message::text(format!("{number:0>100}"))).await.unwrap();
                }
                sink.close().await.unwrap();
            });
            runtime.spawn(async move { while stream.next().await.is_some() {} });
            let (mut numbers, mut told) = (0, 0);
            for _ in 0..10 {
                // It sends before it reads, so that both wait for room.
                send(&mut socket, ["x"]).await;
                runtime.sleep(Duration::from_millis(500)).await;
                while let Ok(text) = runtime.timeout(Duration::from_millis(1), receive(&mut socket)).await {
                    match text.as_str() {
                        "end" | "Close(None)" => break,
                        text if text.starts_with('{') => told += 1,
                        _ => numbers += 1,
                    }
                }
                if numbers == 20 {
                    break;
                }
            }
            assert_eq!(numbers, 20);
            assert!(told > 0);
        })
        .unwrap();
}
