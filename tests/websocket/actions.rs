//! Messages beyond the limit, and the actions on them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;
use traffik::runtime::{Manual, Runtime};
use traffik::storage::Local;
use traffik::web::{ClientKey, Throttle, WsAction, WsAnswer, WsNotices, WsPolicy, WsThrottle};
use traffik::{FixedWindow, LeakyBucketQueue, Memory, Timer, TokenBucket, rate};

use super::wire::{client, json, millis, pair, receive, receive_all, send, serve};

#[test]
fn a_message_too_many_is_dropped_with_one_notice_in_a_window() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let policy = WsPolicy::new(runtime.clone()).extra("room", "blue").extra("limit", 3);
            let mut socket = serve(&runtime, FixedWindow::new(rate!("3/10s")), policy).await;
            for window in 0..3u64 {
                runtime.sleep(Duration::from_millis(1_500)).await;
                send(&mut socket, (0..50).map(|number| number.to_string())).await;
                assert_eq!(receive_all(&mut socket, 3).await, ["0", "1", "2"]);
                assert_eq!(
                    json(&receive(&mut socket).await),
                    json!({
                        "type": "rate_limit", "error": "rate limit exceeded",
                        "retry_after": 9, "retry_after_ms": 8_500, "room": "blue", "limit": 3,
                    })
                );
                // The promise is kept, to the millisecond; and there was no second notice.
                runtime.sleep(Duration::from_millis(8_499)).await;
                send(&mut socket, ["early"]).await;
                runtime.sleep(Duration::from_millis(1)).await;
                assert_eq!(millis(&runtime), 10_000 * (window + 1));
            }
            send(&mut socket, ["last"]).await;
            assert_eq!(receive(&mut socket).await, "last");
        })
        .unwrap();
}

/// How many notices a flood of ten seconds is answered with.
fn notices(notices: WsNotices) -> usize {
    let runtime = Manual::new();
    runtime
        .run(async {
            let policy = WsPolicy::new(runtime.clone()).notices(notices);
            let mut socket = serve(&runtime, TokenBucket::new(rate!("5/s")), policy).await;
            let mut told = 0;
            for _ in 0..200 {
                send(&mut socket, ["x"]).await;
                let told_now = &mut told;
                while let Ok(answer) = runtime.timeout(Duration::from_millis(50), receive(&mut socket)).await
                {
                    *told_now += usize::from(answer != "x");
                }
            }
            told
        })
        .unwrap()
}

#[test]
fn a_flood_is_answered_once_in_a_window_or_in_a_wait_or_as_often_as_asked() {
    // Five at once and five a second are 55 of 200; the bucket is whole again a second after it was empty.
    let (window, wait, each) =
        (notices(WsNotices::EachWindow), notices(WsNotices::EachWait), notices(WsNotices::Each));
    assert!((9..=11).contains(&window), "{window}");
    assert!((40..=50).contains(&wait), "{wait}");
    assert!((144..=146).contains(&each), "{each}");
}

#[test]
fn a_notice_can_be_ones_own_message() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let policy = WsPolicy::new(runtime.clone()).notice_by(|denial| {
                let name = denial.limits[0].name;
                Message::binary(format!("{name} {} {:?}", denial.throttle, denial.retry_after().unwrap()))
            });
            let mut socket = serve(&runtime, FixedWindow::new(rate!("1/10s")), policy).await;
            send(&mut socket, ["a", "b"]).await;
            assert_eq!(receive(&mut socket).await, "a");
            let notice = socket.next().await.unwrap().unwrap();
            assert_eq!(notice, Message::binary("messages messages 10s"));
        })
        .unwrap();
}

#[test]
fn a_connection_is_closed_with_1008_and_a_reason() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let policy = WsPolicy::new(runtime.clone()).action(WsAction::Close);
            let mut socket = serve(&runtime, FixedWindow::new(rate!("2/10s")), policy).await;
            send(&mut socket, ["a", "b", "c", "d", "e"]).await;
            assert_eq!(
                receive_all(&mut socket, 4).await,
                ["a", "b", "close 1008 rate limit exceeded", "end"]
            );
            assert_eq!(millis(&runtime), 0);
        })
        .unwrap();
}

/// The notice, also to a peer that had one in this window, and then the close; what came after is dropped.
#[test]
fn a_peer_is_told_before_the_connection_is_closed() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let policy = WsPolicy::new(runtime.clone()).action(WsAction::NoticeThenClose);
            let mut socket = serve(&runtime, FixedWindow::new(rate!("2/10s")), policy).await;
            send(&mut socket, ["a", "b", "c", "d", "e"]).await;
            assert_eq!(receive_all(&mut socket, 2).await, ["a", "b"]);
            assert_eq!(json(&receive(&mut socket).await)["retry_after"], 10);
            assert_eq!(receive_all(&mut socket, 2).await, ["close 1008 rate limit exceeded", "end"]);

            // The first is dropped with a notice, the second ends it with a word of its own.
            let denied = AtomicU32::new(0);
            let policy = WsPolicy::new(runtime.clone()).action(WsAction::ask(move |denial| {
                match denied.fetch_add(1, Ordering::Relaxed) {
                    0 => WsAnswer::Notice,
                    _ => WsAnswer::ReplyThenClose(Message::text(denial.notice()), 4008, "twice".to_owned()),
                }
            }));
            let mut socket =
                serve(&runtime, FixedWindow::new(rate!("1/10s")), policy.extra("room", "blue")).await;
            send(&mut socket, ["a", "b", "c"]).await;
            assert_eq!(receive(&mut socket).await, "a");
            let told = [json(&receive(&mut socket).await), json(&receive(&mut socket).await)];
            assert!(told.iter().all(|it| it["type"] == "rate_limit" && it["room"] == "blue"), "{told:?}");
            assert_eq!(receive_all(&mut socket, 2).await, ["close 4008 twice", "end"]);
        })
        .unwrap();
}

/// A peer that reads slowly gets the last word as well, in whole.
#[test]
fn a_last_word_waits_for_room() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let (server, mut socket) = pair(64).await;
            let text = "x".repeat(1_000);
            let word = text.clone();
            let policy = WsPolicy::new(runtime.clone())
                .action(WsAction::NoticeThenClose)
                .notice_by(move |_| Message::text(word.clone()));
            let limit = client(&runtime, FixedWindow::new(rate!("1/10s")));
            runtime.spawn(super::wire::echo(WsThrottle::new(server, limit, policy)));
            send(&mut socket, ["a", "b"]).await;
            runtime.sleep(Duration::from_secs(1)).await;
            assert_eq!(
                receive_all(&mut socket, 4).await,
                ["a", text.as_str(), "close 1008 rate limit exceeded", "end"]
            );
        })
        .unwrap();
}

#[test]
fn a_reason_is_cut_to_what_a_frame_holds() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let policy =
                WsPolicy::new(runtime.clone()).action(WsAction::Close).close_with(4001, &"é".repeat(100));
            let mut socket = serve(&runtime, FixedWindow::new(rate!("1/10s")), policy).await;
            send(&mut socket, ["a", "b"]).await;
            assert_eq!(receive(&mut socket).await, "a");
            assert_eq!(receive(&mut socket).await, format!("close 4001 {}", "é".repeat(61)));
        })
        .unwrap();
}

/// A peer that does not agree that it is over is left behind after five seconds, whatever it goes on sending.
#[test]
fn a_peer_that_does_not_answer_a_close_is_left() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let (server, mut socket) = pair(1 << 16).await;
            let policy = WsPolicy::new(runtime.clone()).action(WsAction::Close);
            let limit = client(&runtime, FixedWindow::new(rate!("1/m")));
            let mut server = WsThrottle::new(server, limit, policy);
            // It only ever writes.
            let clock = runtime.clone();
            runtime.spawn(async move {
                while socket.send(Message::text("more")).await.is_ok() {
                    clock.sleep(Duration::from_millis(100)).await;
                }
            });
            assert_eq!(server.next().await.unwrap().unwrap(), Message::text("more"));
            assert!(server.next().await.is_none());
            assert_eq!(millis(&runtime), 5_100, "the second message came after 100 ms");
            assert!(server.next().await.is_none(), "and it stays so");
        })
        .unwrap();
}

#[test]
fn a_denial_can_be_raised_and_more_be_read() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let policy = WsPolicy::new(runtime.clone()).action(WsAction::Raise);
            let mut socket = serve(&runtime, FixedWindow::new(rate!("1/10s")), policy).await;
            send(&mut socket, ["a", "b"]).await;
            assert_eq!(
                receive_all(&mut socket, 2).await,
                ["a", "raised: the message is over the rate limit; try again in 10s"]
            );
            runtime.sleep(Duration::from_secs(10)).await;
            send(&mut socket, ["c"]).await;
            assert_eq!(receive(&mut socket).await, "c");
        })
        .unwrap();
}

#[test]
fn ones_own_code_decides_what_becomes_of_each() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let asked = Arc::new(AtomicU32::new(0));
            let told = Arc::clone(&asked);
            let policy = WsPolicy::new(runtime.clone()).action(WsAction::ask(move |denial| {
                told.fetch_add(1, Ordering::Relaxed);
                let text = |message: &Message| message.to_text().unwrap().to_owned();
                match text(denial.message).as_str() {
                    "drop" => WsAnswer::Drop,
                    "notice" => WsAnswer::Notice,
                    "reply" => WsAnswer::Reply(Message::text(format!("told: {}", denial.notified))),
                    "delay" => WsAnswer::DelayOrClose,
                    "raise" => WsAnswer::Raise,
                    "pass" => WsAnswer::Pass,
                    _ => WsAnswer::Close(4000, "bye".to_owned()),
                }
            }));
            let mut socket = serve(&runtime, FixedWindow::new(rate!("1/10s")), policy).await;
            send(&mut socket, ["first", "drop", "reply", "notice", "notice", "pass", "raise"]).await;
            assert_eq!(receive_all(&mut socket, 2).await, ["first", "told: false"]);
            assert_eq!(json(&receive(&mut socket).await)["retry_after"], 10);
            assert_eq!(
                receive_all(&mut socket, 2).await,
                ["pass", "raised: the message is over the rate limit; try again in 10s"]
            );
            assert_eq!(asked.load(Ordering::Relaxed), 6);
            send(&mut socket, ["reply", "delay"]).await;
            assert_eq!(receive_all(&mut socket, 2).await, ["told: true", "delay"]);
            assert_eq!(millis(&runtime), 10_000);
            send(&mut socket, ["close"]).await;
            assert_eq!(receive(&mut socket).await, "close 4000 bye");
        })
        .unwrap();
}

#[test]
fn what_can_never_pass_is_said_to_and_never_waits() {
    for action in [WsAction::Notice, WsAction::Delay] {
        let runtime = Manual::new();
        runtime
            .run(async {
                let policy = WsPolicy::new(runtime.clone()).by_bytes().action(action);
                let mut socket = serve(&runtime, FixedWindow::new(rate!("100/10s")), policy).await;
                send(&mut socket, ["x".repeat(101), "y".repeat(100)]).await;
                let never =
                    json!({ "type": "rate_limit", "error": "too large for the rate limit", "never": true });
                assert_eq!(json(&receive(&mut socket).await), never);
                assert_eq!(receive(&mut socket).await, "y".repeat(100));
                assert_eq!(millis(&runtime), 0);
            })
            .unwrap();
    }
}

/// A strategy that queues delays by itself, whatever the policy says of denials; a message that finds it full
/// is refused with a notice.
#[test]
fn a_queue_delays_what_it_admits() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let limit = LeakyBucketQueue::new(rate!("1/s")).queue(3).unwrap();
            let policy = WsPolicy::new(runtime.clone());
            let mut socket = serve(&runtime, limit, policy).await;
            send(&mut socket, ["a", "b"]).await;
            assert_eq!(receive_all(&mut socket, 2).await, ["a", "b"]);
            assert_eq!(millis(&runtime), 1_000);
        })
        .unwrap();
}

/// Two connections of one client: when the one goes whose message is first, the other's moves up.
#[test]
fn a_turn_goes_to_the_next_when_its_connection_goes() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let limit = LeakyBucketQueue::new(rate!("1/s")).queue(10).unwrap();
            let storage = Local(Memory::builder().clock(runtime.clone()).build());
            let throttle = Throttle::builder("messages", limit, storage).build().unwrap();
            let (key, policy) = (ClientKey::connection(), Arc::new(WsPolicy::new(runtime.clone())));
            let mut sockets = Vec::new();
            for text in ["a", "b", "c", "d"] {
                let (server, mut socket) = pair(1 << 16).await;
                let client = throttle.client_for(key.clone());
                let mut server = WsThrottle::new(server, client, Arc::clone(&policy));
                send(&mut socket, [text]).await;
                if text == "a" {
                    assert_eq!(server.next().await.unwrap().unwrap(), Message::text("a"));
                } else {
                    assert!(runtime.timeout(Duration::from_millis(1), server.next()).await.is_err());
                }
                sockets.push((server, socket));
            }
            // Turns were told at 1, 2 and 3 s; the first two go.
            sockets.drain(1..3);
            let (mut server, _socket) = sockets.pop().unwrap();
            assert_eq!(server.next().await.unwrap().unwrap(), Message::text("d"));
            assert_eq!(millis(&runtime), 1_000);
            let stat = server.client().unwrap().stat().await.unwrap();
            assert_eq!(stat.queue_cost, 1, "nobody else has a place: {stat:?}");
        })
        .unwrap();
}

/// A place in a queue that is too far away is given back.
#[test]
fn a_turn_that_is_too_far_away_is_left_to_others() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let limit = LeakyBucketQueue::new(rate!("1/m")).queue(10).unwrap();
            let limited = client(&runtime, limit);
            let (server, mut socket) = pair(1 << 16).await;
            let policy = WsPolicy::new(runtime.clone()).max_delay(Duration::from_secs(30));
            let mut server = WsThrottle::new(server, limited, policy);
            send(&mut socket, ["a", "b", "c"]).await;
            assert_eq!(server.next().await.unwrap().unwrap(), Message::text("a"));
            assert!(runtime.timeout(Duration::from_millis(1), server.next()).await.is_err());
            let stat = server.client().unwrap().stat().await.unwrap();
            assert_eq!(stat.queue_size, 0, "neither of the others has a place: {stat:?}");
            assert_eq!(json(&receive(&mut socket).await)["retry_after"], 60);
        })
        .unwrap();
}
