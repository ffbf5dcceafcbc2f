//! Sockets: one for each interface and address family on the port of the group, and one for each
//! family to ask from.
//!
//! A *link* shares the mDNS port with every other speaker on the machine, go-micro's included. Each
//! interface has links of its own, so that a question is answered with the address that is reached by
//! the interface it came in by, and no limit of the system on memberships is met. The *asking* sockets
//! have ports of their own, because go-micro answers by unicast and unicast to a shared port reaches
//! only one of those who share it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockRef, Socket, Type};

use super::options::Options;
use crate::error::{Error, Result};
use crate::fork::Uninherited;
use crate::interface::{self, Interface, Machine, Reach, source_towards};

const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// Room for the answers of a large fleet to one question; the system may grant less.
const RECEIVE_BUFFER: usize = 1 << 20;
/// Most interfaces used; machines that run containers have hundreds.
const INTERFACE_LIMIT: usize = 64;

/// All sockets of one registry object.
#[derive(Debug)]
pub(super) struct Links {
    wanted: Vec<String>,
    port: u16,
    /// Sockets that questions leave from; `true` for IPv6.
    asking: Vec<(bool, Uninherited<UdpSocket>)>,
    /// Also keeps "choose the interface, then send" together.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    links: Vec<Arc<Link>>,
    /// Every address of this machine, also of interfaces that are not used.
    own: Vec<IpAddr>,
    /// What was said already about interfaces that are left out.
    told: BTreeSet<String>,
}

/// One interface in one address family.
#[derive(Debug)]
pub(super) struct Link {
    pub(super) interface: Interface,
    pub(super) v6: bool,
    socket: Uninherited<UdpSocket>,
}

/// Which socket a question leaves from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// The one of the group, on its interface.
    Group,
    /// One of a port of its own, which most answers come back to.
    Asking,
}

/// A link that is there since a moment ago, or whose interface has other addresses.
#[derive(Debug)]
pub(super) struct News {
    pub(super) link: Arc<Link>,
    /// How its interface was reached before; `None` when nothing was said there.
    pub(super) before: Option<Reach>,
}

impl Links {
    /// Binds and joins. Interfaces and families that fail are left out, as long as one works. Port 0
    /// takes a free one.
    pub(super) fn open(options: &Options, port: u16) -> Result<Self> {
        let mut asking = Vec::new();
        let mut reasons = Vec::new();
        for v6 in [false, true] {
            match bind(v6, 0) {
                Ok(socket) => asking.push((v6, socket)),
                Err(error) => reasons.push(error.to_string()),
            }
        }
        let mut links =
            Self { wanted: options.interfaces.clone(), port, asking, state: Mutex::default() };
        let chosen = choose(&interface::list().map_err(unlisted)?, &links.wanted)?;
        let mut state = State { own: addresses_of(&chosen.all), ..State::default() };
        for (interface, v6) in chosen.pairs() {
            match Link::open(interface, v6, links.port) {
                Ok(link) => {
                    links.port = link.socket.local_addr().map_or(port, |bound| bound.port());
                    state.links.push(Arc::new(link));
                }
                Err(reason) => {
                    state.leave_out(&interface.name, v6, &reason);
                    reasons.push(reason);
                }
            }
        }
        chosen.say_what_is_too_much(&mut state);
        if state.links.is_empty() && !chosen.used.is_empty() {
            reasons.dedup();
            return Err(Error::unavailable(format!(
                "mdns cannot use UDP port {port}: {}",
                reasons.join("; ")
            )));
        }
        links.state = Mutex::new(state);
        Ok(links)
    }

    /// Looks at the interfaces again: joins those that came up, leaves those that went, and tells of
    /// what is new.
    pub(super) fn rescan(&self) -> Vec<News> {
        let Ok(machine) = Machine::current() else { return Vec::new() };
        // Where one that was asked for is gone altogether, the others stay as they are.
        let Ok(chosen) = choose(&machine.interfaces, &self.wanted) else { return Vec::new() };
        let mut state = lock(&self.state);
        state.own = addresses_of(&chosen.all);
        let old = std::mem::take(&mut state.links);
        let mut news = Vec::new();
        for (interface, v6) in chosen.pairs() {
            let known = old.iter().find(|link| link.is_of(interface, v6));
            if let Some(link) = known.filter(|link| link.interface == *interface) {
                state.links.push(link.clone());
                continue;
            }
            // One socket never has two lives: what is under way in the old one is of the old address.
            match Link::open(interface, v6, self.port) {
                Ok(link) => {
                    let link = Arc::new(link);
                    state.links.push(link.clone());
                    let before = old.iter().find(|old| old.interface.index == interface.index);
                    news.push(News { link, before: before.map(|old| old.interface.reach()) });
                }
                Err(reason) => state.leave_out(&interface.name, v6, &reason),
            }
        }
        chosen.say_what_is_too_much(&mut state);
        news
    }

    /// The links of this moment.
    pub(super) fn all(&self) -> Vec<Arc<Link>> {
        lock(&self.state).links.clone()
    }

    /// True when others can be reached by IPv6 and not by IPv4.
    pub(super) fn is_ipv6_alone(&self) -> bool {
        let links = self.all();
        let reaches = |v6: bool| {
            let of_family = |ip: &IpAddr| ip.is_ipv6() == v6 && !ip.is_loopback();
            let mut addresses = links.iter().flat_map(|link| &link.interface.addresses);
            addresses.any(|(ip, _)| of_family(ip))
        };
        reaches(true) && !reaches(false)
    }

    /// Sends a question to the group by every interface. The number of packets that left.
    pub(super) fn ask(&self, from: From, packet: &[u8]) -> usize {
        if from == From::Group {
            return self.announce(|_| Some(packet.to_vec()));
        }
        let state = lock(&self.state);
        let asking = |v6: bool| self.asking.iter().find(|(family, _)| *family == v6);
        let sent = state.links.iter().filter(|link| {
            let Some((_, socket)) = asking(link.v6) else { return false };
            let aimed = if link.v6 { Ok(()) } else { link.aim(socket) };
            link.note(aimed.and_then(|()| link.send(socket, packet, self.port)))
        });
        sent.count()
    }

    /// Sends to the group, by every interface what is to be said there. The number of packets that
    /// left.
    pub(super) fn announce(&self, say: impl Fn(&Reach) -> Option<Vec<u8>>) -> usize {
        let links = self.all();
        let sent = links.iter().filter(|link| {
            say(&link.interface.reach()).is_some_and(|packet| self.announce_at(link, &packet))
        });
        sent.count()
    }

    /// Sends to the group by one interface. True when the packet left.
    pub(super) fn announce_at(&self, link: &Link, packet: &[u8]) -> bool {
        link.note(link.send(&link.socket, packet, self.port))
    }

    /// Port of the group.
    #[cfg(test)]
    pub(super) fn port(&self) -> Option<u16> {
        Some(self.port)
    }

    /// Second handles of the asking sockets for reading, to be wrapped by the runtime.
    pub(super) fn asking(&self) -> std::io::Result<Vec<(bool, UdpSocket)>> {
        self.asking.iter().map(|(v6, socket)| Ok((*v6, socket.try_clone()?))).collect()
    }

    /// True for senders on a link of ours: those of `link`, or of any when it is unknown by which one
    /// a packet came. What comes from elsewhere has passed a router, and mDNS never does.
    pub(super) fn is_near(&self, sender: SocketAddr, link: Option<&Link>) -> bool {
        let ip = sender.ip().to_canonical();
        if ip.is_loopback() || ip.is_unspecified() {
            // A process of this machine, whatever address it has chosen.
            return true;
        }
        let state = lock(&self.state);
        if state.own.contains(&ip) {
            return true;
        }
        match link {
            Some(link) => link.is_near(sender),
            None => state.links.iter().any(|link| {
                link.v6 == sender.is_ipv6()
                    && (link.interface.is_on_link(ip)
                        || interface::is_link_local(ip)
                        || (link.interface.point_to_point && link.leads_to(sender)))
            }),
        }
    }
}

impl State {
    /// Says once that an interface is left out.
    fn leave_out(&mut self, name: &str, v6: bool, reason: &str) {
        let family = if v6 { "IPv6" } else { "IPv4" };
        if self.told.insert(format!("{name} {family}")) {
            tracing::warn!(interface = name, family, reason, "mDNS goes without an interface");
        }
    }
}

impl Link {
    fn open(interface: &Interface, v6: bool, port: u16) -> std::result::Result<Self, String> {
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

    fn is_near(&self, sender: SocketAddr) -> bool {
        let ip = sender.ip().to_canonical();
        interface::is_link_local(ip)
            || self.interface.is_on_link(ip)
            || self.interface.point_to_point
    }

    fn is_of(&self, interface: &Interface, v6: bool) -> bool {
        self.v6 == v6 && self.interface.index == interface.index
    }

    /// Lets what `socket` sends to the group leave by this interface, from its address.
    fn aim(&self, socket: &UdpSocket) -> std::io::Result<()> {
        let addresses = &mut self.interface.addresses.iter();
        let address = addresses.find_map(|(address, _)| match address {
            IpAddr::V4(v4) => Some(*v4),
            IpAddr::V6(_) => None,
        });
        SockRef::from(socket).set_multicast_if_v4(&address.unwrap_or(Ipv4Addr::UNSPECIFIED))
    }

    fn send(&self, socket: &UdpSocket, packet: &[u8], port: u16) -> std::io::Result<usize> {
        if self.v6 {
            socket.send_to(packet, SocketAddrV6::new(GROUP_V6, port, 0, self.interface.index))
        } else {
            socket.send_to(packet, (GROUP_V4, port))
        }
    }

    /// True when packets to `peer` leave by this interface.
    fn leads_to(&self, peer: SocketAddr) -> bool {
        let from = source_towards(peer);
        self.interface.addresses.iter().any(|(ours, _)| Some(*ours) == from)
    }

    fn note(&self, sent: std::io::Result<usize>) -> bool {
        if let Err(error) = &sent {
            tracing::debug!(name = self.interface.name, v6 = self.v6, %error, "mDNS packet not sent");
        }
        sent.is_ok()
    }
}

fn bind(v6: bool, port: u16) -> std::io::Result<Uninherited<UdpSocket>> {
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
    // spread unicast packets over those who share.
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

/// The interfaces that are used, and those there are.
struct Chosen {
    used: Vec<Interface>,
    left_out: usize,
    all: Vec<Interface>,
}

impl Chosen {
    /// Interfaces with the families they have.
    fn pairs(&self) -> impl Iterator<Item = (&Interface, bool)> {
        let pairs = |interface| [false, true].map(|v6| (interface, v6));
        self.used.iter().flat_map(pairs).filter(|(interface, v6)| interface.has(*v6))
    }

    fn say_what_is_too_much(&self, state: &mut State) {
        if self.left_out > 0 && state.told.insert("limit".into()) {
            tracing::warn!(
                left_out = self.left_out,
                "mDNS uses {INTERFACE_LIMIT} interfaces; name those that matter, as in mdns://eth0"
            );
        }
    }
}

/// The interfaces asked for, by name or address; all that are up when none is.
fn choose(all: &[Interface], wanted: &[String]) -> Result<Chosen> {
    let mut used: Vec<Interface> = all.to_vec();
    used.retain(|interface| interface.up || !wanted.is_empty());
    let is = |interface: &Interface, name: &String| {
        interface.name == *name || interface.addresses.iter().any(|found| is_address(found, name))
    };
    let missing = |name: &&String| !used.iter().any(|known| is(known, name)) && !exists(name);
    if let Some(missing) = wanted.iter().find(missing) {
        let known: Vec<&str> = used.iter().map(|interface| interface.name.as_str()).collect();
        return Err(Error::invalid_argument(format!(
            "mdns: no interface is called {missing} or has that address; there are {}",
            known.join(", ")
        )));
    }
    if wanted.is_empty() {
        leave_link_local(&mut used);
    } else {
        for interface in &mut used {
            if !wanted.contains(&interface.name) {
                let asked = |found: &_| wanted.iter().any(|name| is_address(found, name));
                interface.addresses.retain(asked);
            }
        }
    }
    used.retain(|interface| !interface.addresses.is_empty());
    if used.is_empty() && wanted.is_empty() {
        return Err(Error::unavailable("mdns: no network interface is up"));
    }
    let left_out = used.len().saturating_sub(INTERFACE_LIMIT);
    used.truncate(INTERFACE_LIMIT);
    Ok(Chosen { used, left_out, all: all.to_vec() })
}

/// Leaves out link-local addresses of IPv6 where this machine has others, and those of IPv4 where the
/// interface has: every end of a container's network has one, and no peer to tell it to. So has
/// loopback, which carries no IPv6 multicast.
fn leave_link_local(used: &mut [Interface]) {
    let global = |(ip, _): &(IpAddr, u8)| !ip.is_loopback() && !interface::is_link_local(*ip);
    let elsewhere = used.iter().any(|interface| interface.addresses.iter().any(global));
    for interface in used {
        let here = interface.addresses.iter().any(global);
        let v4 = interface.has(false);
        interface.addresses.retain(|(ip, _)| match ip {
            IpAddr::V4(v4) => !(here && v4.is_link_local()),
            IpAddr::V6(v6) => !(elsewhere && v6.is_unicast_link_local() || v4 && v6.is_loopback()),
        });
    }
}

/// True for the name of an interface that has no address yet: it is waited for.
fn exists(name: &str) -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Ok(socket) = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP)) {
        return socket.bind_device(Some(name.as_bytes())).is_ok();
    }
    let _ = name;
    false
}

fn unlisted(error: std::io::Error) -> Error {
    Error::unavailable(format!("mdns cannot list interfaces: {error}"))
}

fn addresses_of(interfaces: &[Interface]) -> Vec<IpAddr> {
    interfaces.iter().flat_map(|interface| &interface.addresses).map(|(ip, _)| *ip).collect()
}

fn is_address((address, _): &(IpAddr, u8), text: &str) -> bool {
    text.parse() == Ok(*address)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(index: u32, addresses: &[(&str, u8)]) -> Interface {
        let address = |(ip, prefix): &(&str, u8)| (ip.parse().expect("an address"), *prefix);
        Interface {
            index,
            name: format!("eth{index}"),
            up: true,
            point_to_point: false,
            addresses: addresses.iter().map(address).collect(),
            networks: Vec::new(),
        }
    }

    /// A link that has these addresses in name only.
    fn link(v6: bool, interface: Interface) -> Arc<Link> {
        let socket = Uninherited::new(UdpSocket::bind("127.0.0.1:0").expect("a socket"));
        Arc::new(Link { interface, v6, socket })
    }

    #[test]
    fn strangers_beyond_the_link_are_told_from_neighbours() {
        let options = Options { interfaces: vec!["127.0.0.1".into()], ..Options::default() };
        let links = Links::open(&options, 0).expect("loopback");
        let card = link(false, interface(7, &[("203.0.113.1", 24)]));
        let other = link(false, interface(8, &[("10.0.0.1", 8)]));
        let six = link(true, interface(7, &[("2001:db8::1", 64)]));
        lock(&links.state).own = vec!["192.0.2.1".parse().expect("an address")];
        lock(&links.state).links = vec![card.clone(), other, six.clone()];
        let near = |text: &str, link| {
            links.is_near(SocketAddr::new(text.parse().expect("an address"), 5353), link)
        };
        for address in ["127.0.0.1", "169.254.1.1", "203.0.113.9", "0.0.0.0", "192.0.2.1"] {
            assert!(near(address, None) && near(address, Some(&card)), "{address}");
        }
        assert!(near("10.1.2.3", None), "it is on the other link");
        assert!(!near("10.1.2.3", Some(&card)), "this interface is not on its network");
        for address in ["203.0.114.9", "198.51.100.1", "192.168.1.1"] {
            assert!(!near(address, None) && !near(address, Some(&card)), "{address}");
        }
        for address in ["fe80::1", "2001:db8::9", "::1"] {
            assert!(near(address, None) && near(address, Some(&six)), "{address}");
        }
        assert!(!near("2001:db8:1::9", None) && !near("2001:db8:1::9", Some(&six)));
    }

    #[test]
    fn link_local_senders_are_heard_by_the_interface_they_name() {
        let link = link(true, interface(7, &[("fe80::7", 64)]));
        let from =
            |scope| SocketAddrV6::new("fe80::9".parse().expect("an address"), 5353, 0, scope);
        assert!(link.is_arrival(from(7).into()) && !link.is_arrival(from(8).into()));
        assert!(link.is_arrival(SocketAddr::from(([10, 0, 0, 1], 5353))));
    }

    fn used(interfaces: &[Interface]) -> Vec<String> {
        let chosen = choose(interfaces, &[]).expect("interfaces");
        let addresses = |interface: &Interface| addresses_of(std::slice::from_ref(interface));
        let texts = |ips: Vec<IpAddr>| ips.iter().map(ToString::to_string).collect::<Vec<_>>();
        chosen.used.iter().map(|interface| texts(addresses(interface)).join(" ")).collect()
    }

    #[test]
    fn link_local_addresses_are_used_where_there_is_nothing_else() {
        let lo = interface(1, &[("127.0.0.1", 8), ("::1", 128)]);
        let card = interface(2, &[("192.168.1.10", 24), ("fe80::2", 64)]);
        let line = interface(3, &[("169.254.3.4", 16), ("fe80::3", 64)]);
        let container = interface(4, &[("fe80::4", 64)]);
        let all = [lo.clone(), card, line.clone(), container.clone()];
        assert_eq!(used(&all), ["127.0.0.1", "192.168.1.10", "169.254.3.4"]);
        assert_eq!(used(&[lo, line, container]), ["127.0.0.1", "169.254.3.4 fe80::3", "fe80::4"]);
        let wanted = choose(&all, &["eth4".into()]).expect("it is there");
        assert_eq!(wanted.used[0].addresses.len(), 1, "what is named is used");
    }

    #[test]
    fn interfaces_over_the_limit_are_counted() {
        let many: Vec<Interface> =
            (1..=100).map(|index| interface(index, &[("10.0.0.1", 8)])).collect();
        let chosen = choose(&many, &[]).expect("interfaces");
        assert_eq!((chosen.used.len(), chosen.left_out), (INTERFACE_LIMIT, 36));
    }

    #[test]
    fn unknown_interface_is_refused_with_the_known_ones() {
        let interfaces = interface::list().expect("interfaces");
        let error = choose(&interfaces, &["nosuch0".into()]).err().expect("unknown");
        assert!(error.detail().contains("nosuch0") && error.detail().contains("there are"));
    }
}
