//! What this process answers for: its own nodes and the list of their services.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use smallvec::SmallVec;
use tokio::time::Instant;

use super::names::Names;
use super::packet::{CLASS_IN, PACKET_LIMIT, Question, UNICAST_BIT, kind};
use super::txt::{self, Payload};
use super::writer::{self, ANNOUNCEMENT, ANSWER, Writer};
use crate::error::{Error, Result};
use crate::interface::{Reach, default_address};
use crate::registry::{Node, Service};

/// Seconds that records live, as in go-micro.
pub(super) const TTL: u32 = 120;
/// Most nodes one registry object announces.
const NODE_LIMIT: usize = 4096;
/// Most packets that answer one query, and most bytes of them.
const ANSWER_LIMIT: usize = 1024;
const ANSWER_BYTES: usize = 1 << 20;
/// Port of entries of the list, as in go-micro; nothing listens there.
const LIST_PORT: u16 = 9999;
/// When announcements follow the first one.
const ANNOUNCEMENTS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

/// The records of one instance: a node, or a service in the list of services.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    /// What is asked for: `greeter.micro.`, or the name of the list.
    service: String,
    /// Who answers.
    instance: String,
    port: u16,
    address: Told,
    ttl: u32,
    /// RDATA of the TXT record.
    text: Vec<u8>,
}

/// Which address a node tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// This one, on every interface.
    One(IpAddr),
    /// The one that it has on the interface; with `v6`, it listens on both families.
    Any { v6: bool },
}

/// A record of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    Enumeration,
    Pointer,
    Server,
    Address(IpAddr),
    Text,
}

/// Something to say to the group about a node of ours: what exactly depends on the interface.
#[derive(Debug, Clone)]
pub(super) struct Announcement {
    entry: Arc<Entry>,
    host: Arc<str>,
    ttl: u32,
}

/// A node of ours.
#[derive(Debug)]
struct Own {
    entry: Arc<Entry>,
    /// Name of its service.
    service: String,
    expires: Option<Instant>,
    announced: Instant,
    /// Announcements sent since the content changed, after the first.
    repeated: usize,
}

/// The nodes of one registry object.
#[derive(Debug)]
pub(super) struct Zone {
    names: Arc<Names>,
    /// Owner of the address records.
    host: Arc<str>,
    nodes: HashMap<String, Own>,
    /// Entries by every name they answer to but the two that all answer to.
    answers: HashMap<String, Vec<Arc<Entry>>>,
}

/// A node checked and ready to be announced.
#[derive(Debug)]
pub(super) struct Prepared {
    entry: Entry,
    service: Service,
}

/// What a registration changed.
#[derive(Debug)]
pub(super) struct Registered {
    /// Name of the instance.
    pub(super) instance: String,
    /// The record of the version with this one node, as others read it.
    pub(super) service: Service,
    /// To be sent to the group.
    pub(super) announcement: Announcement,
}

/// What to do for nodes of ours now, and when to look again.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// To be sent to the group.
    pub(super) announcements: Vec<Announcement>,
    /// Instances that were not refreshed in time.
    pub(super) expired: Vec<String>,
    pub(super) next: Option<Instant>,
}

impl Zone {
    pub(super) fn new(names: Arc<Names>, host: String) -> Self {
        Self { names, host: host.into(), nodes: HashMap::new(), answers: HashMap::new() }
    }

    /// Refuses what would go over the limit, before anything is registered.
    pub(super) fn make_room(&self, prepared: &[Prepared]) -> Result<()> {
        let new = prepared.iter().filter(|new| !self.holds(&new.entry.instance)).count();
        if self.nodes.len() + new > NODE_LIMIT {
            return Err(Error::resource_exhausted(format!(
                "mdns announces at most {NODE_LIMIT} nodes per registry"
            )));
        }
        Ok(())
    }

    /// Answers for the node from now on; refreshes it when it is known.
    pub(super) fn register(
        &mut self,
        prepared: Prepared,
        ttl: Option<Duration>,
        now: Instant,
    ) -> Registered {
        let Prepared { entry, service } = prepared;
        let instance = entry.instance.clone();
        let expires = ttl.and_then(|ttl| now.checked_add(ttl));
        let known = self.nodes.get_mut(&instance).filter(|own| *own.entry == entry);
        let entry = match known {
            Some(own) => {
                own.expires = expires;
                own.entry.clone()
            }
            None => {
                self.remove(&instance);
                let entry = Arc::new(entry);
                for name in [&entry.service, &entry.instance] {
                    self.answers.entry(name.clone()).or_default().push(entry.clone());
                }
                let own = Own {
                    entry: entry.clone(),
                    service: service.name.clone(),
                    expires,
                    announced: now,
                    repeated: 0,
                };
                self.nodes.insert(instance.clone(), own);
                self.list(&service.name);
                entry
            }
        };
        let announcement = Announcement { ttl: entry.ttl, entry, host: self.host.clone() };
        Registered { instance, service, announcement }
    }

    /// Stops answering for a node; gives its goodbye.
    pub(super) fn remove(&mut self, instance: &str) -> Option<Announcement> {
        let own = self.nodes.remove(instance)?;
        self.silence(&own.entry);
        if !self.answers.contains_key(&own.entry.service) {
            let listed = self.names.listed(&own.service);
            let entry = self.answers.get(&listed).and_then(|entries| entries.first()).cloned();
            if let Some(entry) = entry {
                self.silence(&entry);
            }
        }
        Some(self.goodbye(&own))
    }

    /// Goodbyes of all nodes.
    pub(super) fn goodbyes(&self) -> impl Iterator<Item = Announcement> {
        self.nodes.values().map(|own| self.goodbye(own))
    }

    fn goodbye(&self, own: &Own) -> Announcement {
        Announcement { entry: own.entry.clone(), host: self.host.clone(), ttl: 0 }
    }

    /// What to say where an interface is new, or is reached by other addresses than `before`: goodbyes
    /// to what was told there, then what is told now.
    pub(super) fn moved(&self, before: Option<Reach>, now: Reach) -> Vec<Vec<u8>> {
        let mut packets = Vec::new();
        for own in self.nodes.values() {
            let told = |reach| own.entry.address.on(&reach);
            let old = before.map(told).filter(|old| !old.is_empty() && *old != told(now));
            if let (Some(_), Some(before)) = (old, before) {
                packets.extend(self.goodbye(own).packet(&before));
            }
            let ttl = own.entry.ttl;
            packets.extend(Announcement { ttl, ..self.goodbye(own) }.packet(&now));
        }
        packets
    }

    /// Announces every node again, as when it was new: an interface has just come.
    pub(super) fn repeat(&mut self, now: Instant) {
        for own in self.nodes.values_mut() {
            (own.announced, own.repeated) = (now, 0);
        }
    }

    /// Nodes that tell the address of each interface, with the one to tell where there is only one.
    pub(super) fn anywhere(&self) -> Vec<(String, String)> {
        let told = |(instance, own): (&String, &Own)| {
            let Told::Any { v6 } = own.entry.address else { return None };
            let address = SocketAddr::new(default_address(v6), own.entry.port);
            Some((instance.clone(), address.to_string()))
        };
        self.nodes.iter().filter_map(told).collect()
    }

    /// True for instances of ours.
    pub(super) fn holds(&self, instance: &str) -> bool {
        self.nodes.contains_key(instance)
    }

    /// Names of the services announced here.
    pub(super) fn services(&self) -> impl Iterator<Item = &str> {
        self.nodes.values().map(|own| own.service.as_str())
    }

    /// One packet for each entry that has an answer, as separate go-micro nodes would send them, for
    /// an asker on an interface that is reached like `reach`. However often something is asked for, it
    /// is said once.
    pub(super) fn answer(&self, id: u16, questions: &[Question], reach: &Reach) -> Vec<Vec<u8>> {
        let mut distinct: Vec<&Question> = Vec::with_capacity(questions.len());
        for question in questions {
            let same = |known: &&Question| {
                known.kind == question.kind
                    && known.name == question.name
                    && known.class & !UNICAST_BIT == question.class & !UNICAST_BIT
            };
            if !distinct.iter().any(same) {
                distinct.push(question);
            }
        }
        let id = writer::answer_id(id, questions);
        let mut left = ANSWER_BYTES;
        let mut answers = Vec::new();
        for entry in self.asked(&distinct) {
            let Some(packet) = entry.reply(id, &distinct, self, reach) else { continue };
            if packet.len() > PACKET_LIMIT {
                continue;
            }
            let Some(rest) = left.checked_sub(packet.len()) else { break };
            left = rest;
            answers.push(packet);
        }
        answers
    }

    /// Entries that one of the questions is about, each once.
    fn asked(&self, questions: &[&Question]) -> Vec<&Arc<Entry>> {
        let mut known = HashSet::new();
        let mut asked: Vec<&Arc<Entry>> = Vec::new();
        for question in questions {
            let everyone = question.name == self.names.enumeration || question.name == *self.host;
            let entries: Box<dyn Iterator<Item = &Arc<Entry>>> = if everyone {
                Box::new(self.answers.iter().flat_map(|(name, entries)| {
                    entries.iter().filter(move |entry| entry.instance == *name)
                }))
            } else {
                Box::new(self.answers.get(&question.name).into_iter().flatten())
            };
            let room = ANSWER_LIMIT - asked.len();
            asked.extend(entries.filter(|entry| known.insert(Arc::as_ptr(entry))).take(room));
        }
        asked
    }

    /// What is due; announcements count as sent.
    pub(super) fn due(&mut self, now: Instant) -> Due {
        let mut due = Due::default();
        for (instance, own) in &mut self.nodes {
            if own.expires.is_some_and(|expires| expires <= now) {
                due.expired.push(instance.clone());
                continue;
            }
            let mut repeat = own.next_announcement();
            if repeat.is_some_and(|at| at <= now) {
                let (entry, host) = (own.entry.clone(), self.host.clone());
                due.announcements.push(Announcement { ttl: entry.ttl, entry, host });
                own.repeated += 1;
                repeat = own.next_announcement();
            }
            due.next = [due.next, repeat, own.expires].into_iter().flatten().min();
        }
        due
    }

    /// Puts the service on the list of services.
    fn list(&mut self, service: &str) {
        let listed = self.names.listed(service);
        if self.answers.contains_key(&listed) {
            return;
        }
        let entry = Arc::new(Entry {
            service: self.names.list.clone(),
            instance: listed.clone(),
            port: LIST_PORT,
            address: Told::One(Ipv4Addr::UNSPECIFIED.into()),
            ttl: TTL,
            text: Vec::new(),
        });
        self.answers.entry(self.names.list.clone()).or_default().push(entry.clone());
        self.answers.entry(listed).or_default().push(entry);
    }

    fn silence(&mut self, entry: &Arc<Entry>) {
        for name in [&entry.service, &entry.instance] {
            if let Some(entries) = self.answers.get_mut(name) {
                entries.retain(|known| !Arc::ptr_eq(known, entry));
                if entries.is_empty() {
                    self.answers.remove(name);
                }
            }
        }
    }
}

impl Prepared {
    /// Checks that `node` of `service` can be announced at all, and encodes it.
    pub(super) fn new(
        names: &Names,
        host: &str,
        service: &Service,
        node: &Node,
        ttl: Option<Duration>,
    ) -> Result<Self> {
        let instance = names.instance(&service.name, &node.id)?;
        let refused = |reason: &str| {
            Error::invalid_argument(format!(
                "node {}: address {:?} {reason}; mDNS needs an IP address and a port, for example \
                 10.0.0.1:8080: advertise one",
                node.id, node.address
            ))
        };
        let address: SocketAddr =
            node.address.parse().map_err(|_| refused("is not a literal IP address with a port"))?;
        if address.port() == 0 {
            return Err(refused("has port 0"));
        }
        if matches!(address, SocketAddr::V6(v6) if v6.scope_id() != 0) {
            return Err(refused("has a zone, which DNS cannot carry"));
        }
        let (told, ip) = match address.ip() {
            // An address of this machine is told by every interface, and one here.
            any if any.is_unspecified() => {
                let v6 = any.is_ipv6();
                (Told::Any { v6 }, default_address(v6))
            }
            ip => (Told::One(ip.to_canonical()), ip.to_canonical()),
        };
        let payload = Payload {
            service: service.name.clone(),
            version: service.version.clone(),
            endpoints: service.endpoints.clone(),
            metadata: node.metadata.clone(),
            id: names.shortened(&instance, &service.name, &node.id).then(|| node.id.clone()),
        };
        let entry = Entry {
            service: names.service(&service.name),
            instance,
            port: address.port(),
            address: told,
            ttl: seconds(ttl),
            text: txt::strings(&payload.encode()?),
        };
        let widest = Reach { v4: Some(Ipv4Addr::BROADCAST), v6: Some(Ipv6Addr::LOCALHOST) };
        let announcement = entry.announcement(host, entry.ttl, &entry.address.on(&widest));
        // An answer also has the question, and each record may name its owner in full.
        let longest = announcement.len() + entry.service.len() + 64;
        if longest > PACKET_LIMIT {
            return Err(Error::invalid_argument(format!(
                "service {} needs a packet of {longest} bytes, over the {PACKET_LIMIT} of mDNS: \
                 shorten metadata or endpoints",
                service.name
            )));
        }
        let service = Service {
            name: payload.service,
            version: payload.version,
            metadata: Default::default(),
            endpoints: payload.endpoints,
            nodes: vec![Node {
                id: node.id.clone(),
                address: SocketAddr::new(ip, address.port()).to_string(),
                metadata: payload.metadata,
            }],
        };
        Ok(Self { entry, service })
    }
}

impl Own {
    fn next_announcement(&self) -> Option<Instant> {
        ANNOUNCEMENTS.get(self.repeated).map(|after| self.announced + *after)
    }
}

impl Told {
    /// The addresses to tell on an interface that is reached like `reach`.
    fn on(self, reach: &Reach) -> SmallVec<[IpAddr; 2]> {
        match self {
            Self::One(ip) => SmallVec::from_iter([ip]),
            Self::Any { v6 } => reach.tells(v6).collect(),
        }
    }
}

impl Announcement {
    /// The packet to send by an interface that is reached like `reach`; `None` when the node cannot be
    /// reached there.
    pub(super) fn packet(&self, reach: &Reach) -> Option<Vec<u8>> {
        let addresses = self.entry.address.on(reach);
        let tells = !addresses.is_empty();
        tells.then(|| self.entry.announcement(&self.host, self.ttl, &addresses))
    }
}

impl Entry {
    /// The packet that answers those of `questions` this entry knows about.
    fn reply(
        &self,
        id: u16,
        questions: &[&Question],
        zone: &Zone,
        reach: &Reach,
    ) -> Option<Vec<u8>> {
        let addresses = self.address.on(reach);
        if addresses.is_empty() {
            return None;
        }
        let mut packet = Writer::compressed(id, ANSWER);
        let mut said: SmallVec<[Says; 8]> = SmallVec::new();
        for question in questions {
            let says = self.answer(question, &zone.names, &zone.host, &addresses);
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
            self.write(&mut packet, *record, &zone.names.enumeration, &zone.host, self.ttl);
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
    fn announcement(&self, host: &str, ttl: u32, addresses: &[IpAddr]) -> Vec<u8> {
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

/// Seconds that records of a node live: whole ones, at least 1 so as not to say goodbye.
fn seconds(ttl: Option<Duration>) -> u32 {
    let whole = |ttl: Duration| u32::try_from(ttl.as_millis().div_ceil(1000)).unwrap_or(TTL);
    ttl.map_or(TTL, whole).clamp(1, TTL)
}

#[cfg(test)]
mod tests;
