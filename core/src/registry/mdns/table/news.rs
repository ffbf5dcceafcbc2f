//! What packets say: taken in at once where that is cheap, and otherwise given out to be read.
//!
//! Most packets repeat what is known. A text that is not wanted is kept as it came, and read
//! once it is: inflating it is what a sender can make expensive.

use std::net::IpAddr;
use std::sync::Arc;

use super::super::heard::Heard;
use super::super::known::Sighting;
use super::super::packet::{Data, Record};
use super::super::txt::Payload;
use super::{STRAGGLERS, Subject, Table, Wanted};
use crate::registry::Action;

/// What the text of a node was found to be.
#[derive(Debug)]
pub(in super::super) enum Reading {
    /// A description.
    Done(Payload),
    /// Nothing that can be read.
    Garbage,
    /// Its sender, or all together, have told enough for now.
    Later,
}

/// A text that was kept, and must be read now that its node is wanted.
#[derive(Debug)]
pub(in super::super) struct Unread {
    pub(in super::super) instance: String,
    pub(in super::super) text: Arc<[u8]>,
    pub(in super::super) from: IpAddr,
}

impl Table {
    /// Takes in the records of one response, but for texts that are wanted and were not
    /// read yet. They are to be read without holding up others, and [learned](Self::learn).
    pub(in super::super) fn observe<'a>(
        &mut self,
        records: &'a [Record],
        heard: &Heard,
    ) -> Vec<(Sighting<'a>, Wanted)> {
        let mut unread = Vec::new();
        for record in records {
            match &record.data {
                Data::Server { port, target } if self.names.contains(&record.name) => {
                    let server = (*port, target.as_str());
                    let seen = Sighting::gather(&record.name, server, record.ttl, records);
                    let seen = seen.at(heard.socket);
                    let seen = if self.ipv6_alone { seen.without_ipv4() } else { seen };
                    let wanted = if seen.is_goodbye() {
                        self.left(&seen, heard)
                    } else {
                        self.seen(&seen, heard)
                    };
                    unread.extend(wanted.map(|wanted| (seen, wanted)));
                }
                Data::Pointer(target) if record.name == self.names.list => {
                    self.hear_listed(target, record.ttl, heard);
                }
                Data::Pointer(target) if record.ttl == 0 && self.nodes.contains_key(target) => {
                    self.gone(target, Some(heard.socket), heard.at);
                }
                _ => {}
            }
        }
        unread
    }

    pub(super) fn hear_listed(&mut self, target: &str, ttl: u32, heard: &Heard) {
        let Some(service) = self.names.service_of_listed(target) else { return };
        if ttl > 0 && self.interest.lists() {
            match self.listed.hear(service, ttl, heard.from, heard.at) {
                Some(new) => self.interest.tell(|subject| *subject == Subject::List, new),
                None => tracing::debug!(service, "the list of mDNS services is full"),
            }
        }
    }

    /// Takes in what needs no reading; otherwise says how much it is wanted.
    fn seen(&mut self, seen: &Sighting<'_>, heard: &Heard) -> Option<Wanted> {
        if !seen.is_complete() {
            return None;
        }
        let wanted = self.interest.wanted(&self.names, seen.instance);
        let known = self.nodes.get_mut(seen.instance);
        let read = known.as_ref().is_some_and(|known| known.service.is_some());
        if let Some(known) = known
            && (known.own || known.confirm(seen, heard.at))
            && (read || wanted == Wanted::No)
        {
            self.hurry |= !known.own && self.wakes.is_none_or(|wakes| known.dies() < wakes);
            self.tell_of(seen.instance, false);
            return None;
        }
        if read || wanted > Wanted::No {
            return Some(wanted.max(Wanted::ByAll));
        }
        self.keep_unread(seen, heard);
        None
    }

    /// A goodbye. A watcher may want to know even of a node that was never heard announced.
    fn left(&mut self, seen: &Sighting<'_>, heard: &Heard) -> Option<Wanted> {
        if self.nodes.get(seen.instance).is_some_and(|known| known.is_elsewhere(seen)) {
            // The node is not reached by that interface any more; its address here is another.
            return None;
        }
        let read = self.nodes.get(seen.instance).is_some_and(|known| known.service.is_some());
        let copy = self
            .goodbyes
            .get(seen.instance)
            .is_some_and(|goodbye| heard.at.saturating_duration_since(goodbye.at) < STRAGGLERS);
        if !read && !copy && seen.is_complete() {
            let wanted = self.interest.wanted(&self.names, seen.instance);
            if wanted > Wanted::No {
                return Some(wanted);
            }
        }
        self.gone(seen.instance, Some(heard.socket), heard.at);
        None
    }

    /// Takes in what was read.
    pub(in super::super) fn learn(&mut self, seen: &Sighting<'_>, reading: Reading, heard: &Heard) {
        if seen.is_goodbye() {
            let payload = match reading {
                Reading::Done(payload) => Some(payload),
                Reading::Garbage | Reading::Later => None,
            };
            let read = self.nodes.get(seen.instance).is_some_and(|known| known.service.is_some());
            if !read
                && let Some(payload) = payload
                && let Some(known) = seen.read(&self.names, payload, heard.from, heard.at)
                && let Some(service) = known.service
            {
                self.emit(Action::Delete, &service);
            }
            self.gone(seen.instance, Some(heard.socket), heard.at);
            return;
        }
        match reading {
            Reading::Later if !self.nodes.contains_key(seen.instance) => {
                self.keep_unread(seen, heard);
            }
            Reading::Done(payload) if !self.is_straggler(seen.instance, heard) => {
                if let Some(mut known) = seen.read(&self.names, payload, heard.from, heard.at) {
                    if let Some(old) = self.nodes.get_mut(seen.instance) {
                        known.keep_address_of(old, heard.at);
                    }
                    self.put(seen.instance, known);
                }
            }
            _ => {}
        }
    }

    fn keep_unread(&mut self, seen: &Sighting<'_>, heard: &Heard) {
        if !self.is_straggler(seen.instance, heard)
            && let Some(known) = seen.unread(heard.from, heard.at)
        {
            self.put(seen.instance, known);
        }
    }

    /// Nodes that `subject` is about, and with a text that is not read yet.
    pub(in super::super) fn unread(&self, subject: &Subject) -> Vec<Unread> {
        let about = |instance: &str| match subject {
            Subject::List => true,
            Subject::Service(service) => self.names.id(instance, service).is_some(),
        };
        let unread = self.nodes.iter().filter(|(_, known)| known.service.is_none());
        unread
            .filter(|(instance, _)| about(instance))
            .map(|(instance, known)| Unread {
                instance: instance.clone(),
                text: Arc::clone(&known.text),
                from: known.from,
            })
            .collect()
    }

    /// Takes in what a text that was kept says.
    pub(in super::super) fn fill(&mut self, unread: &Unread, payload: Payload) {
        let known = self.nodes.get(&unread.instance);
        if known.is_none_or(|known| known.service.is_some() || known.text != unread.text) {
            return;
        }
        if let Some(mut known) = self.forget(&unread.instance)
            && known.describe(&self.names, &unread.instance, payload)
        {
            self.put(&unread.instance, known);
        }
    }

    /// True for a copy of an older packet that was overtaken by the node's goodbye.
    fn is_straggler(&self, instance: &str, heard: &Heard) -> bool {
        let Some(goodbye) = self.goodbyes.get(instance) else { return false };
        let later = heard.at.saturating_duration_since(goodbye.at);
        // What arrived before the goodbye may have been read after it.
        if heard.at < goodbye.at {
            return true;
        }
        if later >= STRAGGLERS || goodbye.socket == Some(heard.socket) {
            return false;
        }
        let asked_since =
            self.interest.asked_since(goodbye.at, |subject| self.concerns(subject, instance));
        !(heard.socket.is_answers() && asked_since && goodbye.socket.is_some())
    }

    pub(super) fn concerns(&self, subject: &Subject, instance: &str) -> bool {
        matches!(subject, Subject::Service(name) if self.names.id(instance, name).is_some())
    }
}

#[cfg(any(test, fuzzing))]
impl Table {
    /// Takes in a whole response at once, reading as much as it may.
    pub(in super::super) fn hear(&mut self, records: &[Record], heard: &Heard) {
        let mut budget = super::super::txt::INFLATED_LIMIT;
        for (seen, _) in self.observe(records, heard) {
            let payload = Payload::decode(seen.text(), &mut budget);
            self.learn(&seen, payload.map_or(Reading::Garbage, Reading::Done), heard);
        }
    }
}
