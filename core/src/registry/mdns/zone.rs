//! What this process answers for: its own nodes and the list of their services.

mod entry;
mod prepared;

use std::collections::{HashMap, HashSet};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::entry::{Entry, Told};
use super::names::Names;
use super::packet::{PACKET_LIMIT, Question, UNICAST_BIT};
use super::writer;
use crate::error::{Error, Result};
use crate::interface::{Reach, default_address};
use crate::registry::Service;

pub(super) use self::entry::Announcement;
pub(super) use self::prepared::{Prepared, TTL};

/// Most nodes one registry object announces.
const NODE_LIMIT: usize = 4096;
/// Most packets that answer one query, and most bytes of them.
const ANSWER_LIMIT: usize = 1024;
const ANSWER_BYTES: usize = 1 << 20;
/// Port of entries of the list, as in go-micro; nothing listens there.
const LIST_PORT: u16 = 9999;
/// When announcements follow the first one.
const ANNOUNCEMENTS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(3)];

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
            let Some(packet) = entry.reply(id, &distinct, (&self.names, &self.host), reach) else {
                continue;
            };
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

impl Own {
    fn next_announcement(&self) -> Option<Instant> {
        ANNOUNCEMENTS.get(self.repeated).map(|after| self.announced + *after)
    }
}

#[cfg(test)]
mod tests;
