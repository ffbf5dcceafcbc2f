//! One connection, of whatever network.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use crate::fork::Uninherited;

/// A connection. Made from a [`TcpStream`], it costs no more than that; made with [`Io::new`], it
/// is anything that carries bytes both ways.
pub struct Io(Carrier);

/// What carries the bytes of a connection.
enum Carrier {
    Tcp(Uninherited<TcpStream>),
    Other(Box<dyn Stream>),
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

impl Io {
    /// A connection over `stream`, which must keep bytes in order, and report the end of the
    /// peer's bytes as the end of the read.
    pub fn new(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> Self {
        Self(Carrier::Other(Box::new(stream)))
    }

    /// Lets small frames go out at once.
    pub(crate) fn set_nodelay(&self) -> io::Result<()> {
        match &self.0 {
            Carrier::Tcp(stream) => stream.set_nodelay(true),
            Carrier::Other(_) => Ok(()),
        }
    }

    /// Ends the connection when the peer acknowledges nothing for `patience`. Only Linux knows how,
    /// and only of sockets.
    pub(crate) fn set_unacknowledged(&self, patience: Duration) -> io::Result<()> {
        match &self.0 {
            #[cfg(target_os = "linux")]
            Carrier::Tcp(stream) => {
                socket2::SockRef::from(&**stream).set_tcp_user_timeout(Some(patience))
            }
            _ => {
                let _ = patience;
                Ok(())
            }
        }
    }
}

impl From<TcpStream> for Io {
    fn from(stream: TcpStream) -> Self {
        Self(Carrier::Tcp(Uninherited::new(stream)))
    }
}

impl fmt::Debug for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Carrier::Tcp(stream) => stream.fmt(f),
            Carrier::Other(_) => f.write_str("Io(..)"),
        }
    }
}

impl AsyncRead for Io {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Carrier::Tcp(stream) => Pin::new(&mut **stream).poll_read(cx, buffer),
            Carrier::Other(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Io {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Carrier::Tcp(stream) => Pin::new(&mut **stream).poll_write(cx, bytes),
            Carrier::Other(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().0 {
            Carrier::Tcp(stream) => Pin::new(&mut **stream).poll_write_vectored(cx, slices),
            Carrier::Other(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    #[inline]
    fn is_write_vectored(&self) -> bool {
        match &self.0 {
            Carrier::Tcp(stream) => stream.is_write_vectored(),
            Carrier::Other(stream) => stream.is_write_vectored(),
        }
    }

    #[inline]
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Carrier::Tcp(stream) => Pin::new(&mut **stream).poll_flush(cx),
            Carrier::Other(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    #[inline]
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().0 {
            Carrier::Tcp(stream) => Pin::new(&mut **stream).poll_shutdown(cx),
            Carrier::Other(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
