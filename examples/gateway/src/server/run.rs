//! The start and the end of the server.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures_util::future::{OptionFuture, join_all};
use tokio::net::TcpListener;
use tokio::signal::unix::SignalKind;
use tokio::sync::watch::Sender;
use traffik::runtime::{Runtime, Tokio};

use crate::admin::page;
use crate::admin::paths::Audience;
use crate::config::options::Options;
use crate::gateway::Gateway;
use crate::observe::counters::COUNTERS;
use crate::observe::{denial_log, log};
use crate::rls::listener;
use crate::server::accept::accept;
use crate::server::check::check;
use crate::server::plan_texts::PlanTexts;
use crate::server::reload::{contents, watch};
use crate::server::route::Door;
use crate::server::signals::{self, on};
use crate::stores::store::SharedStore;

/// Longest time that shutdown then waits for the stores to close.
const CLOSE: Duration = Duration::from_secs(1);

/// Serves until SIGTERM or SIGINT. With `--check`, only checks the options.
///
/// # Errors
///
/// Fails if an option or the file is wrong, an address cannot be bound, or a signal handler cannot be
/// installed.
pub(crate) async fn run(options: Options) -> Result<(), String> {
    // Read the file before `Gateway::new` does, so that `watch` sees every change after that.
    let known = contents(&options);
    let plans = options.plans()?;
    let gateway = Arc::new(Gateway::new(&options, &plans)?);
    if options.check {
        return check(&options, &plans, &gateway).await;
    }
    let (listener, address) = listen("--listen", options.listener.listen).await?;
    let admin = OptionFuture::from(options.operation.admin.map(|admin| listen("--admin", admin)))
        .await
        .transpose()?;
    let auth = OptionFuture::from(options.auth.auth.map(|auth| listen("--auth", auth))).await.transpose()?;
    let rls = OptionFuture::from(options.rls.rls.map(|rls| listen("--rls", rls))).await.transpose()?;
    let drain = options.listener.drain.0;
    let mut terminate = on(SignalKind::terminate())?;
    let mut interrupt = on(SignalKind::interrupt())?;
    LazyLock::force(&COUNTERS);
    log::say(&format!("listening on http://{address}"));
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "listening on http://{address}");
    if let Some((_, address)) = &admin {
        log::say(&format!("admin paths on http://{address}"));
        tracing::info!("admin paths on http://{address}");
    }
    if let Some((_, address)) = &auth {
        log::say(&format!("forward auth on http://{address}"));
        tracing::info!("forward auth on http://{address}");
    }
    if let Some((listener, address)) = rls {
        log::say(&format!("rate limit service on http://{address}"));
        tracing::info!("rate limit service on http://{address}");
        Tokio.spawn(listener::serve(listener, Arc::clone(&gateway)));
    }
    let described = PlanTexts::of(&plans);
    described.log();
    if !options.files().is_empty() {
        Tokio.spawn(watch(options, known, described, on(SignalKind::hangup())?, Arc::clone(&gateway)));
    }
    Tokio.spawn(sample(Arc::clone(&gateway)));

    // Admin connections end after those of clients, so that `readyz` answers while the gateway drains.
    let admin_end = Sender::new(false);
    let admin_listener = admin.as_ref().map(|(listener, _)| listener);
    let admins = admin_listener.map(|it| accept(it, Door::Admin, &gateway, &admin_end));
    let mut admins = pin!(OptionFuture::from(admins));
    let signal = {
        let audience = if admin.is_some() { Audience::Nobody } else { Audience::ThisMachine };
        let clients = accept(&listener, Door::Clients(audience), &gateway, &gateway.end);
        let proxies = auth.as_ref().map(|(listener, _)| accept(listener, Door::Auth, &gateway, &gateway.end));
        tokio::select! {
            () = clients => return Ok(()),
            Some(()) = OptionFuture::from(proxies) => return Ok(()),
            Some(()) = &mut admins => return Ok(()),
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    };
    drop((listener, auth));
    Tokio.spawn(signals::end_on_second(terminate, interrupt));
    let open = COUNTERS.connections_open.load(Ordering::Relaxed);
    tracing::info!(connections = open, "shutting down on {signal}; requests under way have {drain:?}");
    gateway.events.stop();
    let tasks = &gateway.common.tasks;
    tasks.close();
    // Connections that are still open after `--drain` are cut off.
    let drained = async {
        gateway.end.send_replace(true);
        gateway.end.closed().await;
        tasks.wait().await;
        admin_end.send_replace(true);
        admin_end.closed().await;
    };
    let ended = tokio::select! {
        ended = Tokio.timeout(drain, drained) => ended,
        Some(()) = &mut admins => Ok(()),
    };
    denial_log::end();
    match ended {
        Ok(()) => tracing::info!("stopped"),
        Err(_) => tracing::warn!("stopped; connections still open after {drain:?} were cut off"),
    }
    // Close the stores last: no request is left that could use an answer of theirs.
    let stores = Arc::clone(&gateway.pipeline.load().stores);
    let _ = Tokio.timeout(CLOSE, join_all(stores.iter().map(SharedStore::close))).await;
    Ok(())
}

/// Binds a listener. Returns it with its address, in which port 0 is replaced by the port that was picked.
async fn listen(option: &str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), String> {
    let on_option = |error| format!("{option} {address}: {error}");
    let listener = TcpListener::bind(address).await.map_err(on_option)?;
    let address = listener.local_addr().map_err(on_option)?;
    Ok((listener, address))
}

/// Publishes a sample to the live page every second.
async fn sample(gateway: Arc<Gateway>) {
    let mut seconds = Tokio.interval(Duration::from_secs(1));
    loop {
        gateway.events.tick(page::sample(&gateway));
        denial_log::tick();
        seconds.tick().await;
    }
}
