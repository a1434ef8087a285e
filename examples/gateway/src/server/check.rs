//! `--check`: prints what the options come to, and serves nothing.

use std::sync::Arc;

use http::Request;
use traffik::web::PeerAddress;

use crate::config::options::Options;
use crate::gateway::Gateway;
use crate::limits::plan::ThrottlePlan;
use crate::observe::log;
use crate::proxy::target;
use crate::stores::store::without_secrets;

/// Prints the throttles of the options, and asks each store to write unless `--offline` is given.
pub(super) async fn check(
    options: &Options,
    plans: &[ThrottlePlan],
    gateway: &Gateway,
) -> Result<(), String> {
    plans.iter().for_each(|plan| log::print(&plan.to_string()));
    if let Some(messages) = &gateway.upstream.echo.messages {
        log::print(messages);
    }
    if let Some((method, uri)) = &options.request {
        let mut request = Request::builder().method(method).uri(uri.clone());
        if let Some(headers) = request.headers_mut() {
            headers.extend(options.request_header.iter().cloned().map(|(name, value)| (Some(name), value)));
        }
        let peer = PeerAddress::new((options.request_from, 0).into());
        let request = request.extension(peer).body(()).map_err(|error| format!("--request: {error}"))?;
        match target::refusal(request.uri()) {
            Some(reason) => log::print(&format!("400: {reason}")),
            None => {
                for control in &*gateway.pipeline.load().controls {
                    let explained = (control.explain)(request.clone()).await;
                    log::print(explained.trim_end_matches('\n'));
                }
            }
        }
    }
    if !options.offline {
        let stores = Arc::clone(&gateway.pipeline.load().stores);
        for store in stores.iter() {
            let is_on = |plan: &&ThrottlePlan| {
                plan.storage.url().is_some_and(|url| store.name().starts_with(&without_secrets(url)))
            };
            store.ready().await.map_err(|error| {
                let plan = plans.iter().find(is_on);
                let setting = plan.map(|plan| format!("{}{}", plan.place, plan.setting("storage")));
                format!("{} {}: {error}", setting.unwrap_or_default(), store.name())
            })?;
        }
    }
    Ok(())
}
