//! Whom messages are counted for, and what can be changed while they come.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use http::Request;
use tokio_tungstenite::tungstenite::Message;
use traffik::runtime::{Manual, Runtime};
use traffik::web::{ClientKey, Enforcement, Exempt, Header, Peer, Tally, Throttle, WsPolicy, WsThrottle};
use traffik::{FixedWindow, rate};

use super::wire::{Socket, Throttled, client, echo, json, memory, pair, receive, receive_all, send, serve};

type Windows = Throttle<FixedWindow, super::wire::InMemory<FixedWindow>>;

fn throttle(runtime: &Manual, limit: FixedWindow) -> Windows {
    Throttle::builder("messages", limit, memory(runtime))
        .identifier(Header::new("x-user".parse().unwrap()))
        .build()
        .unwrap()
}

/// A connection of whom the handshake names.
async fn connect(runtime: &Manual, throttle: &Windows, user: &str) -> Socket {
    let handshake = Request::get("/ws").header("x-user", user).body(()).unwrap();
    let client = throttle.client(&handshake).await.unwrap();
    let (server, socket) = pair(1 << 16).await;
    runtime.spawn(echo(WsThrottle::new(server, client, WsPolicy::new(runtime.clone()))));
    socket
}

async fn is_denied(socket: &mut Socket) -> bool {
    send(socket, ["hello"]).await;
    receive(socket).await != "hello"
}

#[test]
fn a_user_has_one_limit_for_all_connections_and_a_connection_its_own() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let throttle = throttle(&runtime, FixedWindow::new(rate!("3/m")));
            let mut ann =
                [connect(&runtime, &throttle, "ann").await, connect(&runtime, &throttle, "ann").await];
            let mut bob = connect(&runtime, &throttle, "bob").await;
            for socket in [0, 1, 0] {
                assert!(!is_denied(&mut ann[socket]).await);
            }
            assert!(is_denied(&mut ann[1]).await && is_denied(&mut ann[0]).await);
            assert!(!is_denied(&mut bob).await);
            // The same user by a key of the program's.
            let known = throttle.client_for(ClientKey::of("ann"));
            assert!(
                known.peek().await.unwrap().is_allowed(),
                "a name that was not written by a client is another"
            );

            for _ in 0..2 {
                let policy = WsPolicy::new(runtime.clone());
                let mut socket = serve(&runtime, FixedWindow::new(rate!("1/m")), policy).await;
                assert!(!is_denied(&mut socket).await);
                assert!(is_denied(&mut socket).await);
            }
        })
        .unwrap();
}

#[test]
fn whoever_is_exempt_is_not_limited() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let exempt = Exempt::when(Peer::default(), |_| true);
            let throttle = Throttle::builder("messages", FixedWindow::new(rate!("1/m")), memory(&runtime))
                .identifier(exempt)
                .build()
                .unwrap();
            let client = throttle.client(&Request::new(())).await.unwrap();
            assert!(client.is_none());
            let (server, mut socket) = pair(1 << 16).await;
            runtime.spawn(echo(WsThrottle::new(server, client, WsPolicy::new(runtime.clone()))));
            for _ in 0..10 {
                assert!(!is_denied(&mut socket).await);
            }
        })
        .unwrap();
}

/// Somebody who logs in over the connection is counted as who they are from then on.
#[test]
fn a_connection_can_become_somebodys() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let throttle = throttle(&runtime, FixedWindow::new(rate!("2/m")));
            let (server, mut socket) = pair(1 << 16).await;
            let nobody = throttle.client_for(ClientKey::connection());
            let mut server: Throttled<_, _> = WsThrottle::new(server, nobody, WsPolicy::new(runtime.clone()));
            send(&mut socket, ["a", "b", "c", "d", "e"]).await;
            assert_eq!(server.next().await.unwrap().unwrap(), Message::text("a"));
            server.set_client(throttle.client_for(ClientKey::of("ann")));
            assert_eq!(server.next().await.unwrap().unwrap(), Message::text("b"));
            assert_eq!(server.client().unwrap().stat().await.unwrap().current_count, 1);
            server.set_client(None);
            for text in ["c", "d", "e"] {
                assert_eq!(server.next().await.unwrap().unwrap(), Message::text(text));
            }
        })
        .unwrap();
}

#[test]
fn a_throttle_can_be_changed_while_connections_are_open() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let tally = Tally::default();
            let throttle = Throttle::builder("messages", FixedWindow::new(rate!("1/m")), memory(&runtime))
                .observe(tally.clone())
                .identifier(Header::new("x-user".parse().unwrap()))
                .build()
                .unwrap();
            let mut socket = connect(&runtime, &throttle, "ann").await;
            assert!(!is_denied(&mut socket).await);
            throttle.set_min_wait(Duration::from_secs(100));
            send(&mut socket, ["x"]).await;
            assert_eq!(json(&receive(&mut socket).await)["retry_after"], 100);
            throttle.disable();
            assert!(!is_denied(&mut socket).await);
            throttle.enable();
            throttle.set_enforcement(Enforcement::Shadow);
            assert!(!is_denied(&mut socket).await);
            throttle.set_enforcement(Enforcement::Full);
            // Use is kept.
            throttle.set_strategy(FixedWindow::new(rate!("2/m")));
            assert!(!is_denied(&mut socket).await);
            send(&mut socket, ["x"]).await;
            assert!(runtime.timeout(Duration::from_secs(1), receive(&mut socket)).await.is_err(), "it knows");
            let told = tally.prometheus();
            for (result, number) in [("allowed", 2), ("denied", 2), ("would_deny", 1)] {
                let line =
                    format!("traffik_requests_total{{throttle=\"messages\",result=\"{result}\"}} {number}\n");
                assert!(told.contains(&line), "{line}{told}");
            }
        })
        .unwrap();
}

/// Text, bytes and nothing at all: each is a message.
#[test]
fn every_message_of_data_counts_and_no_other() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let policy = WsPolicy::new(runtime.clone());
            let mut socket = serve(&runtime, FixedWindow::new(rate!("3/m")), policy).await;
            for _ in 0..5 {
                socket.send(Message::Ping(Bytes::new())).await.unwrap();
                socket.send(Message::Pong(Bytes::new())).await.unwrap();
            }
            for message in
                [Message::text(""), Message::binary(Bytes::new()), Message::binary(vec![7; 100_000])]
            {
                socket.send(message.clone()).await.unwrap();
                let answer = loop {
                    match socket.next().await.unwrap().unwrap() {
                        Message::Pong(_) => {}
                        answer => break answer,
                    }
                };
                assert_eq!(answer, message);
            }
            assert!(is_denied(&mut socket).await);
        })
        .unwrap();
}

#[test]
fn bytes_are_counted_alone_or_together_with_messages() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let policy = WsPolicy::new(runtime.clone()).by_bytes();
            let mut socket = serve(&runtime, FixedWindow::new(rate!("10/m")), policy).await;
            // An empty message counts as a byte.
            send(&mut socket, ["12345", "", "1234"]).await;
            assert_eq!(receive_all(&mut socket, 3).await, ["12345", "", "1234"]);
            assert!(is_denied(&mut socket).await);

            let both = (FixedWindow::new(rate!("2/m")), FixedWindow::new(rate!("10/m")));
            let size = |message: &Message| (1, message.len() as u32);
            let policy = WsPolicy::new(runtime.clone()).cost_by(size);
            let (server, mut socket) = pair(1 << 16).await;
            let server = WsThrottle::new(server, client(&runtime, both), policy);
            runtime.spawn(echo(server));
            send(&mut socket, ["1234567"]).await;
            assert_eq!(receive(&mut socket).await, "1234567");
            send(&mut socket, ["1234"]).await;
            assert_eq!(json(&receive(&mut socket).await)["type"], "rate_limit");
            send(&mut socket, ["12", ""]).await;
            assert_eq!(receive(&mut socket).await, "12");
            assert!(
                runtime.timeout(Duration::from_secs(1), receive(&mut socket)).await.is_err(),
                "two messages"
            );
        })
        .unwrap();
}
