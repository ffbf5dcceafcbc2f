//! The network of a data folder: one Unix socket, by which its owner is reached.

use std::io::{self, IoSlice};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{UnixListener, UnixStream};

use crate::fork::Uninherited;
use crate::transport::network::{Io, Listener, Network};

/// What addresses are called on this network: there is one.
pub(crate) const OWNER: &str = "owner:1";
/// Bytes of a path that a socket's address has room for, on all systems.
const MAX_PATH: usize = 100;

/// A network with one address, which is a file.
#[derive(Debug, Clone)]
pub(crate) struct Socket {
    path: PathBuf,
}

impl Socket {
    /// The socket in a folder.
    pub(crate) fn within(folder: &Path) -> io::Result<Self> {
        let path = folder.join("socket");
        match path.as_os_str().len() <= MAX_PATH {
            true => Ok(Self { path }),
            false => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "the path of the data folder is too long for a socket: {}",
                    folder.display()
                ),
            )),
        }
    }
}

#[async_trait]
impl Network for Socket {
    async fn connect(&self, _address: &str) -> io::Result<Io> {
        Ok(Io::new(Stream(Uninherited::new(UnixStream::connect(&self.path).await?))))
    }

    /// Only the owner of the folder may: what is left of the last one is removed.
    async fn bind(&self, _address: &str) -> io::Result<Box<dyn Listener>> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        Ok(Box::new(Listening(Uninherited::new(UnixListener::bind(&self.path)?))))
    }
}

struct Listening(Uninherited<UnixListener>);

#[async_trait]
impl Listener for Listening {
    async fn accept(&self) -> io::Result<(Io, SocketAddr)> {
        let (stream, _) = self.0.accept().await?;
        Ok((Io::new(Stream(Uninherited::new(stream))), nowhere()))
    }

    fn address(&self) -> io::Result<SocketAddr> {
        Ok(nowhere())
    }
}

/// A connection of which a child of a fork lets go.
struct Stream(Uninherited<UnixStream>);

impl Stream {
    fn inner(self: Pin<&mut Self>) -> Pin<&mut UnixStream> {
        Pin::new(&mut self.get_mut().0)
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.inner().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.inner().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.inner().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.inner().poll_shutdown(cx)
    }
}

/// Sockets of the file system have no address of the kind that is asked for.
fn nowhere() -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, 1))
}
