//! What a client speaks to a port with TLS, seen by its first bytes, and an answer for one that speaks none.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};

use super::network::Io;

/// Bytes that tell protocols apart.
const ENOUGH: usize = 4;
/// The content type of a TLS handshake.
const HANDSHAKE: u8 = 0x16;
/// In HTTP/1.1 also for HTTP/2: gRPC's clients take it for the end of a try to connect, where an answer in HTTP/2 has them
/// connect again at once and for ever.
const REFUSAL: &str = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\ncontent-length: 59\r\n\r\nthis port speaks TLS: use https:// and trust its authority\n";

/// A connection, with the first bytes of the peer still to be read.
pub(crate) struct Begun {
    io: Io,
    first: [u8; ENOUGH],
    read: usize,
    taken: usize,
}

impl Begun {
    /// Waits for the peer's first bytes.
    pub(super) async fn wait(mut io: Io) -> io::Result<Self> {
        let mut first = [0; ENOUGH];
        let mut read = 0;
        while read < ENOUGH && first[0] != HANDSHAKE {
            match io.read(&mut first[read..]).await? {
                0 => break,
                more => read += more,
            }
        }
        Ok(Self { io, first, read, taken: 0 })
    }

    /// True when the peer begins a TLS handshake, or says nothing.
    pub(super) fn is_tls(&self) -> bool {
        self.read == 0 || self.first[0] == HANDSHAKE
    }

    /// Tells a peer without TLS what it needs. Returns the connection, which still has to be closed.
    pub(super) async fn refuse(mut self) -> io::Result<Io> {
        self.io.write_all(REFUSAL.as_bytes()).await?;
        self.io.flush().await?;
        Ok(self.io)
    }
}

#[cfg(test)]
#[test]
fn the_refusal_has_the_length_it_says() {
    let (head, body) = REFUSAL.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.ends_with(&format!("content-length: {}", body.len())));
}

impl AsyncRead for Begun {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.taken < this.read {
            let rest = &this.first[this.taken..this.read];
            let length = rest.len().min(buffer.remaining());
            buffer.put_slice(&rest[..length]);
            this.taken += length;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.io).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Begun {
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
        slices: &[IoSlice<'_>],
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
