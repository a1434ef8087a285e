//! The start and the end of the server.

use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures_util::future::{OptionFuture, join_all};
use tokio::signal::unix::SignalKind;
use tokio::sync::watch::Sender;
use traffik::runtime::{Runtime, Tokio};

use crate::access::token::TokenCheck;
use crate::config::listener_options::TlsFiles;
use crate::config::options::Options;
use crate::gateway::Gateway;
use crate::observe::counters::COUNTERS;
use crate::observe::denial_log;
use crate::server::check::check;
use crate::server::file_watch::FileWatch;
use crate::server::listeners::Listeners;
use crate::server::plan_texts::PlanTexts;
use crate::server::reload;
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
    // The files are read before the throttles are, so that every later change is seen.
    let files = options.clone();
    let watch = FileWatch::new(move || files.files())?;
    let files = options.listener.tls();
    let certificate = FileWatch::new(move || files.iter().flat_map(TlsFiles::paths).collect())?;
    let files: Vec<_> = options.operation.admin_token_file.iter().cloned().collect();
    let token = FileWatch::new(move || files.clone())?;
    let plans = options.plans()?;
    let gateway = Arc::new(Gateway::new(&options, &plans)?);
    if options.check {
        return check(&options, &plans, &gateway).await;
    }
    let listeners = Listeners::bind(&options, &gateway).await?;
    let drain = options.listener.drain.0;
    let mut terminate = on(SignalKind::terminate())?;
    let mut interrupt = on(SignalKind::interrupt())?;
    LazyLock::force(&COUNTERS);
    listeners.tell();
    let described = PlanTexts::of(&plans);
    described.log();
    if !options.files().is_empty() {
        Tokio.spawn(reload::throttles(options, watch, described, Arc::clone(&gateway)));
    }
    if let Some(tls) = listeners.clients.tls.clone() {
        Tokio.spawn(reload::secret("certificate", move || tls.reload(), certificate));
    }
    if gateway.admin.token.is_some() {
        let gateway = Arc::clone(&gateway);
        let read = move || gateway.admin.token.as_ref().map_or(Ok(()), TokenCheck::reload);
        Tokio.spawn(reload::secret("token", read, token));
    }
    Tokio.spawn(sample(Arc::clone(&gateway)));

    // Admin connections end after those of clients, so that `readyz` answers while the gateway drains.
    let admin_end = Sender::new(false);
    let Listeners { clients, admin, auth, rls } = listeners;
    let admins = admin.as_ref().map(|it| it.accept(&gateway, &admin_end));
    let mut admins = pin!(OptionFuture::from(admins));
    let signal = {
        let others = [&auth, &rls].map(|it| it.as_ref().map(|it| it.accept(&gateway, &gateway.end)));
        let [auth, rls] = others.map(OptionFuture::from);
        tokio::select! {
            () = clients.accept(&gateway, &gateway.end) => return Ok(()),
            Some(()) = auth => return Ok(()),
            Some(()) = rls => return Ok(()),
            Some(()) = &mut admins => return Ok(()),
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    };
    drop((clients, auth, rls));
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

/// Publishes a sample to the live page every second.
async fn sample(gateway: Arc<Gateway>) {
    let mut seconds = Tokio.interval(Duration::from_secs(1));
    loop {
        gateway.events.tick(&gateway.pipeline.load(), &gateway.tally);
        denial_log::tick();
        seconds.tick().await;
    }
}
