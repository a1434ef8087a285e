//! Messages about which the storage cannot decide.

use std::time::Duration;

use tokio_tungstenite::tungstenite::Message;
use traffik::web::{ClientKey, ErrorAction, OnError, WsAction, WsAnswer, WsErrorAction, WsOnError};
use traffik::{ErrorKind, FixedWindow, rate};
use traffik_test_support::faulty::{Course, WELL, after, before};

use super::stage::Step::{Close, Ping, Text, Wait};
use super::stage::{Scene, Stage, play, scene};

fn window() -> FixedWindow {
    FixedWindow::new(rate!("4/10s"))
}

const COURSES: [Course; 5] =
    [WELL, before(ErrorKind::Unavailable), after(ErrorKind::Timeout), WELL, before(ErrorKind::Full)];

/// The remedies of the throttle and of the policy, and the action on denied messages.
async fn fail(stage: &Stage, throttle: OnError, policy: Option<WsOnError>, action: WsAction<Message>) {
    let throttle = stage.throttle(window(), &COURSES).on_error(throttle).build().unwrap();
    let own = stage.policy().action(action).extra("room", "blue");
    let own = match policy {
        Some(on_error) => own.on_error(on_error),
        None => own,
    };
    let steps = ["a", "b", "c", "d", "e", "f"].map(Text).into_iter().flat_map(|text| [text, Wait(700)]);
    let steps = steps.chain([Ping, Wait(10_000), Text("g"), Close]);
    stage.connection(throttle.client_for(ClientKey::of("ann")), own, steps).await;
}

fn actions() -> [(&'static str, WsAction<Message>); 6] {
    [
        ("notice", WsAction::Notice),
        ("close", WsAction::Close),
        ("delay", WsAction::Delay),
        ("raise", WsAction::Raise),
        ("pass", WsAction::ask(|_| WsAnswer::Pass)),
        (
            "reply",
            WsAction::ask(|denial| {
                let failure = denial.failure.map_or("none".to_owned(), ToString::to_string);
                WsAnswer::Reply(Message::text(format!("{failure}, {} limits", denial.limits.len())))
            }),
        ),
    ]
}

fn remedies() -> Vec<(&'static str, OnError, Option<WsOnError>)> {
    let wait = Duration::from_millis(2_500);
    let asked = WsOnError::ask_failure(|failure| match failure.kind() {
        ErrorKind::Unavailable => WsErrorAction::Allow,
        ErrorKind::Timeout => WsErrorAction::ThrottleFor(Duration::from_secs(4)),
        ErrorKind::Full => WsErrorAction::Raise,
        _ => WsErrorAction::Throttle,
    });
    vec![
        ("throttled by the throttle", OnError::Throttle, None),
        ("throttled by the throttle, with a wait", OnError::ThrottleFor(wait), None),
        ("allowed by the throttle", OnError::Allow, None),
        ("raised by the throttle", OnError::Raise, None),
        ("asked of the throttle", OnError::ask(|_| ErrorAction::Allow), None),
        ("throttled by the policy", OnError::Allow, Some(WsOnError::Throttle)),
        ("throttled by the policy, with a wait", OnError::Allow, Some(WsOnError::ThrottleFor(wait))),
        ("allowed by the policy", OnError::Throttle, Some(WsOnError::Allow)),
        ("raised by the policy", OnError::Allow, Some(WsOnError::Raise)),
        ("asked of the policy", OnError::Allow, Some(asked)),
    ]
}

#[test]
fn golden_failures() {
    let mut scenes: Vec<Scene> = Vec::new();
    for (name, throttle, policy) in remedies() {
        scenes.push(scene(name, move |stage| {
            let (throttle, policy) = (throttle.clone(), policy.clone());
            async move { fail(&stage, throttle, policy, WsAction::Notice).await }
        }));
    }
    for (name, action) in actions().into_iter().skip(1) {
        scenes.push(scene(format!("throttled, then {name}"), move |stage| {
            let action = action.clone();
            async move { fail(&stage, OnError::Throttle, None, action).await }
        }));
    }
    scenes.push(scene("no limit is known", |stage| async move {
        let throttle = stage.throttle(window(), &[]).strategy_by(|_| window()).build().unwrap();
        stage.connection(throttle.client_for(ClientKey::of("ann")), stage.policy(), [Text("a"), Close]).await;
    }));
    play("failures", &scenes);
}
