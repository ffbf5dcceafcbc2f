//! What this process answers for: its own nodes and the list of their services.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::names::Names;
use super::packet::{CLASS_IN, PACKET_LIMIT, Question, UNICAST_BIT, kind};
use super::txt::{self, Payload};
use super::writer::{self, ANNOUNCEMENT, ANSWER, Writer};
use crate::error::{Error, Result};
use crate::registry::{Node, Service};

/// Seconds that records live, as in go-micro.
pub(super) const TTL: u32 = 120;
/// Most nodes one registry object announces.
const NODE_LIMIT: usize = 4096;
/// Most packets that answer one query.
const ANSWER_LIMIT: usize = 1024;
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
    address: IpAddr,
    ttl: u32,
    /// RDATA of the TXT record.
    text: Vec<u8>,
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
    host: String,
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
    pub(super) announcement: Vec<u8>,
}

/// What to do for nodes of ours now, and when to look again.
#[derive(Debug, Default)]
pub(super) struct Due {
    /// To be sent to the group.
    pub(super) announcements: Vec<Vec<u8>>,
    /// Instances that were not refreshed in time.
    pub(super) expired: Vec<String>,
    pub(super) next: Option<Instant>,
}

impl Zone {
    pub(super) fn new(names: Arc<Names>, host: String) -> Self {
        Self { names, host, nodes: HashMap::new(), answers: HashMap::new() }
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
        Registered { instance, service, announcement: entry.announcement(&self.host, entry.ttl) }
    }

    /// Stops answering for a node; gives its goodbye.
    pub(super) fn remove(&mut self, instance: &str) -> Option<Vec<u8>> {
        let own = self.nodes.remove(instance)?;
        self.silence(&own.entry);
        if !self.answers.contains_key(&own.entry.service) {
            let listed = self.names.listed(&own.service);
            let entry = self.answers.get(&listed).and_then(|entries| entries.first()).cloned();
            if let Some(entry) = entry {
                self.silence(&entry);
            }
        }
        Some(own.entry.announcement(&self.host, 0))
    }

    /// Goodbyes of all nodes.
    pub(super) fn goodbyes(&self) -> impl Iterator<Item = Vec<u8>> {
        self.nodes.values().map(|own| own.entry.announcement(&self.host, 0))
    }

    /// True for instances of ours.
    pub(super) fn holds(&self, instance: &str) -> bool {
        self.nodes.contains_key(instance)
    }

    /// Names of the services announced here.
    pub(super) fn services(&self) -> impl Iterator<Item = &str> {
        self.nodes.values().map(|own| own.service.as_str())
    }

    /// One packet for each entry that has an answer, as separate go-micro nodes would send them.
    pub(super) fn answer(&self, id: u16, questions: &[Question]) -> Vec<Vec<u8>> {
        let mut asked: Vec<&Arc<Entry>> = Vec::new();
        for question in questions {
            let everyone = question.name == self.names.enumeration || question.name == self.host;
            let entries: Box<dyn Iterator<Item = &Arc<Entry>>> = if everyone {
                Box::new(self.answers.iter().flat_map(|(name, entries)| {
                    entries.iter().filter(move |entry| entry.instance == *name)
                }))
            } else {
                Box::new(self.answers.get(&question.name).into_iter().flatten())
            };
            for entry in entries.take(ANSWER_LIMIT) {
                if questions.len() == 1 || !asked.iter().any(|known| Arc::ptr_eq(known, entry)) {
                    asked.push(entry);
                }
            }
        }
        asked.truncate(ANSWER_LIMIT);
        let answers = asked.into_iter().filter_map(|entry| {
            let mut packet = Writer::compressed(writer::answer_id(id, questions), ANSWER);
            questions.iter().for_each(|question| packet.question(question));
            for question in questions {
                entry.answer(question, &self.names, &self.host, &mut packet);
            }
            (!packet.is_empty()).then(|| packet.finish())
        });
        answers.filter(|packet| packet.len() <= PACKET_LIMIT).collect()
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
                due.announcements.push(own.entry.announcement(&self.host, own.entry.ttl));
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
            address: Ipv4Addr::UNSPECIFIED.into(),
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
        let ip = address.ip().to_canonical();
        let payload = Payload {
            service: service.name.clone(),
            version: service.version.clone(),
            endpoints: service.endpoints.clone(),
            metadata: node.metadata.clone(),
        };
        let entry = Entry {
            service: names.service(&service.name),
            instance,
            port: address.port(),
            address: ip,
            ttl: seconds(ttl),
            text: txt::strings(&payload.encode()?),
        };
        let longest = entry.announcement(host, entry.ttl).len() + entry.service.len() + 32;
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

impl Entry {
    /// Adds what this entry knows about `question`, in the order Go's readers need: the server
    /// names the host before the address of the host comes.
    fn answer(&self, question: &Question, names: &Names, host: &str, packet: &mut Writer) {
        let Question { name, kind, class } = question;
        if !matches!(class & !UNICAST_BIT, CLASS_IN | kind::ANY) {
            return;
        }
        let address = if self.address.is_ipv4() { kind::A } else { kind::AAAA };
        let all = *kind == kind::ANY;
        if *name == names.enumeration && (all || *kind == kind::PTR) {
            packet.pointer(name, self.ttl, &self.service);
        } else if *name == *host && *kind == address {
            packet.address(host, self.ttl, self.address);
        } else if *name == self.service && (all || *kind == kind::PTR) {
            packet.pointer(name, self.ttl, &self.instance);
            self.write(packet, host, self.ttl);
        } else if *name == self.instance {
            if all || *kind == kind::SRV {
                packet.server(&self.instance, self.ttl, self.port, host);
            }
            if all || *kind == kind::SRV || *kind == address {
                packet.address(host, self.ttl, self.address);
            }
            if all || *kind == kind::TXT {
                packet.text(&self.instance, self.ttl, &self.text);
            }
        }
    }

    /// The packet that announces this entry, or says goodbye with a `ttl` of 0.
    fn announcement(&self, host: &str, ttl: u32) -> Vec<u8> {
        let mut packet = Writer::plain(0, ANNOUNCEMENT);
        self.write(&mut packet, host, ttl);
        packet.finish()
    }

    fn write(&self, packet: &mut Writer, host: &str, ttl: u32) {
        packet.server(&self.instance, ttl, self.port, host);
        packet.address(host, ttl, self.address);
        packet.text(&self.instance, ttl, &self.text);
    }
}

/// Seconds that records of a node live: whole ones, at least 1 so as not to say goodbye.
fn seconds(ttl: Option<Duration>) -> u32 {
    let whole = |ttl: Duration| u32::try_from(ttl.as_millis().div_ceil(1000)).unwrap_or(TTL);
    ttl.map_or(TTL, whole).clamp(1, TTL)
}

#[cfg(test)]
mod tests;
