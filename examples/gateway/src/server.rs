//! The server: accepts connections, keeps its own paths out of every limit, reads its file anew, and drains
//! when asked to stop.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{OptionFuture, join_all};
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use traffik::runtime::{Runtime, Tokio};
use traffik::web::{PeerAddress, ResponseBody};

use crate::config;
use crate::gateway::Gateway;
use crate::options::Options;
use crate::own::{self, Audience};
use crate::page;
use crate::response::{Body, text};
use crate::stores::SharedStore;
use crate::target;

/// How long requests under way may take to finish once the server is asked to stop.
const DRAIN: Duration = Duration::from_secs(10);

/// How long stores may take to be closed then: what is still asked of them was cut off.
const CLOSE: Duration = Duration::from_secs(1);

/// How long a client may take to send the head of a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// How often the file is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Serves until SIGTERM or SIGINT; or only says what the options come to, if that is what they ask.
pub(crate) async fn run(options: Options) -> Result<(), String> {
    // Before it is taken, so that no change of it goes unseen.
    let known = options.config.as_ref().and_then(|path| std::fs::read(path).ok());
    let gateway = Arc::new(Gateway::new(&options)?);
    if options.check {
        return check(&options, &gateway).await;
    }
    let (listener, address) = listen("--listen", options.listen).await?;
    let admin = OptionFuture::from(options.admin.map(|admin| listen("--admin", admin))).await.transpose()?;
    let mut terminate = on(SignalKind::terminate())?;
    let mut interrupt = on(SignalKind::interrupt())?;
    if let Some(path) = options.config {
        Tokio.spawn(watch(path, known, on(SignalKind::hangup())?, Arc::clone(&gateway)));
    }
    Tokio.spawn(sample(Arc::clone(&gateway)));
    println!("listening on http://{address}");
    if let Some((_, address)) = &admin {
        println!("its own paths on http://{address}");
    }

    {
        let audience = if admin.is_some() { Audience::Nobody } else { Audience::ThisMachine };
        let clients = accept(&listener, audience, &gateway);
        let admins = admin.as_ref().map(|(listener, _)| accept(listener, Audience::Everybody, &gateway));
        tokio::select! {
            () = clients => {}
            Some(()) = OptionFuture::from(admins) => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    }
    drop((listener, admin));
    gateway.events.stop();
    let tasks = &gateway.common.tasks;
    tasks.close();
    // Whoever is not done by then is cut off: that is what the deadline is for.
    let drained = async {
        gateway.end.send_replace(true);
        gateway.end.closed().await;
        tasks.wait().await;
    };
    let _ = Tokio.timeout(DRAIN, drained).await;
    // Nothing is asked any more that could still be answered.
    let stores = Arc::clone(&gateway.pipeline.load().stores);
    let _ = Tokio.timeout(CLOSE, join_all(stores.iter().map(SharedStore::close))).await;
    Ok(())
}

/// Says what the options come to, and whether the stores can be counted on.
async fn check(options: &Options, gateway: &Gateway) -> Result<(), String> {
    options.plans()?.iter().for_each(|plan| println!("{plan}"));
    if let Some(messages) = &gateway.upstream.echo.messages {
        println!("{messages}");
    }
    if let Some((method, uri)) = &options.request {
        let mut request = Request::builder().method(method).uri(uri.clone());
        if let Some(headers) = request.headers_mut() {
            headers.extend(options.request_header.iter().cloned().map(|(name, value)| (Some(name), value)));
        }
        let peer = PeerAddress::new((options.request_from, 0).into());
        let request = request.extension(peer).body(()).map_err(|error| format!("--request: {error}"))?;
        match target::refusal(request.uri()) {
            Some(reason) => println!("400: {reason}"),
            None => {
                for control in &*gateway.pipeline.load().controls {
                    print!("{}", (control.explain)(request.clone()).await);
                }
            }
        }
    }
    if !options.offline {
        let stores = Arc::clone(&gateway.pipeline.load().stores);
        for store in stores.iter() {
            store.ready().await.map_err(|error| format!("--storage {}: {error}", store.name()))?;
        }
    }
    Ok(())
}

/// The signal of this kind, each time it comes.
fn on(kind: SignalKind) -> Result<Signal, String> {
    signal(kind).map_err(|error| format!("signal {}: {error}", kind.as_raw_value()))
}

async fn listen(option: &str, address: SocketAddr) -> Result<(TcpListener, SocketAddr), String> {
    let told = |error| format!("{option} {address}: {error}");
    let listener = TcpListener::bind(address).await.map_err(told)?;
    let address = listener.local_addr().map_err(told)?;
    Ok((listener, address))
}

/// Serves whoever connects.
async fn accept(listener: &TcpListener, audience: Audience, gateway: &Arc<Gateway>) {
    let mut server = auto::Builder::new(TokioExecutor::new());
    server.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
    server.http2().timer(TokioTimer::new());
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            // Out of file descriptors, most likely: connections that end will free some.
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        // A socket that is gone already will fail when it is read.
        let _ = stream.set_nodelay(true);
        let (gateway, mut end) = (Arc::clone(gateway), gateway.end.subscribe());
        let service = service_fn(move |request| route(request, peer, audience, Arc::clone(&gateway)));
        let connection = server.serve_connection_with_upgrades(TokioIo::new(stream), service).into_owned();
        Tokio.spawn(async move {
            let mut connection = pin!(connection);
            // What goes wrong on one connection concerns its client, who knows.
            tokio::select! {
                _ = connection.as_mut() => return,
                _ = end.wait_for(|asked| *asked) => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        });
    }
}

async fn route(
    mut request: Request<Incoming>,
    peer: SocketAddr,
    audience: Audience,
    gateway: Arc<Gateway>,
) -> Result<Response<ResponseBody<Body>>, Infallible> {
    if request.uri().path().starts_with(own::BELOW) || audience == Audience::Everybody {
        return Ok(own::answer(&request, peer, audience, &gateway).await.map(ResponseBody::from));
    }
    if let Some(reason) = target::refusal(request.uri()) {
        return Ok(text(StatusCode::BAD_REQUEST, format!("{reason}\n")).map(ResponseBody::from));
    }
    request.extensions_mut().insert(PeerAddress::new(peer));
    let handler = Arc::clone(&gateway.pipeline.load().handler);
    handler(request).await
}

/// Reads the file anew when it has changed, and when told to. A bad one is refused, and the one before stays.
async fn watch(path: PathBuf, mut known: Option<Vec<u8>>, mut hangup: Signal, gateway: Arc<Gateway>) {
    let mut looks = Tokio.interval(LOOK);
    loop {
        let told = tokio::select! {
            () = looks.tick() => false,
            _ = hangup.recv() => true,
        };
        let now = std::fs::read(&path).ok();
        if !told && now == known {
            continue;
        }
        known = now;
        match config::read(&path).and_then(|plans| gateway.replace(&plans)) {
            Ok(forgotten) => {
                let told: String = forgotten.iter().map(|it| format!("; {it}")).collect();
                eprintln!("read {} anew{told}", path.display());
            }
            Err(error) => eprintln!("error: {error}\nwhat was read before stays"),
        }
    }
}

/// Has the page told every second.
async fn sample(gateway: Arc<Gateway>) {
    let mut seconds = Tokio.interval(Duration::from_secs(1));
    loop {
        gateway.events.tick(page::sample(&gateway));
        seconds.tick().await;
    }
}
