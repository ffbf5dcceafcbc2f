//! Sockets of the operating system.

use std::io;
use std::net::SocketAddr;

use async_trait::async_trait;
use tokio::net::{TcpListener, TcpStream, lookup_host};

use super::race::{interleave, race};
use super::{Io, Listener, Network};
use crate::fork::Uninherited;

/// TCP, with names looked up by the operating system: the network of every server and client that
/// is not given another. A name may have several addresses: each has 250 ms before the next one is tried beside it, IPv6 and
/// IPv4 in turn, and the first that answers is taken (RFC 8305).
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

#[async_trait]
impl Network for Tcp {
    async fn connect(&self, address: &str) -> io::Result<Io> {
        let addresses = match (zoned(address), address.parse::<SocketAddr>()) {
            (Some(target), _) => lookup_host(target).await?.collect(),
            (None, Ok(address)) => vec![address],
            (None, Err(_)) => interleave(lookup_host(address).await?),
        };
        Ok(race(addresses, TcpStream::connect).await?.into())
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
