//! How long reading may be stopped by a store that is slow, or never answers.

use std::time::Duration;

use futures_util::SinkExt;
use tokio_tungstenite::tungstenite::Message;
use traffik::runtime::{Manual, Runtime};
use traffik::web::{
    ClientKey, Enforcement, RequestOutcome, Tally, Throttle, WsAction, WsOnError, WsPolicy, WsThrottle,
};
use traffik::{FixedWindow, LeakyBucketQueue, Strategy, TokenBucket, rate};

use super::wire::{Socket, echo, json, millis, pair, receive, send};
use traffik_test_support::faulty::{Course, Faulty, MILLI, SECOND, WELL, slow};

const BOUND: u64 = 5_000;

/// Sends and never hears.
const LOST: Course = slow(Duration::from_secs(1_000_000));

fn policy(runtime: &Manual) -> WsPolicy<u32, Message> {
    WsPolicy::new(runtime.clone()).max_delay(Duration::from_millis(BOUND))
}

/// A connection that echoes, whose limit is in a store, and who observes it.
async fn connect<S: Strategy>(
    runtime: &Manual,
    (store, limit, enforcement): (&Faulty<S>, S, Enforcement),
    policy: WsPolicy<S::Cost, Message>,
) -> (Socket, Tally) {
    let (server, socket) = pair(1 << 16).await;
    let tally = Tally::default();
    let throttle = Throttle::builder("messages", limit, store.clone()).observe(tally.clone());
    let client = throttle.enforcement(enforcement).build().unwrap().client_for(ClientKey::connection());
    runtime.spawn(echo(WsThrottle::new(server, client, policy)));
    (socket, tally)
}

/// Pings behind messages: what is answered until the pong, and when that is there.
async fn ping(runtime: &Manual, socket: &mut Socket, messages: u32) -> (Vec<String>, u64) {
    let began = millis(runtime);
    send(socket, (0..messages).map(|number| number.to_string())).await;
    socket.send(Message::Ping("now".into())).await.unwrap();
    let mut told = Vec::new();
    loop {
        let answer = runtime.timeout(Duration::from_secs(1_000), receive(socket)).await;
        match answer.expect("reading goes on").as_str() {
            "pong now" => return (told, millis(runtime) - began),
            other => told.push(other.to_owned()),
        }
    }
}

#[test]
fn a_store_that_never_answers_stops_reading_no_longer_than_the_bound() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let store = Faulty::new(&runtime);
            let raising = policy(&runtime).on_error(WsOnError::Raise);
            let limit = FixedWindow::new(rate!("9/m"));
            let (mut socket, tally) = connect(&runtime, (&store, limit, Enforcement::Full), raising).await;
            store.next(&[LOST, WELL]);
            let (told, took) = ping(&runtime, &mut socket, 2).await;
            assert_eq!(
                told,
                ["raised: the storage did not answer within the time that a message may wait", "1"]
            );
            assert_eq!((took, tally.count("messages", RequestOutcome::Failed)), (BOUND, 1));

            // Where nothing comes after it, a message waits as long, and nothing is stopped.
            store.next(&[LOST]);
            let (told, took) = ping(&runtime, &mut socket, 1).await;
            assert_eq!((told.len(), took), (0, 0));
            assert!(receive(&mut socket).await.starts_with("raised"));
            assert_eq!(millis(&runtime), 2 * BOUND);
        })
        .unwrap();
}

#[test]
fn however_slow_a_store_is_a_ping_is_answered_within_the_bound() {
    for (each_way, action) in [
        (50 * MILLI, WsAction::Notice),
        (300 * MILLI, WsAction::Raise),
        (300 * MILLI, WsAction::Delay),
        (LOST.takes[0], WsAction::Delay),
    ] {
        let runtime = Manual::new();
        runtime
            .run(async {
                let store = Faulty::new(&runtime);
                store.always(slow(each_way));
                let limit = TokenBucket::new(rate!("1000/s")).burst(5).unwrap();
                let policy = policy(&runtime).action(action);
                let limited = (&store, limit, Enforcement::Full);
                let (mut socket, _) = connect(&runtime, limited, policy).await;
                let (_, took) = ping(&runtime, &mut socket, 1_000).await;
                assert!((BOUND / 2..=BOUND).contains(&took), "{took} ms");
            })
            .unwrap();
    }
}

#[test]
fn time_that_reading_is_stopped_counts_for_whatever_a_message_waits() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let store = Faulty::new(&runtime);
            store.always(slow(SECOND));
            // The store takes 2 s, then it is 2 s until the next one may pass, and nothing is left for the one after.
            let limit = LeakyBucketQueue::new(rate!("15/min")).queue(10).unwrap();
            let limited = (&store, limit, Enforcement::Full);
            let (mut socket, _) = connect(&runtime, limited, policy(&runtime)).await;
            let (told, took) = ping(&runtime, &mut socket, 4).await;
            assert!(took <= BOUND, "{took} ms");
            assert_eq!(told.first().map(String::as_str), Some("0"));
            assert_eq!(json(&told[1])["type"], "rate_limit", "{told:?}");
        })
        .unwrap();
}

#[test]
fn neither_a_refund_nor_a_shadow_holds_up_a_message_for_longer() {
    let runtime = Manual::new();
    runtime
        .run(async {
            let store = Faulty::new(&runtime);
            store.next(&[WELL, WELL, LOST]);
            let limit = LeakyBucketQueue::new(rate!("1/m")).queue(10).unwrap();
            let limited = (&store, limit, Enforcement::Full);
            let (mut socket, _) = connect(&runtime, limited, policy(&runtime)).await;
            let (told, took) = ping(&runtime, &mut socket, 3).await;
            assert_eq!((told[0].as_str(), json(&told[1])["type"].as_str()), ("0", Some("rate_limit")));
            assert_eq!((took, store.calls()), (BOUND, 5), "three checks, and two are given back");

            let store = Faulty::new(&runtime);
            store.next(&[LOST, WELL]);
            let limited = (&store, FixedWindow::new(rate!("1/m")), Enforcement::Shadow);
            let (mut socket, _) = connect(&runtime, limited, policy(&runtime)).await;
            // Nobody can ask it in the background.
            let (told, took) = ping(&runtime, &mut socket, 2).await;
            assert_eq!((told, took), (vec!["0".to_owned(), "1".to_owned()], BOUND));
        })
        .unwrap();
}
