//! The server's end of a connection: plain or TLS, with a bound on how long a peer may hesitate,
//! and a close that lets the peer read our last words.
//!
//! A socket that is closed while bytes of the peer are unread resets the connection, and the peer's
//! system then throws away what it has not read yet: the GOAWAY that says which calls were never
//! looked at. A caller would have to take these for lost. So the socket outlives HTTP/2 for a
//! moment, see [`Io::linger`].

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::begun::Begun;
use super::head::{HeadTimer, Turns};
use super::network;
use super::relax::{Relaxed, Said};
use super::tls::{ServerTls, Side, refused};
use crate::error::{Error, Result};

/// How long a peer may take to close its end after we have closed ours.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes read meanwhile; a peer that goes on sending is cut off.
const MAX_LINGER_BYTES: u64 = 1024 * 1024;

/// To a client that begins with TLS where there is none.
const NO_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// A connection whose peer has begun to speak. Dropped, it gives its socket to the task that asked with
/// [`Accepted::returned`].
pub(crate) struct Accepted {
    io: Io,
    heads: HeadTimer,
    http2: bool,
    back: Option<oneshot::Sender<Io>>,
}

/// The socket of a connection.
pub(crate) enum Io {
    Plain(Relaxed<network::Io>),
    Tls(Box<Relaxed<TlsStream<Begun>>>),
    /// Given back.
    Gone,
}

impl Io {
    /// Says that nothing more will come, and waits a moment for the peer to say the same.
    pub(crate) async fn linger(mut self) {
        let closing = async {
            self.shutdown().await?;
            tokio::io::copy(&mut (&mut self).take(MAX_LINGER_BYTES), &mut tokio::io::sink()).await
        };
        // Whether the peer was quick enough or not, the socket is closed now.
        let _ = timeout(LINGER, closing).await;
    }
}

impl Accepted {
    /// Waits at most `patience` for the peer's TLS handshake, and as long for its first bytes. The head of each request then
    /// may take as long.
    pub(crate) async fn open(
        stream: network::Io,
        tls: Option<&ServerTls>,
        patience: Duration,
    ) -> Result<Self> {
        // Small frames must not wait for each other; a socket that refuses is already closing.
        let _ = stream.set_nodelay();
        let slow = |_| Error::deadline_exceeded("the peer connected and did not begin");
        let mut io = match tls {
            None => Io::Plain(Relaxed::new(stream)),
            Some(tls) => {
                let shake = Box::pin(handshake(stream, tls));
                let stream = timeout(patience, shake).await.map_err(slow)??;
                Io::Tls(Box::new(Relaxed::new(stream)))
            }
        };
        let begin = async {
            match &mut io {
                Io::Plain(stream) => stream.begin().await,
                Io::Tls(stream) => stream.begin().await,
                Io::Gone => Ok(()),
            }
        };
        timeout(patience, begin).await.map_err(slow)??;
        if let Io::Plain(stream) = &mut io
            && stream.is_handshake()
        {
            // What is no TLS tells a client more than a connection that closes.
            timeout(patience, stream.write_all(NO_TLS)).await.map_err(slow)??;
            io.linger().await;
            return Err(Error::failed_precondition(
                "the client speaks TLS, and this port does not: set `tls` of the service, or call http://",
            ));
        }
        let http2 = match &io {
            Io::Plain(stream) => stream.is_http2(),
            Io::Tls(stream) => stream.is_http2(),
            Io::Gone => false,
        };
        Ok(Self { io, heads: HeadTimer::new(patience), http2, back: None })
    }

    /// True when the peer speaks HTTP/2.
    pub(crate) fn is_http2(&self) -> bool {
        self.http2
    }

    /// To be told of each request of HTTP/1.1: between them, heads are waited for.
    pub(crate) fn turns(&self) -> Turns {
        self.heads.turns()
    }

    /// What is seen of the peer; see [`Relaxed`].
    pub(crate) fn said(&self) -> Arc<Said> {
        match &self.io {
            Io::Plain(stream) => stream.said(),
            Io::Tls(stream) => stream.said(),
            Io::Gone => Arc::default(),
        }
    }

    /// The socket, once this is dropped.
    pub(crate) fn returned(&mut self) -> oneshot::Receiver<Io> {
        let (back, returned) = oneshot::channel();
        self.back = Some(back);
        returned
    }
}

/// The server's side of a TLS handshake. A peer that begins in plain text is told.
async fn handshake(stream: network::Io, tls: &ServerTls) -> Result<TlsStream<Begun>> {
    let begun = Begun::wait(stream).await?;
    if !begun.is_tls() {
        Io::Plain(Relaxed::new(begun.refuse().await?)).linger().await;
        return Err(Error::failed_precondition(
            "the client speaks plain text, and this port speaks TLS: set `tls` of the client, or call https://",
        ));
    }
    let config = tls.current().await;
    TlsAcceptor::from(config).accept(begun).await.map_err(|error| {
        let why = refused(&error, Side::Server);
        Error::unavailable(format!("TLS handshake: {why}")).with_source(error)
    })
}

impl Drop for Accepted {
    fn drop(&mut self) {
        if let Some(back) = self.back.take() {
            // The task that asked may have left; then the socket closes here.
            let _ = back.send(std::mem::replace(&mut self.io, Io::Gone));
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
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
            Self::Gone => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
            Self::Gone => false,
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Gone => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }
}

impl AsyncRead for Accepted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let read = Pin::new(&mut this.io).poll_read(cx, buffer);
        if read.is_ready() {
            this.heads.came(this.http2);
            return read;
        }
        let held = match &this.io {
            Io::Plain(stream) => this.http2 && stream.is_holding(),
            Io::Tls(stream) => this.http2 && stream.is_holding(),
            Io::Gone => false,
        };
        this.heads.poll_late(held, cx).map(|()| {
            Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the head of a request did not come to its end",
            ))
        })
    }
}

impl AsyncWrite for Accepted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
