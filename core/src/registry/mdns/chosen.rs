//! Which interfaces of this machine are used.

use std::net::IpAddr;

#[cfg(any(target_os = "linux", target_os = "android"))]
use socket2::{Domain, Protocol, Socket, Type};

use crate::error::{Error, Result};
use crate::interface::{self, Interface};

/// Most interfaces used; machines that run containers have hundreds.
pub(super) const INTERFACE_LIMIT: usize = 64;

/// The interfaces that are used, and those there are.
pub(super) struct Chosen {
    pub(super) used: Vec<Interface>,
    pub(super) left_out: usize,
    pub(super) all: Vec<Interface>,
}

impl Chosen {
    /// Interfaces with the families they have.
    pub(super) fn pairs(&self) -> impl Iterator<Item = (&Interface, bool)> {
        let pairs = |interface| [false, true].map(|v6| (interface, v6));
        self.used.iter().flat_map(pairs).filter(|(interface, v6)| interface.has(*v6))
    }
}

/// The interfaces asked for, by name or address; all that are up when none is.
pub(super) fn choose(all: &[Interface], wanted: &[String]) -> Result<Chosen> {
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

pub(super) fn unlisted(error: std::io::Error) -> Error {
    Error::unavailable(format!("mdns cannot list interfaces: {error}"))
}

pub(super) fn addresses_of(interfaces: &[Interface]) -> Vec<IpAddr> {
    interfaces.iter().flat_map(|interface| &interface.addresses).map(|(ip, _)| *ip).collect()
}

fn is_address((address, _): &(IpAddr, u8), text: &str) -> bool {
    text.parse() == Ok(*address)
}

/// An interface that has these addresses in name only.
#[cfg(test)]
pub(super) fn interface(index: u32, addresses: &[(&str, u8)]) -> Interface {
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

#[cfg(test)]
mod tests {
    use super::*;

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
