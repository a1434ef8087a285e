//! The server: accepts connections, routes requests to the throttles or the admin paths, reloads the file,
//! and drains connections on shutdown.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use futures_util::future::{OptionFuture, join_all};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind};
use tokio::sync::watch::Sender;
use traffik::runtime::{Runtime, Tokio};
use traffik::web::{PeerAddress, ResponseBody};

use crate::admin::page;
use crate::admin::paths::{self, Audience};
use crate::auth;
use crate::config::file;
use crate::config::options::Options;
use crate::gateway::Gateway;
use crate::limits::plan::ThrottlePlan;
use crate::observe::counters::{self, COUNTERS, OpenConnection};
use crate::observe::{denial_log, log};
use crate::proxy::target;
use crate::response::Body;
use crate::rls::listener;
use crate::server::plan_texts::PlanTexts;
use crate::server::signals::{self, on};
use crate::stores::store::{SharedStore, without_secrets};

/// Longest time that shutdown then waits for the stores to close.
const CLOSE: Duration = Duration::from_secs(1);

/// Longest time that a client may take to send the head of a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// Interval at which the file is checked for changes.
const LOOK: Duration = Duration::from_millis(500);

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

/// Prints the throttles of the options, and asks each store to write unless `--offline` is given.
async fn check(options: &Options, plans: &[ThrottlePlan], gateway: &Gateway) -> Result<(), String> {
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

/// Binds a listener. Returns it with its address, in which port 0 is replaced by the port that was picked.
async fn listen(option: &str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), String> {
    let on_option = |error| format!("{option} {address}: {error}");
    let listener = TcpListener::bind(address).await.map_err(on_option)?;
    let address = listener.local_addr().map_err(on_option)?;
    Ok((listener, address))
}

/// The door that a listener belongs to.
#[derive(Clone, Copy, PartialEq)]
enum Door {
    /// The service behind, and the admin paths for this audience.
    Clients(Audience),
    /// The admin paths alone.
    Admin,
    /// Forward auth.
    Auth,
}

/// Accepts connections and serves each in a task, for ever. `end` signals the connections to end.
async fn accept(listener: &TcpListener, door: Door, gateway: &Arc<Gateway>, end: &Sender<bool>) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    server.http2().timer(TokioTimer::new());
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            // Most likely the process is out of file descriptors; connections that end free some.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        // An error means that the client is gone already; reading will fail then.
        let _ = stream.set_nodelay(true);
        let (gateway, mut end) = (Arc::clone(gateway), end.subscribe());
        let open = OpenConnection::new();
        let service = service_fn(move |request| route(request, peer, door, Arc::clone(&gateway)));
        let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
        Tokio.spawn(async move {
            let _open = open;
            let mut connection = pin!(connection);
            tokio::select! {
                ended = connection.as_mut() => {
                    // An error of one connection concerns its client only, who sees it.
                    if let Err(error) = ended {
                        tracing::debug!(%peer, "a connection failed: {error}");
                    }
                    return;
                }
                _ = end.wait_for(|ends| *ends) => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        });
    }
}

/// Routes a request to the admin paths or to the throttles.
async fn route(
    mut request: Request<Incoming>,
    peer: SocketAddr,
    door: Door,
    gateway: Arc<Gateway>,
) -> Result<Response<ResponseBody<Body>>, Infallible> {
    let audience = match door {
        Door::Clients(audience) => audience,
        Door::Admin => Audience::Everybody,
        Door::Auth => return Ok(auth::service::answer(request, peer, &gateway).await),
    };
    if let (Door::Clients(_), Some(refused)) = (door, target::refused(&request)) {
        return Ok(refused.map(ResponseBody::from));
    }
    if door == Door::Admin || request.uri().path().starts_with(paths::BELOW) {
        return Ok(paths::answer(&request, peer, audience, &gateway).await.map(ResponseBody::from));
    }
    counters::count(&COUNTERS.proxy_requests);
    request.extensions_mut().insert(PeerAddress::new(peer));
    let handler = Arc::clone(&gateway.pipeline.load().doors.proxy);
    handler(request).await
}

/// The files of throttles, each with its content if it can be read.
type FileContents = Vec<(PathBuf, Option<Vec<u8>>)>;

/// Reads the files of throttles, to notice a change. What is no whole file counts as not readable.
fn contents(options: &Options) -> FileContents {
    let read = |path: PathBuf| (path.clone(), file::bytes(&path).ok());
    options.files().into_iter().map(read).collect()
}

/// Reloads the file when it changes and on SIGHUP. If the file has an error, logs it and keeps the throttles.
async fn watch(
    options: Options,
    mut known: FileContents,
    mut described: PlanTexts,
    mut hangup: Signal,
    gateway: Arc<Gateway>,
) {
    let (mut looks, mut seen, mut is_forced) = (Tokio.interval(LOOK), known.clone(), false);
    loop {
        tokio::select! {
            () = looks.tick() => {}
            _ = hangup.recv() => is_forced = true,
        }
        let before = std::mem::replace(&mut seen, contents(&options));
        // A file that changed since the last look may be half written, so it is looked at again.
        if seen != before || (!is_forced && seen == known) {
            continue;
        }
        (known, is_forced) = (seen.clone(), false);
        match options.plans().and_then(|plans| Ok((gateway.replace(&plans)?, plans))) {
            Ok((losses, plans)) => {
                counters::count(&COUNTERS.reloads);
                let next = PlanTexts::of(&plans);
                let changes = next.changes_since(&described);
                described = next;
                let words: String = changes.iter().chain(&losses).map(|it| format!("; {it}")).collect();
                let files: Vec<_> = known.iter().map(|(path, _)| path.display().to_string()).collect();
                tracing::info!("reloaded {}{words}", files.join(", "));
            }
            Err(error) => {
                counters::count(&COUNTERS.reloads_refused);
                tracing::error!("{error}\nthe previous configuration stays in use");
            }
        }
    }
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
