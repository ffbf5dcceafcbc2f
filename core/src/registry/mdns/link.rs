//! One interface in one address family: its socket on the port of the group.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::num::NonZeroU32;

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockRef, Socket, Type};

use crate::fork::Uninherited;
use crate::interface::{self, Interface, source_towards};

const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// Room for the answers of a large fleet to one question; the system may grant less.
const RECEIVE_BUFFER: usize = 1 << 20;
/// One interface in one address family.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) interface: Interface,
    pub(super) v6: bool,
    pub(super) socket: Uninherited<UdpSocket>,
}

impl Link {
    pub(super) fn open(interface: &Interface, v6: bool, port: u16) -> Result<Self, String> {
        let socket = bind(v6, port).map_err(|error| match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "another process holds the port without sharing it: stop it, or choose another \
                 port on all sides"
                    .to_owned()
            }
            _ => error.to_string(),
        })?;
        let link = Self { interface: interface.clone(), v6, socket };
        let prepared = link.join().and_then(|()| if v6 { Ok(()) } else { link.aim(&link.socket) });
        prepared.map_err(|error| format!("{} cannot join the group: {error}", interface.name))?;
        Ok(link)
    }

    fn join(&self) -> std::io::Result<()> {
        let socket = SockRef::from(&*self.socket);
        if self.v6 {
            keep_to(&socket, self.interface.index);
            socket.join_multicast_v6(&GROUP_V6, self.interface.index)
        } else {
            let index = InterfaceIndexOrAddress::Index(self.interface.index);
            socket.join_multicast_v4_n(&GROUP_V4, &index)
        }
    }

    /// A second handle for reading, to be wrapped by the runtime.
    pub(super) fn reader(&self) -> std::io::Result<UdpSocket> {
        self.socket.try_clone()
    }

    /// Answers one asker, from the group's port.
    pub(super) fn reply(&self, packet: &[u8], to: SocketAddr) {
        if let Err(error) = self.socket.send_to(packet, to) {
            tracing::debug!(%to, %error, "mDNS answer not sent");
        }
    }

    /// True when a packet from `sender` came in by this interface, as far as one can tell: a socket of
    /// IPv6 may hear others, but link-local senders name theirs.
    pub(super) fn is_arrival(&self, sender: SocketAddr) -> bool {
        match sender {
            SocketAddr::V6(v6) if v6.scope_id() != 0 => v6.scope_id() == self.interface.index,
            _ => true,
        }
    }

    pub(super) fn is_near(&self, sender: SocketAddr) -> bool {
        let ip = sender.ip().to_canonical();
        interface::is_link_local(ip)
            || self.interface.is_on_link(ip)
            || self.interface.point_to_point
    }

    pub(super) fn is_of(&self, interface: &Interface, v6: bool) -> bool {
        self.v6 == v6 && self.interface.index == interface.index
    }

    /// Lets what `socket` sends to the group leave by this interface, from its address.
    pub(super) fn aim(&self, socket: &UdpSocket) -> std::io::Result<()> {
        let addresses = &mut self.interface.addresses.iter();
        let address = addresses.find_map(|(address, _)| match address {
            IpAddr::V4(v4) => Some(*v4),
            IpAddr::V6(_) => None,
        });
        SockRef::from(socket).set_multicast_if_v4(&address.unwrap_or(Ipv4Addr::UNSPECIFIED))
    }

    pub(super) fn send(
        &self,
        socket: &UdpSocket,
        packet: &[u8],
        port: u16,
    ) -> std::io::Result<usize> {
        if self.v6 {
            socket.send_to(packet, SocketAddrV6::new(GROUP_V6, port, 0, self.interface.index))
        } else {
            socket.send_to(packet, (GROUP_V4, port))
        }
    }

    /// True when packets to `peer` leave by this interface.
    pub(super) fn leads_to(&self, peer: SocketAddr) -> bool {
        let from = source_towards(peer);
        self.interface.addresses.iter().any(|(ours, _)| Some(*ours) == from)
    }

    pub(super) fn note(&self, sent: std::io::Result<usize>) -> bool {
        if let Err(error) = &sent {
            tracing::debug!(name = self.interface.name, v6 = self.v6, %error, "mDNS packet not sent");
        }
        sent.is_ok()
    }
}

pub(super) fn bind(v6: bool, port: u16) -> std::io::Result<Uninherited<UdpSocket>> {
    let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if port != 0 {
        share(&socket)?;
    }
    let any: SocketAddr = if v6 {
        socket.set_only_v6(true)?;
        socket.set_multicast_loop_v6(true)?;
        socket.set_multicast_hops_v6(255)?;
        (Ipv6Addr::UNSPECIFIED, port).into()
    } else {
        socket.set_multicast_loop_v4(true)?;
        socket.set_multicast_ttl_v4(255)?;
        (Ipv4Addr::UNSPECIFIED, port).into()
    };
    // Linux otherwise delivers what others joined, also from interfaces of other links.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let only_joined = if v6 {
            socket.set_multicast_all_v6(false)
        } else {
            socket.set_multicast_all_v4(false)
        };
        if let Err(error) = only_joined {
            tracing::debug!(%error, "mDNS also hears interfaces it did not join");
        }
    }
    if let Err(error) = socket.set_recv_buffer_size(RECEIVE_BUFFER) {
        tracing::debug!(%error, "mDNS keeps the default receive buffer");
    }
    socket.bind(&any.into())?;
    if port == 0 {
        // Only now, or a port that others share could be taken for a free one.
        share(&socket)?;
    }
    Ok(Uninherited::new(socket.into()))
}

fn share(socket: &Socket) -> std::io::Result<()> {
    socket.set_reuse_address(true)?;
    // Elsewhere the address alone does not share a port; on Linux it does, and REUSEPORT would
    // spread unicast packets over the sockets that share.
    #[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
    socket.set_reuse_port(true)?;
    Ok(())
}

/// Keeps a socket of IPv6 to one interface, which no option of multicast does; where the system does
/// not allow it, [`Link::is_arrival`] sorts out.
fn keep_to(socket: &Socket, index: u32) {
    #[cfg(any(target_os = "linux", target_os = "android", target_vendor = "apple"))]
    if let Err(error) = socket.bind_device_by_index_v6(NonZeroU32::new(index)) {
        tracing::debug!(%error, index, "mDNS also hears other interfaces");
    }
    #[cfg(not(any(target_os = "linux", target_os = "android", target_vendor = "apple")))]
    let _ = (socket, NonZeroU32::new(index));
}
