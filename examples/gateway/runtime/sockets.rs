//! Listening, accepting and connecting on the chosen runtime, with streams as hyper takes them.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use smol_hyper::rt::FuturesIo;
use traffik::runtime::Connect;
use traffik::storage::BoxFuture;

use super::Chosen;

/// Where clients come in.
pub(crate) enum Listener {
    Tokio(tokio::net::TcpListener),
    Smol(smol::net::TcpListener),
}

/// A stream to a client or to the upstream. Each is what its runtime has, so that nothing is copied once more.
#[derive(Debug)]
pub(crate) enum Stream {
    Tokio(TokioIo<tokio::net::TcpStream>),
    Smol(FuturesIo<smol::net::TcpStream>),
}

impl Chosen {
    pub(crate) async fn listen(&self, address: SocketAddr) -> io::Result<Listener> {
        Ok(match self {
            Self::Tokio(_) => Listener::Tokio(tokio::net::TcpListener::bind(address).await?),
            Self::Smol(_) => Listener::Smol(smol::net::TcpListener::bind(address).await?),
        })
    }

    /// A connection to a host and port.
    async fn stream(self, address: String) -> io::Result<Stream> {
        Ok(match self {
            Self::Tokio(runtime) => {
                Stream::Tokio(TokioIo::new(runtime.connect(&address).await?.into_inner()))
            }
            Self::Smol(runtime) => Stream::Smol(FuturesIo::new(runtime.connect(&address).await?)),
        })
    }
}

impl Listener {
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Tokio(listener) => listener.local_addr(),
            Self::Smol(listener) => listener.local_addr(),
        }
    }

    /// The next client, whom answers are sent without delay.
    pub(crate) async fn accept(&self) -> io::Result<(Stream, SocketAddr)> {
        // A socket that is gone already will say so when it is read.
        Ok(match self {
            Self::Tokio(listener) => {
                let (stream, peer) = listener.accept().await?;
                let _ = stream.set_nodelay(true);
                (Stream::Tokio(TokioIo::new(stream)), peer)
            }
            Self::Smol(listener) => {
                let (stream, peer) = listener.accept().await?;
                let _ = stream.set_nodelay(true);
                (Stream::Smol(FuturesIo::new(stream)), peer)
            }
        })
    }
}

/// Makes connections to the upstream.
#[derive(Clone, Debug)]
pub(crate) struct Connector(pub(crate) Chosen);

impl tower::Service<Uri> for Connector {
    type Response = Stream;
    type Error = io::Error;
    type Future = BoxFuture<'static, io::Result<Stream>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        // An IPv6 address is in brackets in both.
        let address = format!("{}:{}", target.host().unwrap_or_default(), target.port_u16().unwrap_or(80));
        Box::pin(self.0.clone().stream(address))
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tokio(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Smol(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl Write for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tokio(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Smol(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tokio(stream) => Pin::new(stream).poll_flush(context),
            Self::Smol(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Tokio(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Smol(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tokio(stream) => stream.is_write_vectored(),
            Self::Smol(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Tokio(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
            Self::Smol(stream) => Pin::new(stream).poll_write_vectored(context, pieces),
        }
    }
}
