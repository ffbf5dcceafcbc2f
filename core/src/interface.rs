//! The network interfaces of this machine, and by which address each is reached.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::{Duration, Instant};

/// How long a listing is shared by all who look: it makes following the interfaces cheap however
/// many services a process has.
const FRESH: Duration = Duration::from_millis(500);

/// Addresses of the documentation networks: what the kernel would do with them, it does with any
/// address that only a default route leads to. Nothing is ever sent there.
const FAR_V4: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)), 9);
const FAR_V6: SocketAddr =
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9);

/// A network interface with at least one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) index: u32,
    pub(crate) name: String,
    /// Packets can leave and arrive: it is switched on and has a carrier.
    pub(crate) up: bool,
    /// A line with two ends, such as a tunnel: a peer that is heard there is the other one.
    pub(crate) point_to_point: bool,
    /// Addresses with the length of their network's prefix, in the order of the system.
    pub(crate) addresses: Vec<(IpAddr, u8)>,
    /// Further networks that are reached by it without a router, such as the other end of a line.
    pub(crate) networks: Vec<(IpAddr, u8)>,
}

/// The addresses by which an interface is reached from its link.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reach {
    pub(crate) v4: Option<Ipv4Addr>,
    pub(crate) v6: Option<Ipv6Addr>,
}

impl Interface {
    /// True when it has an address of the family.
    pub(crate) fn has(&self, v6: bool) -> bool {
        self.addresses.iter().any(|(address, _)| address.is_ipv6() == v6)
    }

    /// The first address of each family that others would use.
    pub(crate) fn reach(&self) -> Reach {
        let mut reach = Reach::default();
        let mut ips: Vec<IpAddr> = self.addresses.iter().map(|(ip, _)| *ip).collect();
        ips.sort_by_key(|ip| rank(*ip));
        for ip in ips {
            match ip {
                IpAddr::V4(v4) => reach.v4 = reach.v4.or(Some(v4)),
                IpAddr::V6(v6) => reach.v6 = reach.v6.or(Some(v6)),
            }
        }
        reach
    }

    /// True for addresses of the networks that this interface is on.
    pub(crate) fn is_on_link(&self, ip: IpAddr) -> bool {
        let networks = self.addresses.iter().chain(&self.networks);
        networks.into_iter().any(|(ours, prefix)| same_network(*ours, ip, *prefix))
    }
}

impl Reach {
    /// What a node that listens on any address tells here, `v6` when on both families: an IPv4
    /// address comes first, because more peers use it, and one that needs a zone only alone.
    pub(crate) fn tells(&self, v6: bool) -> impl Iterator<Item = IpAddr> {
        let usable = |ip: &Ipv6Addr| {
            self.v4.is_none() || !(ip.is_loopback() || is_link_local(IpAddr::V6(*ip)))
        };
        let second = self.v6.filter(|_| v6).filter(usable);
        self.v4.map(IpAddr::V4).into_iter().chain(second.map(IpAddr::V6))
    }
}

/// All interfaces that have addresses, by index.
///
/// # Errors
/// When the system does not tell.
pub(crate) fn list() -> io::Result<Vec<Interface>> {
    let mut all: Vec<Interface> = Vec::new();
    for found in if_addrs::get_if_addrs()? {
        let (up, point_to_point) = (found.is_oper_up() || found.is_loopback(), found.is_p2p());
        let Some(index) = found.index else { continue };
        let address = match found.addr {
            if_addrs::IfAddr::V4(v4) => (v4.ip.into(), v4.prefixlen),
            if_addrs::IfAddr::V6(v6) => (v6.ip.into(), v6.prefixlen),
        };
        match all.iter_mut().find(|known| known.index == index) {
            Some(known) => known.addresses.push(address),
            None => all.push(Interface {
                index,
                name: found.name,
                up,
                point_to_point,
                addresses: vec![address],
                networks: Vec::new(),
            }),
        }
    }
    #[cfg(any(target_os = "linux", target_os = "android"))]
    if let Ok(routes) = std::fs::read_to_string("/proc/net/route") {
        for (name, network, prefix) in routes.lines().filter_map(link_route) {
            let known = all.iter_mut().find(|interface| interface.name == name);
            if let Some(interface) = known.filter(|known| !known.is_on_link(network)) {
                interface.networks.push((network, prefix));
            }
        }
    }
    all.sort_by_key(|interface| interface.index);
    Ok(all)
}

/// A line of Linux's table of IPv4 routes, if its network is reached without a router: interface,
/// network and length of the prefix. A default route does not count: everything would be near.
#[cfg(any(test, target_os = "linux", target_os = "android"))]
fn link_route(line: &str) -> Option<(&str, IpAddr, u8)> {
    const UP: u32 = 1;
    const REJECT: u32 = 0x200;
    let mut fields = line.split_ascii_whitespace();
    let name = fields.next()?;
    let mut number = || u32::from_str_radix(fields.next()?, 16).ok();
    // Addresses are in the order of the network, read as a number of the machine's.
    let (network, gateway, flags) = (number()?.to_ne_bytes(), number()?, number()?);
    let mask = u32::from_str_radix(fields.nth(3)?, 16).ok()?;
    let direct = gateway == 0 && mask != 0 && flags & UP != 0 && flags & REJECT == 0;
    direct.then(|| (name, network.into(), u8::try_from(mask.count_ones()).unwrap_or(32)))
}

/// What this machine's network was like a moment ago.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) interfaces: Vec<Interface>,
    /// Where packets of IPv4 and of IPv6 come from when only a default route leads to their target.
    routed: [Option<IpAddr>; 2],
}

impl Machine {
    /// The interfaces and routes as they were less than [`FRESH`] ago.
    ///
    /// # Errors
    /// When the system does not tell.
    pub(crate) fn current() -> io::Result<Arc<Self>> {
        static KNOWN: Mutex<Option<(Instant, Arc<Machine>)>> = Mutex::new(None);
        // A child that was forked while another thread held the lock must not wait for that thread.
        let mut known = match KNOWN.try_lock() {
            Ok(known) => known,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(Self::look()?.into()),
        };
        if let Some((at, machine)) = &*known
            && at.elapsed() < FRESH
        {
            return Ok(machine.clone());
        }
        let machine = Arc::new(Self::look()?);
        *known = Some((Instant::now(), machine.clone()));
        Ok(machine)
    }

    fn look() -> io::Result<Self> {
        let routed = [FAR_V4, FAR_V6].map(|far| source_towards(far).filter(|ip| !ip.is_loopback()));
        Ok(Self { interfaces: list()?, routed })
    }

    /// The address to tell where only one can be told: the one that the default route goes out from,
    /// else one of an interface that is up, private before public, loopback last. `v6` when IPv6 is
    /// listened on too.
    fn address(&self, v6: bool) -> IpAddr {
        let [v4, other] = self.routed;
        v4.or(other.filter(|ip| v6 && !is_link_local(*ip))).unwrap_or_else(|| {
            let up = self.interfaces.iter().filter(|interface| interface.up);
            best(up.flat_map(|interface| &interface.addresses).map(|(ip, _)| *ip), v6)
        })
    }
}

/// The address of this machine to tell where only one can be told; see [`Machine::address`].
pub(crate) fn default_address(v6: bool) -> IpAddr {
    let machine = Machine::current().ok();
    machine.map_or_else(|| best(std::iter::empty(), v6), |machine| machine.address(v6))
}

/// The address that packets to `target` would come from; nothing is sent.
pub(crate) fn source_towards(target: SocketAddr) -> Option<IpAddr> {
    let any: IpAddr = match target {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect(target).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified()).then_some(ip)
}

fn best(addresses: impl Iterator<Item = IpAddr>, v6: bool) -> IpAddr {
    addresses
        // No socket listens on IPv6 behind `0.0.0.0`, and a zone means nothing elsewhere.
        .filter(|ip| ip.is_ipv4() || (v6 && !is_link_local(*ip)))
        .min_by_key(|ip| rank(*ip))
        .unwrap_or(IpAddr::from([127, 0, 0, 1]))
}

/// Private before public before link-local before loopback; IPv4 first, as more peers use it.
fn rank(ip: IpAddr) -> (u8, bool) {
    let kind = if ip.is_loopback() {
        3
    } else if is_link_local(ip) {
        2
    } else {
        u8::from(!is_private(ip))
    };
    (kind, ip.is_ipv6())
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            ip.is_private() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(ip) => ip.octets()[0] == 0xfd,
    }
}

/// True for addresses that mean something on one link only.
pub(crate) fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    fn pick(addresses: &[&str], v6: bool) -> String {
        best(addresses.iter().map(|address| ip(address)), v6).to_string()
    }

    #[test]
    fn private_comes_before_public_before_loopback() {
        assert_eq!(pick(&["127.0.0.1", "8.8.8.8", "10.1.2.3"], false), "10.1.2.3");
        assert_eq!(pick(&["127.0.0.1", "8.8.8.8", "169.254.1.1"], false), "8.8.8.8");
        assert_eq!(pick(&["::1", "127.0.0.1"], false), "127.0.0.1");
        assert_eq!(pick(&["fe80::1", "127.0.0.1"], true), "127.0.0.1");
        assert_eq!(pick(&["fd00::1", "100.64.0.9"], true), "100.64.0.9");
        assert_eq!(pick(&[], true), "127.0.0.1");
    }

    #[test]
    fn an_address_is_of_a_family_that_is_listened_on() {
        let addresses = ["::1", "127.0.0.1", "192.0.2.2", "fd00::2"];
        assert_eq!(pick(&addresses, false), "192.0.2.2");
        assert_eq!(pick(&["fd00::2", "127.0.0.1"], false), "127.0.0.1");
        assert_eq!(pick(&addresses, true), "fd00::2");
    }

    #[test]
    fn networks_are_compared_by_their_prefix() {
        assert!(same_network(ip("203.0.113.1"), ip("203.0.113.200"), 24));
        assert!(!same_network(ip("203.0.113.1"), ip("203.0.114.1"), 24));
        assert!(same_network(ip("2001:db8::1"), ip("2001:db8::ffff:1"), 64));
        assert!(!same_network(ip("2001:db8::1"), ip("2001:db8:1::1"), 64));
        assert!(!same_network(ip("203.0.113.1"), ip("2001:db8::1"), 0));
        assert!(!same_network(ip("203.0.113.1"), ip("203.0.113.2"), 32));
    }

    /// What a node that listens everywhere tells on an interface with these addresses.
    fn tells(addresses: &[&str], v6: bool) -> Vec<String> {
        let interface = Interface {
            index: 2,
            name: "eth0".into(),
            up: true,
            point_to_point: false,
            addresses: addresses.iter().map(|address| (ip(address), 24)).collect(),
            networks: Vec::new(),
        };
        interface.reach().tells(v6).map(|ip| ip.to_string()).collect()
    }

    #[test]
    fn an_interface_tells_the_addresses_it_is_reached_by() {
        assert_eq!(tells(&["192.168.1.10", "192.168.1.11"], true), ["192.168.1.10"]);
        assert_eq!(tells(&["fe80::1", "192.168.1.10"], true), ["192.168.1.10"]);
        assert_eq!(tells(&["fe80::1", "fd00::1", "10.0.0.1"], true), ["10.0.0.1", "fd00::1"]);
        assert_eq!(tells(&["fe80::1", "fd00::1", "10.0.0.1"], false), ["10.0.0.1"]);
        assert_eq!(tells(&["fe80::1", "2001:db8::1"], true), ["2001:db8::1"]);
        assert_eq!(tells(&["fe80::1"], true), ["fe80::1"], "better than nothing");
        assert_eq!(tells(&["fe80::1"], false), [""; 0]);
        assert_eq!(tells(&["127.0.0.1", "::1"], true), ["127.0.0.1"]);
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn other_end_of_a_line_is_on_it_and_what_a_router_leads_to_is_not() {
        let table = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\n\
            eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
            eth1\t0200000A\t00000000\t0005\t0\t0\t0\tFFFFFFFF\t0\t0\t0\n\
            eth1\t00000000\t00000000\t0001\t0\t0\t0\t00000000\t0\t0\t0\n\
            eth0\t0000000B\t0101A8C0\t0003\t0\t0\t0\t000000FF\t0\t0\t0\n";
        let routes: Vec<_> = table.lines().filter_map(link_route).collect();
        assert_eq!(routes, [("eth1", ip("10.0.0.2"), 32)]);
    }

    #[test]
    fn loopback_is_listed_with_its_address() {
        let machine = Machine::current().expect("interfaces");
        let known =
            |interface: &Interface| interface.addresses.iter().any(|(ip, _)| ip.is_loopback());
        assert!(machine.interfaces.iter().any(|interface| interface.up && known(interface)));
    }

    #[test]
    fn the_default_route_comes_before_the_order_of_interfaces() {
        let interface = |index, address: &str| Interface {
            index,
            name: format!("eth{index}"),
            up: true,
            point_to_point: false,
            addresses: vec![(ip(address), 16)],
            networks: Vec::new(),
        };
        let interfaces = vec![interface(1, "172.17.0.1"), interface(2, "192.168.1.10")];
        let mut machine = Machine { interfaces, routed: [Some(ip("192.168.1.10")), None] };
        assert_eq!(machine.address(true), ip("192.168.1.10"));
        machine.routed = [None, Some(ip("2001:db8::5"))];
        assert_eq!(machine.address(true), ip("2001:db8::5"));
        assert_eq!(machine.address(false), ip("172.17.0.1"), "no server listens on IPv6");
        machine.interfaces[0].up = false;
        assert_eq!(machine.address(false), ip("192.168.1.10"));
    }
}
