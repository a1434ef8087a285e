//! Messages of axum's own WebSocket.

use axum::extract::ws::{CloseFrame, Message};

use super::{WsKind, WsMessage};

impl WsMessage for Message {
    fn kind(&self) -> WsKind {
        match self {
            Self::Text(_) | Self::Binary(_) => WsKind::Data,
            Self::Ping(_) | Self::Pong(_) => WsKind::Control,
            Self::Close(_) => WsKind::Close,
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) | Self::Ping(bytes) | Self::Pong(bytes) => bytes.len(),
            Self::Close(frame) => frame.as_ref().map_or(0, |frame| frame.reason.len()),
        }
    }

    fn text(text: String) -> Self {
        Self::Text(text.into())
    }

    fn close(code: u16, reason: String) -> Self {
        Self::Close(Some(CloseFrame { code, reason: reason.into() }))
    }
}
