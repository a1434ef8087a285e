//! A WebSocket that echoes messages, with a rate limit on the messages of each connection.

use std::sync::Arc;

use futures_util::{SinkExt, StreamExt};
use http::header::{HeaderValue, UPGRADE};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use hyper_tungstenite::tungstenite::protocol::{CloseFrame, WebSocketConfig};
use hyper_tungstenite::tungstenite::{Error, Message};
use hyper_tungstenite::{HyperWebsocketStream, is_upgrade_request, upgrade};
use tokio::sync::watch::{Receiver, Sender};
use traffik::runtime::{Runtime, Tokio};
use traffik::storage::{AsyncStorage, BoxFuture};
use traffik::web::{ClientKey, Tally, Throttle, WsAction, WsError, WsPolicy, WsThrottle};
use traffik::{Class, Strategy};

use crate::config::options::Options;
use crate::config::proxy_options::WsActionOption;
use crate::limits::limit::{AnyLimit, Limit};
use crate::limits::strategy::RateLimits;
use crate::response::{GatewayResponse, text};

/// Longest message in bytes.
const LONGEST: usize = 1 << 20;

/// The handler of WebSocket requests.
#[derive(Clone)]
pub(crate) struct Echo {
    serve: ServeFn,
    /// A description of the limit on messages, if there is one.
    pub(crate) messages: Option<String>,
    end: Sender<bool>,
}

/// A function that serves a connection to its end, of one type for all strategies.
type ServeFn = Arc<dyn Fn(HyperWebsocketStream, Receiver<bool>) -> BoxFuture<'static, ()> + Send + Sync>;

impl Echo {
    pub(crate) fn new(options: &Options, tally: &Tally, end: &Sender<bool>) -> Result<Self, String> {
        let (spec, how) = (&options.strategy, &options.strategy.text);
        let (action_words, action) = match options.proxy.ws_action {
            WsActionOption::Message => ("the client gets a notice", WsAction::Notice),
            WsActionOption::Close => ("the connection is closed", WsAction::Close),
            WsActionOption::Delay => ("messages are delayed", WsAction::Delay),
        };
        let policy = WsPolicy::new(Tokio).action(action);
        let serve = match options.proxy.ws_rate {
            None => serving(vec![AnyLimit::unlimited()?], Class::default(), policy, None),
            Some(rate) => {
                let (class, tally) = (spec.plain.class, Some(tally.clone()));
                match spec.limits("--ws-rate", "--strategy", &[rate])? {
                    RateLimits::Any(strategies) => serving(strategies, class, policy, tally),
                    RateLimits::Log(strategies) => serving(strategies, class, policy, tally),
                }
            }
        };
        let messages = |rate| format!("messages: {rate}, {how}, by connection, {action_words} above that");
        Ok(Self { serve: serve?, messages: options.proxy.ws_rate.map(messages), end: end.clone() })
    }

    /// Upgrades a connection and serves it in a task. Answers 426 to a request that is no upgrade.
    pub(crate) fn answer(&self, request: Request<Incoming>) -> GatewayResponse {
        if !is_upgrade_request(&request) {
            let mut reply =
                text(StatusCode::UPGRADE_REQUIRED, "this path is a WebSocket; send an upgrade request\n");
            reply.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
            return reply;
        }
        // Small buffers, because most connections are idle and none is fast.
        let config = WebSocketConfig::default()
            .read_buffer_size(8 << 10)
            .write_buffer_size(0)
            .max_write_buffer_size(2 * LONGEST)
            .max_message_size(Some(LONGEST))
            .max_frame_size(Some(LONGEST));
        match upgrade(request, Some(config)) {
            Err(error) => text(StatusCode::BAD_REQUEST, format!("{error}\n")),
            Ok((response, socket)) => {
                let (serve, end) = (Arc::clone(&self.serve), self.end.subscribe());
                Tokio.spawn(async move {
                    // An error means that the connection was lost before the client had the 101 response.
                    if let Ok(socket) = socket.await {
                        serve(socket, end).await;
                    }
                });
                response.map(|body| body.map_err(|never| match never {}).boxed_unsync())
            }
        }
    }
}

/// Returns the function that serves connections. Each connection has its own count, under the first of
/// `strategies`.
fn serving<L: Limit>(
    strategies: Vec<L>,
    class: Class,
    policy: WsPolicy<u32, Message>,
    tally: Option<Tally>,
) -> Result<ServeFn, String> {
    let strategy = strategies.into_iter().next().ok_or("--ws-rate has no rate; write 10/s")?;
    let throttle = Throttle::in_memory("messages", strategy);
    let throttle = match tally {
        Some(tally) => throttle.observe(tally),
        None => throttle.disabled(),
    };
    let (throttle, policy) = (throttle.build().map_err(|error| error.to_string())?, Arc::new(policy));
    Ok(Arc::new(move |socket, end| {
        let client = throttle.client_for(ClientKey::connection()).class(class);
        Box::pin(echo(WsThrottle::new(socket, client, Arc::clone(&policy)), end))
    }))
}

/// Echoes messages until the client closes the connection or the server shuts down.
async fn echo<S, M>(mut socket: WsThrottle<HyperWebsocketStream, S, M, Message>, mut end: Receiver<bool>)
where
    S: Strategy,
    M: AsyncStorage<S> + 'static,
{
    loop {
        let message = tokio::select! {
            message = socket.next() => message,
            _ = end.wait_for(|ends| *ends) => break,
        };
        match message {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
            Some(Ok(_)) => {}
            Some(Err(WsError::Socket(error))) => {
                // The close codes of RFC 6455, section 7.4.1.
                let code = match error {
                    Error::Utf8(_) => CloseCode::Invalid,
                    Error::Capacity(_) => CloseCode::Size,
                    Error::Protocol(_) => CloseCode::Protocol,
                    _ => return,
                };
                let _ = socket.send(closing(code, &error.to_string())).await;
                return;
            }
            Some(Err(_)) | None => return,
        }
    }
    if socket.send(closing(CloseCode::Away, "the server shuts down")).await.is_ok() {
        // RFC 6455, section 7.1.1: read until the client's own close frame, or its last messages would be
        // lost.
        while let Some(Ok(_)) = socket.next().await {}
    }
}

/// Returns a close frame, whose reason has at most 123 bytes (RFC 6455, section 5.5).
fn closing(code: CloseCode, reason: &str) -> Message {
    let end = (0..=reason.len().min(123)).rev().find(|end| reason.is_char_boundary(*end));
    let reason = reason.get(..end.unwrap_or(0)).unwrap_or_default();
    Message::Close(Some(CloseFrame { code, reason: reason.into() }))
}
