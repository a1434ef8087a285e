//! A storage that takes its time, or fails.

use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use traffik::runtime::{Manual, Runtime};
use traffik::web::{
    ClientKey, Enforcement, OnError, RequestOutcome, Tally, Throttle, WsAction, WsError, WsErrorAction,
    WsOnError, WsPolicy, WsThrottle,
};
use traffik::{ErrorKind, FixedWindow, LeakyBucketQueue, Strategy, Timer, rate};

use super::wire::{Socket, Throttled, echo, json, millis, pair, receive, receive_all, send};
use traffik_test_support::faulty::{Faulty, SECOND, WELL, before, slow};

/// A connection whose limit is in a store, and its other end.
async fn connect<S: Strategy>(
    store: &Faulty<S>,
    strategy: S,
    policy: WsPolicy<S::Cost, Message>,
) -> (Throttled<S, Faulty<S>>, Socket) {
    connect_with(store, strategy, OnError::default(), policy).await
}

async fn connect_with<S: Strategy>(
    store: &Faulty<S>,
    strategy: S,
    on_error: OnError,
    policy: WsPolicy<S::Cost, Message>,
) -> (Throttled<S, Faulty<S>>, Socket) {
    let (server, socket) = pair(1 << 16).await;
    let throttle = Throttle::builder("messages", strategy, store.clone()).on_error(on_error).build().unwrap();
    (WsThrottle::new(server, throttle.client_for(ClientKey::connection()), policy), socket)
}

#[test]
fn a_ping_passes_a_message_about_which_a_store_is_asked() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let store = Faulty::new(&runtime);
            store.always(slow(SECOND));
            let policy = WsPolicy::new(runtime.clone());
            let (server, mut socket) = connect(&store, FixedWindow::new(rate!("2/m")), policy).await;
            runtime.spawn(echo(server));
            send(&mut socket, ["a"]).await;
            socket.send(Message::Ping("now".into())).await.unwrap();
            assert_eq!((receive(&mut socket).await.as_str(), millis(&runtime)), ("pong now", 0));
            assert_eq!((receive(&mut socket).await.as_str(), millis(&runtime)), ("a", 2_000));
            send(&mut socket, ["b", "c"]).await;
            assert_eq!((receive(&mut socket).await.as_str(), millis(&runtime)), ("b", 4_000));
            assert_eq!(json(&receive(&mut socket).await)["retry_after"], 55);
            assert_eq!(store.calls(), 3);
        })
        .unwrap();
}

/// A reader that stops waiting during a call of the store has made one call.
#[test]
fn to_stop_waiting_for_a_store_asks_it_only_once() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let store = Faulty::new(&runtime);
            store.always(slow(SECOND));
            let policy = WsPolicy::new(runtime.clone());
            let (mut server, mut socket) = connect(&store, FixedWindow::new(rate!("1/m")), policy).await;
            send(&mut socket, ["a"]).await;
            for _ in 0..19 {
                assert!(runtime.timeout(Duration::from_millis(100), server.next()).await.is_err());
            }
            assert_eq!(server.next().await.unwrap().unwrap(), Message::text("a"));
            assert_eq!((millis(&runtime), store.calls()), (2_000, 1));
        })
        .unwrap();
}

/// The answers to a failing store.
fn failing(policy: impl FnOnce(WsPolicy<u32, Message>) -> WsPolicy<u32, Message>) -> Vec<String> {
    failing_with(OnError::default(), policy)
}

/// The same of a throttle that says this itself.
fn failing_with(
    on_error: OnError,
    policy: impl FnOnce(WsPolicy<u32, Message>) -> WsPolicy<u32, Message>,
) -> Vec<String> {
    let runtime = Manual::new();
    runtime
        .run(async {
            let store = Faulty::new(&runtime);
            store.next(&[WELL, before(ErrorKind::Unavailable)]);
            let policy = policy(WsPolicy::new(runtime.clone()));
            let limit = FixedWindow::new(rate!("9/m"));
            let (server, mut socket) = connect_with(&store, limit, on_error, policy).await;
            runtime.spawn(echo(server));
            send(&mut socket, ["a", "b", "c"]).await;
            receive_all(&mut socket, 3).await
        })
        .unwrap()
}

#[test]
fn a_store_that_fails_is_answered_as_the_policy_says() {
    let throttled = failing(|policy| policy);
    assert_eq!((throttled[0].as_str(), throttled[2].as_str()), ("a", "c"));
    assert_eq!(
        json(&throttled[1]),
        json!({
            "type": "rate_limit", "error": "temporarily unavailable", "retry_after": 1, "retry_after_ms": 1_000,
        })
    );
    assert_eq!(failing(|policy| policy.on_error(WsOnError::Allow)), ["a", "b", "c"]);
    assert_eq!(
        failing(|policy| policy.on_error(WsOnError::Raise)),
        ["a", "raised: the store fails on demand", "c"]
    );
    let closed = failing(|policy| policy.action(WsAction::Close));
    assert_eq!(closed, ["a", "close 1013 temporarily unavailable", "end"]);
    let asked = failing(|policy| {
        policy.on_error(WsOnError::ask_failure(|failure| match failure.kind() {
            ErrorKind::Unavailable => WsErrorAction::Allow,
            _ => WsErrorAction::Throttle,
        }))
    });
    assert_eq!(asked, ["a", "b", "c"]);
    let asked_later = failing(|policy| {
        policy.on_error(WsOnError::ask_failure_async(|failure| {
            let is_down = failure.kind() == ErrorKind::Unavailable;
            async move { if is_down { WsErrorAction::Allow } else { WsErrorAction::Throttle } }
        }))
    });
    assert_eq!(asked_later, ["a", "b", "c"]);
    let raised_later =
        failing(|policy| policy.on_error(WsOnError::ask_failure_async(|_| async { WsErrorAction::Raise })));
    assert_eq!(raised_later, ["a", "raised: the store fails on demand", "c"]);
    // A function that does not answer for as long as a message may wait has not answered.
    let never = failing(|policy| policy.on_error(WsOnError::ask_failure_async(|_| std::future::pending())));
    assert_eq!((never[0].as_str(), json(&never[1])["retry_after"].as_u64()), ("a", Some(1)));
    // If the policy says nothing, the throttle does.
    assert_eq!(failing_with(OnError::Allow, |policy| policy), ["a", "b", "c"]);
    let raised = ["a", "raised: the store fails on demand", "c"];
    assert_eq!(failing_with(OnError::Raise, |policy| policy), raised);
    assert_eq!(failing_with(OnError::Allow, |policy| policy.on_error(WsOnError::Raise)), raised);
    let five = OnError::ThrottleFor(Duration::from_secs(5));
    assert_eq!(json(&failing_with(five, |policy| policy)[1])["retry_after"], 5);
    // A message may wait for the store, too: it is asked again a second later.
    let waited = failing(|policy| policy.action(WsAction::DelayOrClose));
    assert_eq!(waited, ["a", "b", "c"]);
}

#[test]
fn a_raised_failure_is_the_stores() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let store = Faulty::new(&runtime);
            store.always(before(ErrorKind::Full));
            let policy = WsPolicy::new(runtime.clone()).on_error(WsOnError::Raise);
            let (mut server, mut socket) = connect(&store, FixedWindow::new(rate!("9/m")), policy).await;
            send(&mut socket, ["a"]).await;
            match server.next().await {
                Some(Err(WsError::Storage(failure))) => assert_eq!(failure.kind(), ErrorKind::Full),
                other => panic!("{other:?}"),
            }
        })
        .unwrap();
}

/// Nobody waits for a limit that is not enforced, if what is asked about it can go on by itself.
#[test]
fn a_shadow_keeps_no_message_waiting() {
    let runtime = Manual::new();
    runtime
        .run(async {
            for (spawns, arrives) in [(true, 0), (false, 2_000)] {
                let (store, tally) = (Faulty::new(&runtime), Tally::default());
                store.always(slow(SECOND));
                let mut throttle = Throttle::builder("messages", FixedWindow::new(rate!("1/h")), store)
                    .enforcement(Enforcement::Shadow)
                    .observe(tally.clone());
                if spawns {
                    let runtime = runtime.clone();
                    throttle = throttle.spawner(move |future| runtime.spawn(future));
                }
                let client = throttle.build().unwrap().client_for(ClientKey::connection());
                let (server, mut socket) = pair(1 << 16).await;
                runtime.spawn(echo(WsThrottle::new(server, client, WsPolicy::new(runtime.clone()))));
                for _ in 0..2 {
                    let sent = millis(&runtime);
                    send(&mut socket, ["a"]).await;
                    assert_eq!(
                        (receive(&mut socket).await.as_str(), millis(&runtime) - sent),
                        ("a", arrives)
                    );
                    runtime.sleep(10 * SECOND).await;
                }
                let told = [RequestOutcome::Allowed, RequestOutcome::WouldDeny]
                    .map(|seen| tally.count("messages", seen));
                assert_eq!(told, [1, 1]);
            }
        })
        .unwrap();
}

/// The message is dropped once its place is given back, and not before the store has said so.
#[test]
fn a_turn_that_is_too_far_away_is_given_back_to_a_store() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let store = Faulty::new(&runtime);
            store.always(slow(SECOND));
            let policy = WsPolicy::new(runtime.clone()).max_delay(Duration::from_secs(30));
            let limit = LeakyBucketQueue::new(rate!("1/m")).queue(10).unwrap();
            let (server, mut socket) = connect(&store, limit, policy).await;
            runtime.spawn(echo(server));
            send(&mut socket, ["a", "b"]).await;
            assert_eq!((receive(&mut socket).await.as_str(), millis(&runtime)), ("a", 2_000));
            assert_eq!(json(&receive(&mut socket).await)["type"], "rate_limit");
            assert_eq!((millis(&runtime), store.calls()), (6_000, 3));
            runtime.sleep(SECOND).await;
        })
        .unwrap();
}
