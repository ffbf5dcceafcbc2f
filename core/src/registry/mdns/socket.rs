//! Sockets: one pair for each address family, whatever the number of interfaces and nodes.
//!
//! The *group* socket shares the mDNS port with every other speaker on the machine, go-micro's
//! included; the *asking* socket has a port of its own, because go-micro answers by unicast and
//! unicast to a shared port reaches only one of those who share it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::sync::{Mutex, MutexGuard, PoisonError};

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockRef, Socket, Type};

use super::options::Options;
use super::table;
use crate::error::{Error, Result};
use crate::fork::Uninherited;

const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// Room for the answers of a large fleet to one question; the system may grant less.
const RECEIVE_BUFFER: usize = 1 << 20;
/// Most interfaces used; machines that run containers have hundreds.
const INTERFACE_LIMIT: usize = 64;

/// All sockets of one registry object.
#[derive(Debug)]
pub(super) struct Links {
    families: Vec<Family>,
    wanted: Vec<String>,
    /// Addresses of this machine with the length of their network's prefix.
    networks: Mutex<Vec<(IpAddr, u8)>>,
}

/// The sockets of one address family.
#[derive(Debug)]
struct Family {
    v6: bool,
    port: u16,
    group: Uninherited<UdpSocket>,
    asking: Uninherited<UdpSocket>,
    /// Also keeps "choose the interface, then send" together.
    joined: Mutex<Vec<Interface>>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Interface {
    index: u32,
    name: String,
    addresses: Vec<(IpAddr, u8)>,
}

/// Which socket a packet leaves from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// Announcements and goodbyes.
    Group,
    /// Questions.
    Asking,
}

impl Links {
    /// Binds and joins. One family that fails is tolerated, both are not. Port 0 takes a free one.
    pub(super) fn open(options: &Options, port: u16) -> Result<Self> {
        let interfaces = interfaces(&options.interfaces)?;
        let mut families = Vec::new();
        let mut reasons = Vec::new();
        for v6 in [false, true] {
            match Family::open(v6, port, &interfaces) {
                Ok(family) => families.push(family),
                Err(reason) => {
                    tracing::debug!(v6, reason, "mDNS goes without this address family");
                    reasons.push(format!("{}: {reason}", if v6 { "IPv6" } else { "IPv4" }));
                }
            }
        }
        if families.is_empty() {
            return Err(Error::unavailable(format!(
                "mdns cannot use UDP port {port}: {}",
                reasons.join("; ")
            )));
        }
        let networks = Mutex::new(networks(&interfaces));
        Ok(Self { families, wanted: options.interfaces.clone(), networks })
    }

    /// Joins interfaces that came up since, and leaves those that went to their fate.
    pub(super) fn rescan(&self) {
        let Ok(found) = interfaces(&self.wanted) else { return };
        for family in &self.families {
            let mut joined = lock(&family.joined);
            joined.retain(|old| found.contains(old));
            for interface in found.iter().filter(|new| new.has(family.v6)) {
                if !joined.contains(interface) {
                    match family.join(interface) {
                        Ok(()) => joined.push(interface.clone()),
                        Err(error) => {
                            tracing::debug!(name = interface.name, %error, "mDNS cannot join");
                        }
                    }
                }
            }
        }
        *lock(&self.networks) = networks(&found);
    }

    /// Sends to the group on every interface. The number of packets that left.
    pub(super) fn multicast(&self, from: From, packet: &[u8]) -> usize {
        self.families.iter().map(|family| family.multicast(from, packet)).sum()
    }

    /// Port of the group.
    #[cfg(test)]
    pub(super) fn port(&self) -> Option<u16> {
        self.families.first().map(|family| family.port)
    }

    /// Answers one asker, from the group's port.
    pub(super) fn reply(&self, packet: &[u8], to: SocketAddr) {
        let family = self.families.iter().find(|family| family.v6 == to.is_ipv6());
        if let Some(Err(error)) = family.map(|family| family.group.send_to(packet, to)) {
            tracing::debug!(%to, %error, "mDNS answer not sent");
        }
    }

    /// Second handles for reading, to be wrapped by the runtime.
    pub(super) fn readers(&self) -> std::io::Result<Vec<(table::Socket, UdpSocket)>> {
        let mut readers = Vec::new();
        for family in &self.families {
            readers.push((table::Socket::Group(family.v6), family.group.try_clone()?));
            readers.push((table::Socket::Answers(family.v6), family.asking.try_clone()?));
        }
        Ok(readers)
    }

    /// True for senders on this link: nobody else is believed, nor answered, which would make this
    /// process a reflector. A private address alone does not say that it is near. A sender without address is a process of this machine that reaches the group over loopback.
    pub(super) fn is_near(&self, sender: IpAddr) -> bool {
        let sender = sender.to_canonical();
        let beside = match sender {
            IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local(),
        };
        beside
            || sender.is_unspecified()
            || lock(&self.networks)
                .iter()
                .any(|(address, prefix)| same_network(*address, sender, *prefix))
    }
}

impl Family {
    fn open(v6: bool, port: u16, interfaces: &[Interface]) -> std::result::Result<Self, String> {
        let bind = |port: u16| {
            bind(v6, port).map_err(|error| match error.kind() {
                std::io::ErrorKind::AddrInUse => {
                    "another process holds the port without sharing it: stop it, or choose another \
                     port on all sides"
                        .to_owned()
                }
                _ => error.to_string(),
            })
        };
        let group = bind(port)?;
        let port = group.local_addr().map_err(|error| error.to_string())?.port();
        let family = Self { v6, port, group, asking: bind(0)?, joined: Mutex::default() };
        let mut reason = "no interface has an address of this family".to_owned();
        let mut joined = Vec::new();
        for interface in interfaces.iter().filter(|interface| interface.has(v6)) {
            match family.join(interface) {
                Ok(()) => joined.push(interface.clone()),
                Err(error) => {
                    reason = format!("{} cannot join the group: {error}", interface.name);
                    tracing::debug!(v6, reason, "mDNS goes without this interface");
                }
            }
        }
        if joined.is_empty() {
            return Err(reason);
        }
        *lock(&family.joined) = joined;
        Ok(family)
    }

    fn join(&self, interface: &Interface) -> std::io::Result<()> {
        let socket = SockRef::from(&*self.group);
        let joined = if self.v6 {
            socket.join_multicast_v6(&GROUP_V6, interface.index)
        } else {
            let index = InterfaceIndexOrAddress::Index(interface.index);
            socket.join_multicast_v4_n(&GROUP_V4, &index)
        };
        match joined {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Ok(()),
            other => other,
        }
    }

    fn multicast(&self, from: From, packet: &[u8]) -> usize {
        let socket = if from == From::Group { &*self.group } else { &*self.asking };
        let joined = lock(&self.joined);
        let sent = joined.iter().filter(|interface| {
            let sent = self.send(socket, packet, interface);
            if let Err(error) = &sent {
                tracing::debug!(name = interface.name, v6 = self.v6, %error, "mDNS packet not sent");
            }
            sent.is_ok()
        });
        sent.count()
    }

    fn send(
        &self,
        socket: &UdpSocket,
        packet: &[u8],
        interface: &Interface,
    ) -> std::io::Result<usize> {
        if self.v6 {
            let group = SocketAddrV6::new(GROUP_V6, self.port, 0, interface.index);
            return socket.send_to(packet, group);
        }
        let address = interface.addresses.iter().find_map(|(address, _)| match address {
            IpAddr::V4(v4) => Some(*v4),
            IpAddr::V6(_) => None,
        });
        SockRef::from(socket).set_multicast_if_v4(&address.unwrap_or(Ipv4Addr::UNSPECIFIED))?;
        socket.send_to(packet, (GROUP_V4, self.port))
    }
}

impl Interface {
    fn has(&self, v6: bool) -> bool {
        self.addresses.iter().any(|(address, _)| address.is_ipv6() == v6)
    }
}

fn bind(v6: bool, port: u16) -> std::io::Result<Uninherited<UdpSocket>> {
    let domain = if v6 { Domain::IPV6 } else { Domain::IPV4 };
    let socket = Socket::new(domain, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if port != 0 {
        socket.set_reuse_address(true)?;
        // Elsewhere the address alone does not share a port; on Linux it does, and REUSEPORT would
        // spread unicast packets over those who share.
        #[cfg(all(unix, not(any(target_os = "linux", target_os = "android"))))]
        socket.set_reuse_port(true)?;
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
    // Linux otherwise delivers what other processes joined, also from interfaces not chosen here.
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
    Ok(Uninherited::new(socket.into()))
}

/// The interfaces asked for, by name or address; all that are up when none is.
fn interfaces(wanted: &[String]) -> Result<Vec<Interface>> {
    let found = if_addrs::get_if_addrs()
        .map_err(|error| Error::unavailable(format!("mdns cannot list interfaces: {error}")))?;
    let mut all: BTreeMap<u32, Interface> = BTreeMap::new();
    for found in found {
        let (Some(index), up) = (found.index, found.is_oper_up() || found.is_loopback()) else {
            tracing::debug!(found.name, "mDNS goes without an interface that has no index");
            continue;
        };
        if !up && wanted.is_empty() {
            continue;
        }
        let interface = all.entry(index).or_default();
        (interface.index, interface.name) = (index, found.name);
        interface.addresses.push(match found.addr {
            if_addrs::IfAddr::V4(v4) => (v4.ip.into(), v4.prefixlen),
            if_addrs::IfAddr::V6(v6) => (v6.ip.into(), v6.prefixlen),
        });
    }
    let is = |interface: &Interface, name: &String| {
        interface.name == *name || interface.addresses.iter().any(|found| is_address(found, name))
    };
    if let Some(missing) = wanted.iter().find(|name| !all.values().any(|known| is(known, name))) {
        let known: Vec<&str> = all.values().map(|interface| interface.name.as_str()).collect();
        return Err(Error::invalid_argument(format!(
            "mdns: no interface is called {missing} or has that address; there are {}",
            known.join(", ")
        )));
    }
    let mut chosen: Vec<Interface> = all.into_values().collect();
    if !wanted.is_empty() {
        for interface in &mut chosen {
            if !wanted.contains(&interface.name) {
                let asked = |found: &_| wanted.iter().any(|name| is_address(found, name));
                interface.addresses.retain(asked);
            }
        }
        chosen.retain(|interface| !interface.addresses.is_empty());
    }
    if chosen.is_empty() {
        return Err(Error::unavailable("mdns: no network interface is up"));
    }
    if chosen.len() > INTERFACE_LIMIT {
        tracing::debug!(found = chosen.len(), "mDNS uses the first {INTERFACE_LIMIT} interfaces");
        chosen.truncate(INTERFACE_LIMIT);
    }
    Ok(chosen)
}

fn is_address((address, _): &(IpAddr, u8), text: &str) -> bool {
    text.parse() == Ok(*address)
}

fn networks(interfaces: &[Interface]) -> Vec<(IpAddr, u8)> {
    interfaces.iter().flat_map(|interface| interface.addresses.iter().copied()).collect()
}

fn same_network(ours: IpAddr, theirs: IpAddr, prefix: u8) -> bool {
    let prefix = u32::from(prefix);
    match (ours, theirs) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            (a.to_bits() ^ b.to_bits()).checked_shr(32_u32.saturating_sub(prefix)).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            (a.to_bits() ^ b.to_bits()).checked_shr(128_u32.saturating_sub(prefix)).unwrap_or(0)
                == 0
        }
        _ => false,
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_compared_by_their_prefix() {
        let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
        assert!(same_network(ip("203.0.113.1"), ip("203.0.113.200"), 24));
        assert!(!same_network(ip("203.0.113.1"), ip("203.0.114.1"), 24));
        assert!(same_network(ip("2001:db8::1"), ip("2001:db8::ffff:1"), 64));
        assert!(!same_network(ip("2001:db8::1"), ip("2001:db8:1::1"), 64));
        assert!(!same_network(ip("203.0.113.1"), ip("2001:db8::1"), 0));
        assert!(!same_network(ip("203.0.113.1"), ip("203.0.113.2"), 32));
    }

    #[test]
    fn strangers_beyond_the_link_are_told_from_neighbours() {
        let options = Options { interfaces: vec!["127.0.0.1".into()], ..Options::default() };
        let links = Links::open(&options, 0).expect("loopback");
        *lock(&links.networks) = vec![([203, 0, 113, 1].into(), 24)];
        let near = |text: &str| links.is_near(text.parse().expect("an address"));
        let neighbours = ["127.0.0.1", "169.254.1.1", "203.0.113.9", "fe80::1", "0.0.0.0"];
        for address in neighbours.into_iter().chain(["::ffff:203.0.113.9"]) {
            assert!(near(address), "{address}");
        }
        for address in ["203.0.114.9", "10.1.2.3", "192.168.1.1", "2001:db8::1", "fd00::1"] {
            assert!(!near(address), "{address}");
        }
    }

    #[test]
    fn unknown_interface_is_refused_with_the_known_ones() {
        let error = interfaces(&["nosuch0".into()]).expect_err("unknown");
        assert!(error.detail().contains("nosuch0") && error.detail().contains("there are"));
    }
}
