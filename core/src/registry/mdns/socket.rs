//! Sockets: one for each interface and address family on the port of the group, and one for each
//! family to ask from.
//!
//! A *link* shares the mDNS port with every other speaker on the machine, go-micro's included. Each
//! interface has links of its own, so that a question is answered with the address that is reached by
//! the interface it came in by, and no limit of the system on memberships is met. The *asking* sockets
//! have ports of their own, because go-micro answers by unicast and unicast to a shared port reaches
//! only one of the sockets that share it.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::chosen::{Chosen, INTERFACE_LIMIT, addresses_of, choose, unlisted};
use super::link::{Link, bind};
use super::options::Options;
use crate::error::{Error, Result};
use crate::fork::Uninherited;
use crate::interface::{self, Machine, Reach};

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

/// Which socket a question leaves from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// The one of the group, on its interface.
    Group,
    /// One of a port of its own, which most answers come back to.
    Asking,
}

/// A link that has just come, or has an interface with other addresses now.
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
        state.say_what_is_too_much(&chosen);
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
        state.say_what_is_too_much(&chosen);
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
    fn say_what_is_too_much(&mut self, chosen: &Chosen) {
        if chosen.left_out > 0 && self.told.insert("limit".into()) {
            tracing::warn!(
                left_out = chosen.left_out,
                "mDNS uses {INTERFACE_LIMIT} interfaces; name those that matter, as in mdns://eth0"
            );
        }
    }

    /// Says once that an interface is left out.
    fn leave_out(&mut self, name: &str, v6: bool, reason: &str) {
        let family = if v6 { "IPv6" } else { "IPv4" };
        if self.told.insert(format!("{name} {family}")) {
            tracing::warn!(interface = name, family, reason, "mDNS goes without an interface");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV6;

    use super::super::chosen::interface;
    use super::*;
    use crate::interface::Interface;

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
}
