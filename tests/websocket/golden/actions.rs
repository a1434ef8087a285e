//! Denied messages, by action, and the notices to the peer.

use std::time::Duration;

use tokio_tungstenite::tungstenite::Message;
use traffik::web::{ClientKey, WsAction, WsAnswer, WsDenial, WsNotices, WsThrottle};
use traffik::{All, FixedWindow, LeakyBucketQueue, TokenBucket, rate};
use traffik_test_support::faulty::{MILLI, SECOND, WELL, slow};
use traffik_test_support::ledger::{self, name};

use super::stage::Step::{Bytes, Close, Go, Long, Ping, Text, Wait};
use super::stage::{Scene, Stage, USUAL, play, scene};
use crate::wire::pair;

fn window() -> FixedWindow {
    FixedWindow::new(rate!("2/10s"))
}

/// Each action by its name.
fn actions() -> [(&'static str, WsAction<Message>); 5] {
    [
        ("notice", WsAction::Notice),
        ("close", WsAction::Close),
        ("delay, or notice", WsAction::Delay),
        ("delay, or close", WsAction::DelayOrClose),
        ("raise", WsAction::Raise),
    ]
}

/// The facts that one's own code gets, and its answers by the text of the message.
fn ask(stage: &Stage) -> WsAction<Message> {
    let stage = stage.clone();
    WsAction::ask(move |denial: &WsDenial<'_, Message>| {
        let (client, outcome) = (name(denial.client), ledger::outcome(denial.outcome));
        let known = if denial.notified { ", who knows" } else { "" };
        stage.note(&format!("  asked: {} {outcome} for {client}{known}", denial.throttle));
        for limit in denial.limits {
            stage.note(&format!("  asked: {} {}", limit.name, ledger::decision(&limit.decision)));
        }
        if let Some(failure) = denial.failure {
            stage.note(&format!("  asked: {failure}"));
        }
        stage.note(&format!("  asked: {}", denial.notice()));
        match denial.message.to_text().unwrap_or("binary") {
            "drop" => WsAnswer::Drop,
            "notice" => WsAnswer::Notice,
            "reply" => WsAnswer::Reply(Message::text("a reply")),
            "delay" => WsAnswer::DelayOrClose,
            "raise" => WsAnswer::Raise,
            "pass" => WsAnswer::Pass,
            _ => WsAnswer::Close(4000, "bye".to_owned()),
        }
    })
}

fn scenes() -> Vec<Scene> {
    let mut scenes = Vec::new();
    for (name, action) in actions() {
        let denied = action.clone();
        scenes.push(scene(name, move |stage| {
            let action = denied.clone();
            async move { stage.plain(window(), stage.policy().action(action), USUAL).await }
        }));
        scenes.push(scene(format!("{name}: too large, and too long a wait"), move |stage| {
            let action = action.clone();
            async move {
                let policy = stage.policy().by_bytes().action(action).max_delay(2 * SECOND);
                let steps =
                    [Long(11), Bytes(9), Text("ab"), Wait(9_000), Text("cd"), Wait(2_000), Text("ef")];
                stage.plain(FixedWindow::new(rate!("10/10s")), policy, steps).await;
            }
        }));
    }
    scenes.push(scene("ask", |stage| async move {
        let limits = All([window(), FixedWindow::new(rate!("20/h"))]);
        let throttle = stage.throttle(limits, &[]).policies(["short", "long"]).build().unwrap();
        let policy = stage.policy().action(ask(&stage)).extra("room", "blue");
        let words = ["1", "2", "drop", "reply", "notice", "notice", "reply", "pass", "raise", "delay"];
        let mut steps = words.map(Text).to_vec();
        steps.extend([Wait(11_000), Text("3"), Text("pass"), Text("close")]);
        stage.connection(throttle.client_for(ClientKey::of("ann")), policy, steps).await;
    }));
    scenes
}

#[test]
fn golden_actions() {
    play("actions", &scenes());
}

fn notices() -> Vec<Scene> {
    let often = |name: &'static str, notices| {
        scene(name, move |stage| async move {
            let policy = stage.policy().notices(notices);
            let steps = (0..12).flat_map(|_| [Text("x"), Wait(300)]);
            stage.plain(TokenBucket::new(rate!("2/s")), policy, steps.chain([Close])).await;
        })
    };
    vec![
        often("once in a window", WsNotices::EachWindow),
        often("once for each wait", WsNotices::EachWait),
        often("for each message", WsNotices::Each),
        scene("what else is told", |stage| async move {
            let policy =
                stage.policy().extra("room", "a \"blue\"\n\\").extra("number", -7).extra("flag", true);
            stage.plain(window(), policy, USUAL).await;
        }),
        scene("a message of one's own", |stage| async move {
            let policy = stage.policy().notice_by(|denial| Message::binary(vec![1; denial.notice().len()]));
            stage.plain(window(), policy, USUAL).await;
        }),
        scene("the least wait", |stage| async move {
            let throttle =
                stage.throttle(window(), &[]).min_wait(Duration::from_millis(20_001)).build().unwrap();
            stage.connection(throttle.client_for(ClientKey::of("ann")), stage.policy(), USUAL).await;
            let policy = stage.policy().action(WsAction::Raise);
            stage.connection(throttle.client_for(ClientKey::of("ann")), policy, USUAL).await;
        }),
        scene("another code and reason", |stage| async move {
            let policy = stage.policy().action(WsAction::Close).close_with(4001, "enough of it");
            stage.plain(window(), policy, USUAL).await;
            let policy = stage.policy().action(WsAction::Close).close_with(4002, &"é".repeat(100));
            stage.plain(window(), policy, USUAL).await;
        }),
    ]
}

#[test]
fn golden_notices() {
    play("notices", &notices());
}

/// Messages that wait, and peers that do not.
fn waits() -> Vec<Scene> {
    let delay = || WsAction::Delay;
    let queue = || LeakyBucketQueue::new(rate!("1/s")).queue(5).unwrap();
    vec![
        scene("a queue", move |stage| async move {
            let steps = [Text("a"), Text("b"), Text("c"), Ping, Text("d"), Wait(10_000), Close];
            stage.plain(queue(), stage.policy(), steps).await;
        }),
        scene("a turn that is too far away", move |stage| async move {
            let policy = stage.policy().max_delay(1_500 * MILLI);
            let steps = [Text("a"), Text("b"), Text("c"), Wait(5_000), Text("d"), Close];
            stage.plain(queue(), policy, steps).await;
        }),
        scene("a close behind messages that wait", move |stage| async move {
            let limit = TokenBucket::new(rate!("60/min")).burst(1).unwrap();
            let steps = [Text("a"), Text("b"), Text("c"), Close];
            stage.plain(limit, stage.policy().action(delay()), steps).await;
        }),
        scene("a peer that goes while a message waits", move |stage| async move {
            let limit = TokenBucket::new(rate!("60/min")).burst(1).unwrap();
            let steps = [Text("a"), Text("b"), Wait(100), Go];
            stage.plain(limit, stage.policy().action(delay()), steps).await;
        }),
        scene("a store that takes its time", move |stage| async move {
            let courses = [slow(SECOND), slow(SECOND), slow(SECOND), WELL];
            let throttle = stage.throttle(window(), &courses).build().unwrap();
            let steps = [Text("a"), Ping, Text("b"), Text("c"), Wait(9_000), Text("d"), Close];
            stage.connection(throttle.client_for(ClientKey::of("ann")), stage.policy(), steps).await;
        }),
        scene("a store that takes too long", move |stage| async move {
            let courses = [slow(10 * SECOND), WELL];
            let throttle = stage.throttle(window(), &courses).build().unwrap();
            let policy = stage.policy().max_delay(5 * SECOND);
            let steps = [Text("a"), Ping, Text("b"), Text("c"), Wait(30_000), Text("d"), Close];
            stage.connection(throttle.client_for(ClientKey::of("ann")), policy, steps).await;
        }),
        scene("a turn that is given back to a store that takes its time", move |stage| async move {
            let courses = [WELL, slow(SECOND), slow(SECOND)];
            let queue = LeakyBucketQueue::new(rate!("1/min")).queue(5).unwrap();
            let throttle = stage.throttle(queue, &courses).build().unwrap();
            let policy = stage.policy().max_delay(30 * SECOND);
            let steps = [Text("a"), Text("b"), Text("c"), Wait(9_000), Text("d"), Close];
            stage.connection(throttle.client_for(ClientKey::of("ann")), policy, steps).await;
        }),
        scene("a peer that does not agree to be closed", move |stage| async move {
            let throttle = stage.throttle(window(), &[]).build().unwrap();
            let (server, socket) = pair(1 << 16).await;
            let policy = stage.policy().action(WsAction::Close);
            stage.serve("", WsThrottle::new(server, throttle.client_for(ClientKey::of("ann")), policy));
            let steps = [Text("a"), Text("b"), Text("c"), Wait(1_000), Text("d")];
            stage.peer("deaf ", socket).steps(steps).await;
        }),
    ]
}

#[test]
fn golden_waits() {
    play("waits", &waits());
}
