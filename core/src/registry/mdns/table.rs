//! Which nodes are out there: what answers, announcements and goodbyes add up to.
//!
//! Lookups, watches and expiry share this one table, so that a lookup never tells of a node whose
//! end a watcher would not hear about. Nodes that answer become known and reach watchers; known
//! nodes that stay silent when asked leave, and reach watchers too.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::known::{Known, Sighting};
use super::names::Names;
use super::packet::{Data, Question, Record, kind};
use super::txt::INFLATED_LIMIT;
use crate::registry::{Action, Change, Service, WatchSender};

/// Most nodes known; further ones are not seen until others leave.
const NODE_LIMIT: usize = 16_384;
/// Most bytes that descriptions of nodes may take together.
const BYTE_LIMIT: usize = 64 << 20;
/// Most services remembered from the list.
const SERVICE_LIMIT: usize = 4096;
/// Most lookups at a time.
pub(super) const LOOKUP_LIMIT: usize = 1024;
/// Most watches at a time.
pub(super) const WATCH_LIMIT: usize = 1024;
/// Most goodbyes remembered.
const GOODBYE_LIMIT: usize = 1024;
/// How long after a goodbye copies of older packets may still be under way on other sockets.
const STRAGGLERS: Duration = Duration::from_millis(300);
/// Nodes under suspicion at a time, so that an outage does not become a storm of questions.
const SUSPECT_LIMIT: usize = 64;
/// A service that lost a silent node is asked once more after this: the answer may have been lost.
const RECHECK_AFTER: Duration = Duration::from_secs(1);

/// Most services asked for at once when an interface comes up.
const QUESTION_LIMIT: usize = 256;

/// Where a packet arrived. One socket keeps the order of packets, two do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Socket {
    /// The group's port, where interfaces do not matter; `true` for IPv6.
    #[cfg(any(test, fuzzing))]
    Group(bool),
    /// The group's port on one interface, by its index; `true` for IPv6.
    Link(u32, bool),
    /// The port questions leave from; `true` for IPv6.
    Answers(bool),
}

/// A lookup that waits for answers.
#[derive(Debug)]
pub(super) struct Lookup {
    subject: Subject,
    pub(super) started: Instant,
    /// Wakes the lookup for every answer.
    pub(super) heard: Notify,
}

/// What a lookup is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    /// The nodes of one service.
    Service(String),
    /// The list of services.
    List,
}

/// When a node said goodbye, and where that was heard: `None` when it is ours.
#[derive(Debug, Clone, Copy)]
struct Goodbye {
    at: Instant,
    socket: Option<Socket>,
}

/// Everything known about nodes, and who wants to know.
#[derive(Debug)]
pub(super) struct Table {
    names: Arc<Names>,
    nodes: HashMap<String, Known>,
    /// Instances by service.
    services: HashMap<String, BTreeSet<String>>,
    bytes: usize,
    goodbyes: HashMap<String, Goodbye>,
    lookups: Vec<Arc<Lookup>>,
    listed: BTreeMap<String, Instant>,
    watchers: Vec<WatchSender>,
    rechecks: BTreeMap<String, Instant>,
    /// This machine reaches nobody by IPv4.
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
            bytes: 0,
            goodbyes: HashMap::new(),
            lookups: Vec::new(),
            listed: BTreeMap::new(),
            watchers: Vec::new(),
            rechecks: BTreeMap::new(),
            ipv6_alone: false,
            wakes: None,
            hurry: false,
        }
    }

    /// Takes in the records of one response.
    #[cfg(any(test, fuzzing))]
    pub(super) fn observe(&mut self, records: &[Record], socket: Socket, now: Instant) {
        self.observe_from(records, socket, 0, now);
    }

    /// The same, from a sender in the zone `scope`, which link-local addresses need; 0 is none.
    pub(super) fn observe_from(
        &mut self,
        records: &[Record],
        socket: Socket,
        scope: u32,
        now: Instant,
    ) {
        let mut budget = INFLATED_LIMIT;
        for record in records {
            match &record.data {
                Data::Server { port, target } if self.names.contains(&record.name) => {
                    let server = (*port, target.as_str());
                    let seen = Sighting::gather(&record.name, server, record.ttl, records);
                    let seen = seen.at(scope, socket);
                    let seen = if self.ipv6_alone { seen.without_ipv4() } else { seen };
                    if seen.is_goodbye() {
                        self.left(&seen, socket, now, &mut budget);
                    } else if seen.is_complete() {
                        self.seen(&seen, socket, now, &mut budget);
                    }
                }
                Data::Pointer(target) if record.name == self.names.list => {
                    self.listed(target, record.ttl, now);
                }
                Data::Pointer(target) if record.ttl == 0 && self.nodes.contains_key(target) => {
                    self.gone(target, Some(socket), now);
                }
                _ => {}
            }
        }
    }

    fn listed(&mut self, target: &str, ttl: u32, now: Instant) {
        let Some(service) = self.names.service_of_listed(target) else { return };
        let room = self.listed.len() < SERVICE_LIMIT || self.listed.contains_key(service);
        let asked = self.lookups.iter().any(|lookup| lookup.subject == Subject::List);
        if ttl > 0 && room && asked {
            self.listed.insert(service.to_owned(), now);
            self.tell(&Subject::List);
        }
    }

    fn seen(&mut self, seen: &Sighting<'_>, socket: Socket, now: Instant, budget: &mut usize) {
        if let Some(known) = self.nodes.get_mut(seen.instance)
            && (known.own || known.confirm(seen, now))
        {
            self.hurry |= !known.own && self.wakes.is_none_or(|wakes| known.dies() < wakes);
            self.tell_of(seen.instance);
        } else if let Some(mut known) = seen.read(&self.names, now, budget)
            && !self.is_straggler(seen.instance, &known.service.name, socket, now)
        {
            if let Some(old) = self.nodes.get_mut(seen.instance) {
                known.keep_address_of(old, now);
            }
            self.put(seen.instance, known);
        }
    }

    fn left(&mut self, seen: &Sighting<'_>, socket: Socket, now: Instant, budget: &mut usize) {
        if self.nodes.get(seen.instance).is_some_and(|known| known.is_elsewhere(seen)) {
            // The node is not reached by that interface any more; its address here is another.
            return;
        }
        let copy =
            self.goodbyes.get(seen.instance).is_some_and(|goodbye| now - goodbye.at < STRAGGLERS);
        if !copy
            && !self.nodes.contains_key(seen.instance)
            && let Some(known) = seen.read(&self.names, now, budget)
        {
            self.emit(Action::Delete, known.service);
        }
        self.gone(seen.instance, Some(socket), now);
    }

    /// True for a copy of an older packet that was overtaken by the node's goodbye.
    fn is_straggler(&self, instance: &str, service: &str, socket: Socket, now: Instant) -> bool {
        let Some(goodbye) = self.goodbyes.get(instance) else { return false };
        if now - goodbye.at >= STRAGGLERS || goodbye.socket == Some(socket) {
            return false;
        }
        let subject = Subject::Service(service.to_owned());
        let asked_since = self
            .lookups
            .iter()
            .any(|lookup| lookup.started > goodbye.at && lookup.subject == subject);
        let answers = matches!(socket, Socket::Answers(_));
        !(answers && asked_since && goodbye.socket.is_some())
    }

    /// Makes a node of ours known at once, so that its watchers need not wait for its packets.
    pub(super) fn add_own(&mut self, instance: &str, service: Service, now: Instant) {
        self.goodbyes.remove(instance);
        self.put(instance, Known::own(service, now));
    }

    /// Notes that a node of ours is shown with another address.
    pub(super) fn move_own(&mut self, instance: &str, address: &str, now: Instant) {
        let own = self.nodes.get(instance).filter(|known| known.own);
        let Some(mut service) = own.map(|own| own.service.clone()) else { return };
        service.nodes.iter_mut().for_each(|node| address.clone_into(&mut node.address));
        self.put(instance, Known::own(service, now));
    }

    /// Forgets a node of ours.
    pub(super) fn remove_own(&mut self, instance: &str, now: Instant) {
        self.gone(instance, None, now);
    }

    /// Starts to gather answers. `None` when too many lookups wait.
    pub(super) fn begin(&mut self, subject: Subject, now: Instant) -> Option<Arc<Lookup>> {
        if self.lookups.len() >= LOOKUP_LIMIT {
            return None;
        }
        let lookup = Arc::new(Lookup { subject, started: now, heard: Notify::new() });
        self.lookups.push(lookup.clone());
        Some(lookup)
    }

    /// Stops gathering.
    pub(super) fn end(&mut self, lookup: &Arc<Lookup>) {
        self.lookups.retain(|known| !Arc::ptr_eq(known, lookup));
        if !self.lookups.iter().any(|lookup| lookup.subject == Subject::List) {
            self.listed.clear();
        }
    }

    /// True when somebody known for `service` has not answered since `started`.
    pub(super) fn misses(&self, service: &str, started: Instant) -> bool {
        self.instances(service).any(|known| !known.own && known.heard < started)
    }

    /// Every version of `service` with the nodes that live. Nodes silent since `started` are
    /// dropped, and the service is asked once more soon.
    pub(super) fn found(&mut self, service: &str, started: Instant) -> Vec<Service> {
        let instances: Vec<String> =
            self.services.get(service).into_iter().flatten().cloned().collect();
        for instance in instances {
            let known = self.nodes.get(&instance);
            if known.is_some_and(|known| !known.own && known.heard < started) {
                self.drop_node(&instance);
                if self.rechecks.len() < SERVICE_LIMIT {
                    self.rechecks.insert(service.to_owned(), started + RECHECK_AFTER);
                    self.hurry = true;
                }
            }
        }
        let mut versions: BTreeMap<&str, Service> = BTreeMap::new();
        for known in self.instances(service) {
            let record = versions
                .entry(&known.service.version)
                .or_insert_with(|| Service { nodes: Vec::new(), ..known.service.clone() });
            record.nodes.extend(known.service.nodes.iter().cloned());
        }
        versions.into_values().collect()
    }

    /// Every service listed since `started` or announced here, with the versions known of it.
    pub(super) fn list<'a>(
        &'a self,
        own: impl Iterator<Item = &'a str>,
        started: Instant,
    ) -> Vec<Service> {
        let mut found: BTreeSet<(&str, &str)> = BTreeSet::new();
        let listed = self.listed.iter().filter(|(_, heard)| **heard >= started);
        for name in listed.map(|(name, _)| name.as_str()).chain(own) {
            let versions: BTreeSet<&str> =
                self.instances(name).map(|known| known.service.version.as_str()).collect();
            if versions.is_empty() {
                found.insert((name, ""));
            }
            found.extend(versions.into_iter().map(|version| (name, version)));
        }
        found.into_iter().map(|(name, version)| Service::new(name, version)).collect()
    }

    /// Adds a watcher. False when there are too many.
    pub(super) fn watch(&mut self, watcher: WatchSender) -> bool {
        self.watchers.retain(|watcher| !watcher.is_closed());
        let room = self.watchers.len() < WATCH_LIMIT;
        if room {
            self.watchers.push(watcher);
            self.hurry = true;
        }
        room
    }

    /// Questions about every service that is watched, but for more than [`QUESTION_LIMIT`].
    pub(super) fn questions_of_watchers(&self) -> Vec<Question> {
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for watcher in self.watchers.iter().filter(|watcher| !watcher.is_closed()) {
            match &watcher.service {
                Some(name) => names.extend([&**name]),
                None => names.extend(self.services.keys().map(String::as_str)),
            }
        }
        let names = names.into_iter().take(QUESTION_LIMIT);
        names.map(|name| Question::new(self.names.service(name), kind::PTR)).collect()
    }

    /// Ends every watch.
    pub(super) fn close(&mut self) {
        self.watchers.clear();
    }

    /// The question to send at once about a node that refused a connection, if it is worth one.
    pub(super) fn suspect(&mut self, service: &str, id: &str, now: Instant) -> Option<Question> {
        let instance = self.names.instance(service, id).ok()?;
        if self.nodes.values().filter(|known| known.is_suspected()).count() >= SUSPECT_LIMIT {
            return None;
        }
        let known = self.nodes.get_mut(&instance).filter(|known| !known.own)?;
        let doubted = known.suspect(now);
        self.hurry |= doubted;
        doubted.then(|| Question::new(instance, kind::ANY))
    }

    /// Drops what is over, and tells whom to ask and when to look again.
    pub(super) fn due(&mut self, now: Instant) -> (Vec<Question>, Option<Instant>) {
        let (mut questions, mut over, mut next) = (Vec::new(), Vec::new(), None::<Instant>);
        let mut ask: BTreeSet<String> = BTreeSet::new();
        self.watchers.retain(|watcher| !watcher.is_closed());
        for (instance, known) in self.nodes.iter_mut().filter(|(_, known)| !known.own) {
            if known.dies() <= now {
                over.push(instance.clone());
                continue;
            }
            if known.repeats(now) {
                questions.push(Question::new(instance.clone(), kind::ANY));
            }
            let name = &known.service.name;
            let watches = |watched: &str| watched == name;
            let watched =
                self.watchers.iter().any(|watcher| watcher.service.as_deref().is_none_or(watches));
            if watched && known.fades(now) {
                ask.insert(known.service.name.clone());
            }
            next = next.into_iter().chain([known.wakes(watched)]).min();
        }
        over.iter().for_each(|instance| self.drop_node(instance));
        self.goodbyes.retain(|_, goodbye| now - goodbye.at < STRAGGLERS);
        self.rechecks.retain(|service, at| {
            let later = *at > now;
            if !later {
                ask.insert(service.clone());
            }
            later
        });
        let asked = ask.iter().map(|name| Question::new(self.names.service(name), kind::PTR));
        questions.extend(asked);
        self.wakes = next.into_iter().chain(self.rechecks.values().copied()).min();
        (questions, self.wakes)
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
    fn put(&mut self, instance: &str, known: Known) {
        let old = self.nodes.get(instance);
        let bytes = self.bytes - old.map_or(0, |old| old.weight) + known.weight;
        let room = bytes <= BYTE_LIMIT && (old.is_some() || self.nodes.len() < NODE_LIMIT);
        if !room && !known.own {
            tracing::debug!(instance, "too many mDNS nodes known: this one is not seen");
            return;
        }
        self.hurry |= !known.own && self.wakes.is_none_or(|wakes| known.wakes(true) < wakes);
        let service = known.service.clone();
        let action = match self.forget(instance) {
            None => Some(Action::Create),
            Some(old) if old.service == service => None,
            Some(old) if old.service.version == service.version => Some(Action::Update),
            Some(old) => {
                self.emit(Action::Delete, old.service);
                Some(Action::Create)
            }
        };
        self.bytes += known.weight;
        self.services.entry(service.name.clone()).or_default().insert(instance.to_owned());
        self.nodes.insert(instance.to_owned(), known);
        self.goodbyes.remove(instance);
        self.tell_of(instance);
        if let Some(action) = action {
            self.emit(action, service);
        }
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
    }

    fn drop_node(&mut self, instance: &str) {
        if let Some(known) = self.forget(instance) {
            self.emit(Action::Delete, known.service);
        }
    }

    fn forget(&mut self, instance: &str) -> Option<Known> {
        let known = self.nodes.remove(instance)?;
        self.bytes -= known.weight;
        if let Some(instances) = self.services.get_mut(&known.service.name) {
            instances.remove(instance);
            if instances.is_empty() {
                self.services.remove(&known.service.name);
            }
        }
        Some(known)
    }

    fn emit(&mut self, action: Action, service: Service) {
        if !self.watchers.is_empty() {
            let change = Change { action, service };
            self.watchers.retain(|watcher| watcher.send(&change));
        }
    }

    fn tell_of(&self, instance: &str) {
        if let Some(known) = self.nodes.get(instance).filter(|_| !self.lookups.is_empty()) {
            self.tell(&Subject::Service(known.service.name.clone()));
        }
    }

    fn tell(&self, subject: &Subject) {
        for lookup in self.lookups.iter().filter(|lookup| lookup.subject == *subject) {
            lookup.heard.notify_one();
        }
    }
}

#[cfg(any(test, fuzzing))]
impl Table {
    /// Panics unless the table agrees with itself and keeps its limits.
    pub(super) fn check(&self) {
        let weights: usize = self.nodes.values().map(|known| known.weight).sum();
        assert_eq!(self.bytes, weights);
        assert!(self.bytes <= BYTE_LIMIT && self.nodes.len() <= NODE_LIMIT);
        assert!(self.goodbyes.len() <= GOODBYE_LIMIT && self.listed.len() <= SERVICE_LIMIT);
        let instances: usize = self.services.values().map(BTreeSet::len).sum();
        assert_eq!(instances, self.nodes.len());
        assert!(self.services.values().flatten().all(|instance| self.nodes.contains_key(instance)));
    }
}

#[cfg(test)]
mod tests;
