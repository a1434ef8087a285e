//! The clients that all throttles deny most.

use http::StatusCode;
use traffik::DeniedKey;

use crate::admin::page;
use crate::gateway::Gateway;
use crate::response::{GatewayResponse, text, typed};
use crate::throttles::pipeline::ThrottleControl;

/// Answers with a line for each client: its number of denials, a tab, its name and the throttle. Most come
/// first.
pub(crate) async fn answer(gateway: &Gateway) -> GatewayResponse {
    let controls = gateway.pipeline.load().controls.clone();
    // Each throttle that denied somebody has a thousand names to look through, which could delay the requests
    // of this thread.
    let listed = tokio::task::spawn_blocking(move || lines(&controls));
    match listed.await {
        Ok(lines) => page::as_declared(typed("text/plain; charset=utf-8", lines)),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
    }
}

fn lines(controls: &[ThrottleControl]) -> String {
    let most = |control: &ThrottleControl| {
        let named = |it: DeniedKey| (it.denials, format!("{} {}", it.name, control.uid));
        control.denials.most().into_iter().map(named).collect::<Vec<_>>()
    };
    let mut all: Vec<_> = controls.iter().flat_map(most).collect();
    all.sort_by_key(|(denials, _)| std::cmp::Reverse(*denials));
    all.into_iter().map(|(denials, name)| format!("{denials}\t{name}\n")).collect()
}
