//! The server's end of a connection: plain or TLS, with a bound on how long a peer may hesitate.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::relax::Relaxed;
use super::tls::ServerTls;
use crate::error::{Error, Result};

/// A connection whose peer has begun to speak.
pub(crate) enum Accepted {
    Plain(Relaxed<TcpStream>),
    Tls(Box<Relaxed<TlsStream<TcpStream>>>),
}

impl Accepted {
    /// Waits at most `patience` for the peer's first byte, or for its TLS handshake.
    pub(crate) async fn open(
        stream: TcpStream,
        tls: Option<&ServerTls>,
        patience: Duration,
    ) -> Result<Self> {
        // Small frames must not wait for each other; a socket that refuses is already closing.
        let _ = stream.set_nodelay(true);
        let slow = |_| Error::deadline_exceeded("the peer connected and said nothing");
        match tls {
            None => {
                timeout(patience, stream.peek(&mut [0])).await.map_err(slow)??;
                Ok(Self::Plain(Relaxed::new(stream)))
            }
            Some(tls) => {
                let accept = TlsAcceptor::from(tls.0.clone()).accept(stream);
                let stream = timeout(patience, accept).await.map_err(slow)??;
                Ok(Self::Tls(Box::new(Relaxed::new(stream))))
            }
        }
    }

    /// True once a header of this connection was renamed; see [`Relaxed`].
    pub(crate) fn renamed(&self) -> Arc<AtomicBool> {
        match self {
            Self::Plain(stream) => stream.renamed(),
            Self::Tls(stream) => stream.renamed(),
        }
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
