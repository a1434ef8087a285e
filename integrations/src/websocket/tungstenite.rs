//! Messages of tungstenite, which the libraries built on it share.

use tungstenite::Message;
use tungstenite::protocol::CloseFrame;

use super::{WsKind, WsMessage};

impl WsMessage for Message {
    fn kind(&self) -> WsKind {
        match self {
            Self::Text(_) | Self::Binary(_) | Self::Frame(_) => WsKind::Data,
            Self::Ping(_) | Self::Pong(_) => WsKind::Control,
            Self::Close(_) => WsKind::Close,
        }
    }

    fn size(&self) -> usize {
        self.len()
    }

    fn text(text: String) -> Self {
        Self::Text(text.into())
    }

    fn close(code: u16, reason: String) -> Self {
        Self::Close(Some(CloseFrame { code: code.into(), reason: reason.into() }))
    }
}
