//! Which nodes are out there: what answers, announcements and goodbyes add up to.
//!
//! Lookups, watches and expiry share this one table, so that a lookup never tells of a node
//! with an end that a watcher would not hear about. Nodes that answer become known and reach watchers; known
//! nodes that stay silent when asked leave, and reach watchers too.

mod care;
mod interest;
mod listed;
mod news;
mod room;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use self::interest::Interest;
use self::listed::Listed;
use self::room::{Room, Vacancy};
use super::heard::Socket;
use super::known::Known;
use super::names::Names;
use super::packet::{Question, kind};
use crate::registry::{Action, Change, Service, WatchSender};

pub(super) use self::care::Asks;
pub(super) use self::interest::{LOOKUP_LIMIT, Lookup, Subject, WATCH_LIMIT, Wanted};
pub(super) use self::news::Reading;

/// Most goodbyes remembered.
const GOODBYE_LIMIT: usize = 1024;
/// How long after a goodbye copies of older packets may still be under way on other sockets.
const STRAGGLERS: Duration = Duration::from_millis(300);
/// Most services asked for at once when an interface comes up.
const QUESTION_LIMIT: usize = 256;

/// When a node said goodbye, and where that was heard: `None` when it is ours.
#[derive(Debug, Clone, Copy)]
struct Goodbye {
    at: Instant,
    socket: Option<Socket>,
}

/// Everything known about nodes, and the lookups and watches that want it.
#[derive(Debug)]
pub(super) struct Table {
    names: Arc<Names>,
    nodes: HashMap<String, Known>,
    /// Instances that were read, by service.
    services: HashMap<String, BTreeSet<String>>,
    room: Room,
    goodbyes: HashMap<String, Goodbye>,
    listed: Listed,
    interest: Interest,
    /// This machine reaches no other by IPv4.
    pub(super) ipv6_alone: bool,
    /// When the caretaker looks next.
    wakes: Option<Instant>,
    /// Set when it should look sooner.
    hurry: bool,
}

impl Table {
    pub(super) fn new(names: Arc<Names>) -> Self {
        Self {
            names,
            nodes: HashMap::new(),
            services: HashMap::new(),
            room: Room::default(),
            goodbyes: HashMap::new(),
            listed: Listed::default(),
            interest: Interest::default(),
            ipv6_alone: false,
            wakes: None,
            hurry: false,
        }
    }

    /// Makes a node of ours known at once, so that its watchers need not wait for its packets.
    pub(super) fn add_own(&mut self, instance: &str, service: Service, now: Instant) {
        self.goodbyes.remove(instance);
        self.put(instance, Known::own(Some(service), now));
    }

    /// Notes that a node of ours is shown with another address.
    pub(super) fn move_own(&mut self, instance: &str, address: &str, now: Instant) {
        let own = self.nodes.get(instance).filter(|known| known.own);
        let Some(mut service) = own.and_then(|own| own.service.as_deref().cloned()) else { return };
        service.nodes.iter_mut().for_each(|node| address.clone_into(&mut node.address));
        self.put(instance, Known::own(Some(service), now));
    }

    /// Forgets a node of ours.
    pub(super) fn remove_own(&mut self, instance: &str, now: Instant) {
        self.gone(instance, None, now);
    }

    /// Starts to gather answers. `None` when too many lookups wait.
    pub(super) fn begin(&mut self, subject: Subject, now: Instant) -> Option<Arc<Lookup>> {
        let (lookup, first) = self.interest.begin(subject, now)?;
        if let Subject::Service(service) = &lookup.subject
            && first
        {
            for (instance, known) in self.nodes.iter_mut().filter(|(_, known)| !known.wanted) {
                if self.names.id(instance, service).is_some() {
                    self.room.remove(known);
                    known.wanted = true;
                    self.room.add(known);
                }
            }
        }
        Some(lookup)
    }

    /// Stops gathering.
    pub(super) fn end(&mut self, lookup: &Arc<Lookup>) {
        self.interest.end(lookup);
    }

    /// True while nothing is known of `subject`, and no lookup of it waited long yet.
    pub(super) fn may_wait(&self, subject: &Subject, now: Instant) -> bool {
        let nothing = match subject {
            Subject::List => self.services.is_empty() && self.listed.names(now).next().is_none(),
            Subject::Service(service) => !self.services.contains_key(service),
        };
        nothing && self.interest.may_wait(subject)
    }

    /// Notes that a lookup waited to its end.
    pub(super) fn waited(&mut self, lookup: &Lookup, now: Instant) {
        self.interest.waited(&lookup.subject);
        if lookup.subject == Subject::List {
            self.listed.settle(lookup.started, now);
        }
    }

    /// True when a known node or entry of `subject` has not answered since `started`.
    pub(super) fn misses(&self, subject: &Subject, started: Instant) -> bool {
        match subject {
            Subject::List => self.listed.misses(started),
            Subject::Service(service) => {
                self.instances(service).any(|known| !known.own && known.heard < started)
            }
        }
    }

    /// Every version of `service` with its nodes: those that answered, and those that were heard of
    /// within their time to live, since an answer may be late, or be kept out by a firewall.
    pub(super) fn found(&self, service: &str) -> Vec<Service> {
        let mut versions: BTreeMap<&str, Service> = BTreeMap::new();
        for known in self.instances(service).filter_map(|known| known.service.as_deref()) {
            let record = versions
                .entry(&known.version)
                .or_insert_with(|| Service { nodes: Vec::new(), ..known.clone() });
            record.nodes.extend(known.nodes.iter().cloned());
        }
        versions.into_values().collect()
    }

    /// Every service that is listed, that nodes were heard of, or that is announced here, with the
    /// versions known of it.
    pub(super) fn list<'a>(
        &'a self,
        own: impl Iterator<Item = &'a str>,
        now: Instant,
    ) -> Vec<Service> {
        let mut found: BTreeSet<(&str, &str)> = BTreeSet::new();
        let heard = self.services.keys().map(String::as_str);
        for name in self.listed.names(now).chain(heard).chain(own) {
            let known = self.instances(name).filter_map(|known| known.service.as_deref());
            let versions: BTreeSet<&str> = known.map(|service| &*service.version).collect();
            if versions.is_empty() {
                found.insert((name, ""));
            }
            found.extend(versions.into_iter().map(|version| (name, version)));
        }
        found.into_iter().map(|(name, version)| Service::new(name, version)).collect()
    }

    /// Adds a watcher. False when there are too many.
    pub(super) fn watch(&mut self, watcher: WatchSender) -> bool {
        let room = self.interest.watch(watcher);
        self.hurry |= room;
        room
    }

    /// Questions about every service that was asked for or is watched, but for more than
    /// [`QUESTION_LIMIT`].
    pub(super) fn questions(&self) -> Vec<Question> {
        let known = self.services.keys().map(String::as_str);
        let names: BTreeSet<&str> =
            self.interest.names().chain(known.filter(|name| self.interest.watched(name))).collect();
        let names = names.into_iter().take(QUESTION_LIMIT);
        names.map(|name| Question::new(self.names.service(name), kind::PTR)).collect()
    }

    /// Ends every watch.
    pub(super) fn close(&mut self) {
        self.interest.close();
    }

    /// True once when the caretaker should look sooner than it meant to.
    pub(super) fn take_hurry(&mut self) -> bool {
        std::mem::take(&mut self.hurry)
    }

    fn instances(&self, service: &str) -> impl Iterator<Item = &Known> {
        let instances = self.services.get(service).into_iter().flatten();
        instances.filter_map(|instance| self.nodes.get(instance))
    }

    /// Stores what is known of a node now and tells watchers what that changed.
    fn put(&mut self, instance: &str, mut known: Known) {
        known.wanted = self.interest.wanted(&self.names, instance) == Wanted::ByName;
        if !self.make_room(instance, &known) {
            return;
        }
        self.hurry |= !known.own && self.wakes.is_none_or(|wakes| known.wakes(true) < wakes);
        let service = known.service.clone();
        let old = self.forget(instance);
        if let Some(old) = old.as_ref().filter(|old| !old.own) {
            known.succeed(old);
        }
        let old = old.and_then(|old| old.service);
        let action = match (&old, &service) {
            (_, None) => None,
            (None, Some(_)) => Some(Action::Create),
            (Some(old), Some(service)) if old == service => None,
            (Some(old), Some(service)) if old.version == service.version => Some(Action::Update),
            (Some(old), Some(_)) => {
                self.emit(Action::Delete, old);
                Some(Action::Create)
            }
        };
        self.room.add(&known);
        if let Some(service) = &service {
            self.services.entry(service.name.clone()).or_default().insert(instance.to_owned());
        }
        self.nodes.insert(instance.to_owned(), known);
        self.goodbyes.remove(instance);
        self.tell_of(instance, action == Some(Action::Create));
        if let (Some(action), Some(service)) = (action, service) {
            self.emit(action, &service);
        }
    }

    /// Gives up other nodes where there are too many beside this one. False where it gets no place.
    fn make_room(&mut self, instance: &str, known: &Known) -> bool {
        if known.own || self.nodes.get(instance).is_some_and(|old| old.weight >= known.weight) {
            return true;
        }
        if let Some(service) = known.service.as_ref().filter(|_| !self.nodes.contains_key(instance))
        {
            let instances = self.services.get(&service.name).into_iter().flatten();
            let nodes = instances.filter_map(|instance| self.nodes.get_key_value(instance));
            match room::vacancy(nodes, known) {
                Vacancy::Free => {}
                Vacancy::Instead(other) => self.drop_node(&other),
                Vacancy::Full => {
                    tracing::debug!(instance, from = %known.from, "mDNS: too many nodes of one host");
                    return false;
                }
            }
        }
        while let Some(excess) = self.room.excess(known) {
            let victims = self.room.victims(self.nodes.iter(), excess);
            tracing::debug!(nodes = victims.len(), "mDNS: too many nodes, some are forgotten");
            if victims.is_empty() {
                return false;
            }
            victims.iter().for_each(|victim| self.drop_node(victim));
        }
        true
    }

    /// A goodbye arrived at `socket`, or was said by us.
    fn gone(&mut self, instance: &str, socket: Option<Socket>, now: Instant) {
        if socket.is_some() && self.nodes.get(instance).is_some_and(|known| known.own) {
            return;
        }
        let earlier = self.goodbyes.get(instance);
        if earlier.is_some() || self.goodbyes.len() < GOODBYE_LIMIT {
            let ours = earlier.is_some_and(|goodbye| goodbye.socket.is_none());
            let socket = socket.filter(|_| !ours);
            self.goodbyes.insert(instance.to_owned(), Goodbye { at: now, socket });
        }
        self.drop_node(instance);
        // Entries of the list take no goodbye of their own. One that lives on is heard again.
        if !self.listed.is_empty() {
            for service in self.names.services(instance) {
                if !self.services.contains_key(service) {
                    self.listed.forget(service);
                }
            }
        }
    }

    fn drop_node(&mut self, instance: &str) {
        if let Some(service) = self.forget(instance).and_then(|known| known.service) {
            self.emit(Action::Delete, &service);
        }
    }

    fn forget(&mut self, instance: &str) -> Option<Known> {
        let known = self.nodes.remove(instance)?;
        self.room.remove(&known);
        if let Some(service) = &known.service
            && let Some(instances) = self.services.get_mut(&service.name)
        {
            instances.remove(instance);
            if instances.is_empty() {
                self.services.remove(&service.name);
            }
        }
        Some(known)
    }

    fn emit(&mut self, action: Action, service: &Arc<Service>) {
        self.interest.emit(|| Change { action, service: Service::clone(service) });
    }

    fn tell_of(&self, instance: &str, new: bool) {
        self.interest.tell(|subject| self.concerns(subject, instance), new);
    }
}

#[cfg(any(test, fuzzing))]
impl Table {
    /// Panics unless the table agrees with itself and keeps its limits.
    pub(super) fn check(&self) {
        let others = || self.nodes.values().filter(|known| !known.own);
        let bytes: usize = others().map(|known| known.weight).sum();
        assert_eq!(self.room.all, room::Use { nodes: others().count(), bytes });
        assert!(bytes <= room::ALL.bytes && self.room.all.nodes <= room::ALL.nodes);
        assert!(self.goodbyes.len() <= GOODBYE_LIMIT);
        self.listed.check();
        let instances: usize = self.services.values().map(BTreeSet::len).sum();
        assert_eq!(instances, self.nodes.values().filter(|known| known.service.is_some()).count());
        assert!(self.services.values().flatten().all(|instance| self.nodes.contains_key(instance)));
    }
}

#[cfg(test)]
mod tests;
