//! Sockets of the operating system.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use async_trait::async_trait;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, TcpStream, lookup_host};

use super::race::{interleave, race};
use super::{Io, Listener, Network};
use crate::fork::Uninherited;

/// Connections that wait to be accepted; the system may allow fewer.
const BACKLOG: i32 = 1024;

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
        let listener = match address.parse() {
            Ok(SocketAddr::V6(any)) if any.ip().is_unspecified() => both_families(any.port())?,
            _ => TcpListener::bind(address).await?,
        };
        Ok(Box::new(Uninherited::new(listener)))
    }
}

#[async_trait]
impl Listener for Uninherited<TcpListener> {
    async fn accept(&self) -> io::Result<(Io, SocketAddr)> {
        let (stream, peer) = TcpListener::accept(self).await?;
        // A socket of both families shows IPv4 peers as `::ffff:10.0.0.1`.
        let peer = match peer.ip().to_canonical() {
            ip @ IpAddr::V4(_) => SocketAddr::new(ip, peer.port()),
            IpAddr::V6(_) => peer,
        };
        Ok((stream.into(), peer))
    }

    fn address(&self) -> io::Result<SocketAddr> {
        self.local_addr()
    }
}

/// Listens on IPv6 and on IPv4, whatever the system would do by default.
fn both_families(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_only_v6(false)?;
    // As the library does for every other address: a port just left may be taken again.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
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

    #[tokio::test]
    async fn any_ipv6_address_is_any_address() {
        let listener = Tcp.bind("[::]:0").await.expect("a free port");
        let port = listener.address().expect("its address").port();
        for target in ["127.0.0.1", "[::1]"] {
            let address = format!("{target}:{port}");
            let (connected, accepted) = tokio::join!(Tcp.connect(&address), listener.accept());
            connected.expect(target);
            let peer = accepted.expect(target).1;
            assert_eq!(peer.ip().to_string(), target.trim_matches(['[', ']']));
        }
    }

    #[test]
    fn only_addresses_with_a_zone_come_apart() {
        assert_eq!(zoned("[fe80::1%lo]:80"), Some(("fe80::1%lo", 80)));
        for address in ["[::1]:80", "127.0.0.1:80", "host:80", "[fe80::1%lo]", "[fe80::1%lo]:x"] {
            assert_eq!(zoned(address), None, "{address}");
        }
    }
}
