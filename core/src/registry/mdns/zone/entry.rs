//! What is said of one node, or of one service in the list of services: its records and packets.

use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use super::super::names::Names;
use super::super::packet::{CLASS_IN, Question, UNICAST_BIT, kind};
use super::super::writer::{ANNOUNCEMENT, ANSWER, Writer};
use crate::interface::Reach;

/// The records of one instance: a node, or a service in the list of services.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// What is asked for: `greeter.micro.`, or the name of the list.
    pub(super) service: String,
    /// Name of the node, or of the entry in the list.
    pub(super) instance: String,
    pub(super) port: u16,
    pub(super) address: Told,
    pub(super) ttl: u32,
    /// RDATA of the TXT record.
    pub(super) text: Vec<u8>,
}

/// Which address a node tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// This one, on every interface.
    One(IpAddr),
    /// The one that it has on the interface; with `v6`, it listens on both families.
    Any { v6: bool },
}

/// A record of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    Enumeration,
    Pointer,
    Server,
    Address(IpAddr),
    Text,
}

/// Something to say to the group about a node of ours: what exactly depends on the interface.
#[derive(Debug, Clone)]
pub(in super::super) struct Announcement {
    pub(super) entry: Arc<Entry>,
    pub(super) host: Arc<str>,
    pub(super) ttl: u32,
}

impl Told {
    /// The addresses to tell on an interface that is reached like `reach`.
    pub(super) fn on(self, reach: &Reach) -> SmallVec<[IpAddr; 2]> {
        match self {
            Self::One(ip) => SmallVec::from_iter([ip]),
            Self::Any { v6 } => reach.tells(v6).collect(),
        }
    }
}

impl Announcement {
    /// The packet to send by an interface that is reached like `reach`; `None` when the node cannot be
    /// reached there.
    pub(in super::super) fn packet(&self, reach: &Reach) -> Option<Vec<u8>> {
        let addresses = self.entry.address.on(reach);
        let tells = !addresses.is_empty();
        tells.then(|| self.entry.announcement(&self.host, self.ttl, &addresses))
    }
}

impl Entry {
    /// The packet that answers those of `questions` this entry knows about.
    pub(super) fn reply(
        &self,
        id: u16,
        questions: &[&Question],
        (names, host): (&Names, &str),
        reach: &Reach,
    ) -> Option<Vec<u8>> {
        let addresses = self.address.on(reach);
        if addresses.is_empty() {
            return None;
        }
        let mut packet = Writer::compressed(id, ANSWER);
        let mut said: SmallVec<[Says; 8]> = SmallVec::new();
        for question in questions {
            let says = self.answer(question, names, host, &addresses);
            if !says.is_empty() {
                packet.question(question);
            }
            for record in says {
                if !said.contains(&record) {
                    said.push(record);
                }
            }
        }
        said.iter().for_each(|record| {
            self.write(&mut packet, *record, &names.enumeration, host, self.ttl);
        });
        (!packet.is_empty()).then(|| packet.finish())
    }

    /// What this entry knows about `question`, in the order Go's readers need: the server names the
    /// host before the address of the host comes.
    fn answer(
        &self,
        question: &Question,
        names: &Names,
        host: &str,
        addresses: &[IpAddr],
    ) -> SmallVec<[Says; 8]> {
        let Question { name, kind, class } = question;
        let mut says = SmallVec::new();
        if !matches!(class & !UNICAST_BIT, CLASS_IN | kind::ANY) {
            return says;
        }
        let all = *kind == kind::ANY;
        let address = |wanted: u16| {
            let of = move |ip: &&IpAddr| match ip {
                IpAddr::V4(_) => wanted == kind::A,
                IpAddr::V6(_) => wanted == kind::AAAA,
            };
            addresses.iter().filter(of).map(|ip| Says::Address(*ip))
        };
        let whole = || addresses.iter().map(|ip| Says::Address(*ip));
        if *name == names.enumeration && (all || *kind == kind::PTR) {
            says.push(Says::Enumeration);
        } else if *name == *host {
            says.extend(address(*kind));
        } else if *name == self.service && (all || *kind == kind::PTR) {
            says.extend([Says::Pointer, Says::Server]);
            says.extend(whole());
            says.push(Says::Text);
        } else if *name == self.instance {
            if all || *kind == kind::SRV {
                says.push(Says::Server);
                says.extend(whole());
            }
            says.extend(address(*kind));
            if all || *kind == kind::TXT {
                says.push(Says::Text);
            }
        }
        says
    }

    /// The packet that announces this entry, or says goodbye with a `ttl` of 0.
    pub(super) fn announcement(&self, host: &str, ttl: u32, addresses: &[IpAddr]) -> Vec<u8> {
        let mut packet = Writer::plain(0, ANNOUNCEMENT);
        let addresses = addresses.iter().map(|ip| Says::Address(*ip));
        for record in [Says::Server].into_iter().chain(addresses).chain([Says::Text]) {
            self.write(&mut packet, record, "", host, ttl);
        }
        packet.finish()
    }

    fn write(&self, packet: &mut Writer, record: Says, enumeration: &str, host: &str, ttl: u32) {
        match record {
            Says::Enumeration => packet.pointer(enumeration, ttl, &self.service),
            Says::Pointer => packet.pointer(&self.service, ttl, &self.instance),
            Says::Server => packet.server(&self.instance, ttl, self.port, host),
            Says::Address(ip) => packet.address(host, ttl, ip),
            Says::Text => packet.text(&self.instance, ttl, &self.text),
        }
    }
}
