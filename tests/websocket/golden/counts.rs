//! The costs of messages, and the clients that they are counted for.

use http::Request;
use tokio_tungstenite::tungstenite::{Error, Message};
use traffik::runtime::Runtime;
use traffik::web::{ClientKey, Enforcement, Exempt, Header, Peer, Scope, WsAction, WsError, WsThrottle};
use traffik::{FixedWindow, TokenBucket, rate};
use traffik_test_support::faulty::{SECOND, slow};

use super::stage::Step::{Bytes, Close, Long, Ping, Pong, Text, Wait};
use super::stage::{Scene, USUAL, play, scene};
use crate::wire::{Socket, pair};

/// The inner throttle, whose reader is another throttle.
type Inner = WsThrottle<Socket, FixedWindow, traffik_test_support::ledger::Stored<FixedWindow>, Message>;

fn window() -> FixedWindow {
    FixedWindow::new(rate!("2/10s"))
}

fn costs() -> Vec<Scene> {
    vec![
        scene("every message of data, and no other", |stage| async move {
            let steps = [
                Ping,
                Pong,
                Text(""),
                Ping,
                Bytes(0),
                Pong,
                Bytes(5),
                Ping,
                Wait(10_000),
                Long(70_000),
                Close,
            ];
            stage.plain(window(), stage.policy(), steps).await;
        }),
        scene("by bytes", |stage| async move {
            let steps =
                [Text("12345"), Text(""), Bytes(4), Text("x"), Bytes(11), Wait(10_000), Bytes(10), Close];
            stage.plain(FixedWindow::new(rate!("10/10s")), stage.policy().by_bytes(), steps).await;
        }),
        scene("by messages and bytes", |stage| async move {
            let both = (FixedWindow::new(rate!("3/10s")), FixedWindow::new(rate!("10/10s")));
            let policy = stage.policy().cost_by(|message: &Message| (1, message.len() as u32));
            let steps = [Text("1234567"), Text("1234"), Text("12"), Text(""), Text(""), Close];
            stage.plain(both, policy, steps).await;
        }),
        scene("as the throttle says, and nothing", |stage| async move {
            let throttle = stage.throttle(FixedWindow::new(rate!("5/10s")), &[]).cost(2).build().unwrap();
            stage.connection(throttle.client_for(ClientKey::of("ann")), stage.policy(), USUAL).await;
            let free = stage.policy().cost_by(|message: &Message| u32::from(message.len() > 2));
            let steps = [Text("a"), Text("abc"), Text("abc"), Text("b"), Text("abc"), Close];
            stage.connection(throttle.client_for(ClientKey::of("bob")), free, steps).await;
        }),
    ]
}

#[test]
fn golden_costs() {
    play("costs", &costs());
}

fn clients() -> Vec<Scene> {
    vec![
        scene("a user with two connections, and one with another", |stage| async move {
            let users = Header::new("x-user".parse().unwrap());
            let throttle = stage.throttle(window(), &[]).identifier(users).build().unwrap();
            let mut peers = Vec::new();
            for (name, user) in [("ann 1: ", "ann"), ("ann 2: ", "ann"), ("bob: ", "bob")] {
                let handshake = Request::get("/ws").header("x-user", user).body(()).unwrap();
                let client = throttle.client(&handshake).await.unwrap();
                let (server, socket) = pair(1 << 16).await;
                let server: Inner = WsThrottle::new(server, client, stage.policy());
                stage.serve(name, server);
                peers.push(stage.peer(name, socket));
            }
            for at in [0, 1, 0, 1, 2, 2, 2] {
                peers[at].step(Text("x")).await;
            }
            for peer in peers {
                peer.steps([Close]).await;
            }
        }),
        scene("connections, each for itself", |stage| async move {
            let throttle = stage.throttle(window(), &[]).build().unwrap();
            for _ in 0..2 {
                stage.connection(throttle.client_for(ClientKey::connection()), stage.policy(), USUAL).await;
            }
        }),
        scene("whoever is exempt, and a scope", |stage| async move {
            let exempt =
                Exempt::when(Peer::default().or_anonymous(), |request| request.headers.contains_key("staff"));
            let throttle = stage.throttle(window(), &[]).identifier(exempt).build().unwrap();
            let staff = Request::get("/ws").header("staff", "1").body(()).unwrap();
            stage.connection(throttle.client(&staff).await.unwrap(), stage.policy(), USUAL).await;
            let mut other = Request::new(());
            other.extensions_mut().insert(Scope::from("chat"));
            stage.connection(throttle.client(&other).await.unwrap(), stage.policy(), USUAL).await;
        }),
        scene("a throttle that is changed meanwhile", |stage| async move {
            let throttle = stage.throttle(window(), &[]).build().unwrap();
            let (server, socket) = pair(1 << 16).await;
            let server: Inner =
                WsThrottle::new(server, throttle.client_for(ClientKey::of("ann")), stage.policy());
            stage.serve("", server);
            let mut peer = stage.peer("", socket);
            peer.step(Text("a")).await;
            throttle.disable();
            peer.step(Text("not counted")).await;
            throttle.enable();
            peer.step(Text("b")).await;
            throttle.set_enforcement(Enforcement::Shadow);
            peer.step(Text("as a shadow")).await;
            throttle.set_enforcement(Enforcement::Full);
            peer.step(Text("denied")).await;
            throttle.set_strategy(FixedWindow::new(rate!("3/10s")));
            peer.step(Text("c")).await;
            throttle.set_cost(2);
            peer.steps([Text("d"), Wait(10_000), Text("e"), Text("f"), Close]).await;
        }),
        scene("shadows", |stage| async move {
            for background in [false, true] {
                for courses in [&[][..], &[slow(SECOND), slow(SECOND), slow(SECOND)]] {
                    let runtime = stage.runtime.clone();
                    let throttle = stage.throttle(window(), courses).enforcement(Enforcement::Shadow);
                    let throttle =
                        if background { throttle.spawner(move |it| runtime.spawn(it)) } else { throttle };
                    let client = throttle.build().unwrap().client_for(ClientKey::of("ann"));
                    let policy = stage.policy().action(WsAction::Close);
                    let steps = [Text("a"), Text("b"), Text("c"), Wait(5_000), Text("d"), Close];
                    stage.connection(client, policy, steps).await;
                }
            }
        }),
        scene("two limits, one within the other", |stage| async move {
            for close in [false, true] {
                let inner = stage.throttle(FixedWindow::new(rate!("10/10s")), &[]).build().unwrap();
                let outer = stage.throttle(TokenBucket::new(rate!("3/h")), &[]).build().unwrap();
                let (server, socket) = pair(1 << 16).await;
                let bytes = stage.policy().by_bytes().extra("by", "bytes").action(WsAction::Raise);
                let server: Inner = WsThrottle::new(server, inner.client_for(ClientKey::of("ann")), bytes);
                let action = if close { WsAction::Close } else { WsAction::Delay };
                let messages = stage.policy().extra("by", "messages").action(action);
                let client = outer.client_for(ClientKey::of("ann"));
                let server: WsThrottle<Inner, TokenBucket, _, Message> =
                    WsThrottle::new(server, client, messages);
                stage.serve::<_, WsError<WsError<Error>>>("", server);
                let steps = [
                    Text("1234567"),
                    Text("1234"),
                    Text("12"),
                    Text("1"),
                    Ping,
                    Wait(10_000),
                    Text("12"),
                    Close,
                ];
                stage.peer("", socket).steps(steps).await;
            }
        }),
    ]
}

#[test]
fn golden_clients() {
    play("clients", &clients());
}
