//! A WebSocket that sends back what it is sent, with a limit on the messages of each connection.

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

use crate::limit::{AnyLimit, Limit};
use crate::options::{Options, WsActionOption};
use crate::response::{GatewayResponse, text};
use crate::strategy::RateLimits;

/// The longest message.
const LONGEST: usize = 1 << 20;

/// Answers those who want a WebSocket.
#[derive(Clone)]
pub(crate) struct Echo {
    serve: ServeFn,
    /// How messages are limited, in words, if they are.
    pub(crate) messages: Option<String>,
    end: Sender<bool>,
}

/// Serves a connection to its end; the same type whatever the strategy.
type ServeFn = Arc<dyn Fn(HyperWebsocketStream, Receiver<bool>) -> BoxFuture<'static, ()> + Send + Sync>;

impl Echo {
    pub(crate) fn new(options: &Options, tally: &Tally, end: &Sender<bool>) -> Result<Self, String> {
        let (spec, how) = (&options.strategy, &options.strategy.text);
        let (beyond, action) = match options.ws_action {
            WsActionOption::Message => ("told", WsAction::Notice),
            WsActionOption::Close => ("closed", WsAction::Close),
            WsActionOption::Delay => ("delayed", WsAction::Delay),
        };
        let policy = WsPolicy::new(Tokio).action(action);
        let serve = match options.ws_rate {
            None => serving(vec![AnyLimit::unlimited()?], Class::default(), policy, None),
            Some(rate) => {
                let (class, tally) = (spec.plain.class, Some(tally.clone()));
                match spec.limits("--ws-rate", &[rate])? {
                    RateLimits::Any(limits) => serving(limits, class, policy, tally),
                    RateLimits::Log(limits) => serving(limits, class, policy, tally),
                }
            }
        };
        let messages = |rate| format!("messages: {rate}, {how}, by connection, which is {beyond} at more");
        Ok(Self { serve: serve?, messages: options.ws_rate.map(messages), end: end.clone() })
    }

    /// Upgrades a connection, and serves it beside the others.
    pub(crate) fn answer(&self, request: Request<Incoming>) -> GatewayResponse {
        if !is_upgrade_request(&request) {
            let mut reply = text(StatusCode::UPGRADE_REQUIRED, "here is a WebSocket\n");
            reply.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
            return reply;
        }
        // Most connections are idle, and those that are not are not fast.
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
                    // The client has its answer then, which it does not get if the connection is gone.
                    if let Ok(socket) = socket.await {
                        serve(socket, end).await;
                    }
                });
                response.map(|body| body.map_err(|never| match never {}).boxed_unsync())
            }
        }
    }
}

/// Serves connections that each have the only one of these limits to themselves.
fn serving<L: Limit>(
    limits: Vec<L>,
    class: Class,
    policy: WsPolicy<u32, Message>,
    tally: Option<Tally>,
) -> Result<ServeFn, String> {
    let limit = limits.into_iter().next().ok_or("--ws-rate is no limit")?;
    let throttle = Throttle::in_memory("messages", limit);
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

/// Sends back what it is sent, until the client has had enough or the server is asked to stop.
async fn echo<S, M>(mut socket: WsThrottle<HyperWebsocketStream, S, M, Message>, mut end: Receiver<bool>)
where
    S: Strategy,
    M: AsyncStorage<S> + 'static,
{
    loop {
        let message = tokio::select! {
            message = socket.next() => message,
            _ = end.wait_for(|asked| *asked) => break,
        };
        match message {
            Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
            Some(Ok(_)) => {}
            Some(Err(WsError::Socket(error))) => {
                // What the client did wrong, as RFC 6455, section 7.4.1, numbers it.
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
    if socket.send(closing(CloseCode::Away, "the server ends")).await.is_ok() {
        // The client has the last word.
        while let Some(Ok(_)) = socket.next().await {}
    }
}

fn closing(code: CloseCode, reason: &str) -> Message {
    let end = (0..=reason.len().min(123)).rev().find(|end| reason.is_char_boundary(*end));
    let reason = reason.get(..end.unwrap_or(0)).unwrap_or_default();
    Message::Close(Some(CloseFrame { code, reason: reason.into() }))
}
