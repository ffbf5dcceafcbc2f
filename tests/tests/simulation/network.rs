//! The simulated network, as the framework sees networks.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use micro::network::{Io, Listener, Network};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use turmoil::net::{TcpListener, TcpStream};

/// The network as the simulated host of this name sees it.
#[derive(Debug)]
pub(crate) struct Simulated(pub(crate) String);

struct Bound {
    listener: TcpListener,
    address: SocketAddr,
}

/// A simulated socket that may be shut down twice, as real ones may.
struct Socket {
    stream: TcpStream,
    over: bool,
}

impl Socket {
    fn io(stream: TcpStream) -> Io {
        Io::new(Self { stream, over: false })
    }
}

#[async_trait]
impl Network for Simulated {
    async fn connect(&self, address: &str) -> io::Result<Io> {
        Ok(Socket::io(TcpStream::connect(address).await?))
    }

    async fn bind(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        let address: SocketAddr = address.parse().map_err(io::Error::other)?;
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await?;
        let address =
            SocketAddr::new(turmoil::lookup(self.0.as_str()), listener.local_addr()?.port());
        Ok(Box::new(Bound { listener, address }))
    }
}

#[async_trait]
impl Listener for Bound {
    async fn accept(&self) -> io::Result<(Io, SocketAddr)> {
        let (stream, peer) = self.listener.accept().await?;
        Ok((Socket::io(stream), peer))
    }

    fn address(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let socket = self.get_mut();
        if std::mem::replace(&mut socket.over, true) {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut socket.stream).poll_shutdown(cx)
    }
}
