//! Sockets of the operating system.

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use tokio::net::{TcpListener, TcpStream};

use super::{Io, Listener, Network};
use crate::fork::Uninherited;

/// TCP, with names looked up by the operating system: the network of every server and client that
/// is not given another.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

#[async_trait]
impl Network for Tcp {
    async fn connect(&self, address: &str) -> io::Result<Io> {
        let stream = match zoned(address) {
            Some(target) => TcpStream::connect(target).await?,
            None => TcpStream::connect(address).await?,
        };
        Ok(stream.into())
    }

    async fn bind(&self, address: &str) -> io::Result<Box<dyn Listener>> {
        Ok(Box::new(Uninherited::new(TcpListener::bind(address).await?)))
    }
}

#[async_trait]
impl Listener for Uninherited<TcpListener> {
    async fn accept(&self) -> io::Result<(Io, SocketAddr)> {
        let (stream, peer) = TcpListener::accept(self).await?;
        Ok((stream.into(), peer))
    }

    fn address(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }
}

/// Host and port of an IPv6 address with a zone, such as `[fe80::1%eth0]:80`: the system looks up the
/// zone by its name only where host and port come apart.
fn zoned(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.strip_prefix('[')?.rsplit_once("]:")?;
    Some((host, port.parse().ok()?)).filter(|_| host.contains('%'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_with_a_zone_come_apart() {
        assert_eq!(zoned("[fe80::1%lo]:80"), Some(("fe80::1%lo", 80)));
        for address in ["[::1]:80", "127.0.0.1:80", "host:80", "[fe80::1%lo]", "[fe80::1%lo]:x"] {
            assert_eq!(zoned(address), None, "{address}");
        }
    }
}
