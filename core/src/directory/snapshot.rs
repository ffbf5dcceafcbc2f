//! One service at one moment. A change makes a new snapshot that shares every node it does not
//! affect, so what callers learned about those nodes stays with them.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use super::intern::Interner;
use crate::registry::{self, Action, Change, Endpoint, Service};
use crate::selector::{Node, Release};

/// Nodes kept per service; more are left out.
const MAX_NODES: usize = 65_536;

/// Snapshots by service. Readers never wait; only the background task writes.
pub(super) type Table = papaya::HashMap<Arc<str>, Arc<Snapshot>>;

/// The nodes and endpoints of a service at one moment.
#[derive(Debug)]
pub struct Snapshot {
    service: Arc<str>,
    /// By version, then id.
    nodes: Vec<Arc<Node>>,
    /// Every distinct release among the nodes.
    releases: Vec<Arc<Release>>,
    /// Whether it was looked at since the cache last made room.
    used: AtomicBool,
}

impl Snapshot {
    /// A snapshot of fixed records, for callers that bypass the registry.
    pub fn of(service: &str, records: &[Service]) -> Self {
        let empty = Self::with_nodes(service.into(), Vec::new());
        empty.replaced(records, &mut Interner::default())
    }

    pub(super) fn empty(service: Arc<str>) -> Self {
        Self::with_nodes(service, Vec::new())
    }

    fn with_nodes(service: Arc<str>, mut nodes: Vec<Arc<Node>>) -> Self {
        if nodes.len() > MAX_NODES {
            tracing::warn!(%service, nodes = nodes.len(), "only {MAX_NODES} nodes are kept");
            nodes.truncate(MAX_NODES);
        }
        let mut releases: Vec<Arc<Release>> = Vec::new();
        let mut seen = HashSet::new();
        let mut last = std::ptr::null();
        for node in &nodes {
            let release = Arc::as_ptr(node.release());
            // Neighbours mostly share theirs.
            if release != last && seen.insert(release) {
                releases.push(Arc::clone(node.release()));
            }
            last = release;
        }
        nodes.shrink_to_fit();
        releases.shrink_to_fit();
        Self { service, nodes, releases, used: AtomicBool::new(true) }
    }

    /// Name of the service.
    pub fn service(&self) -> &str {
        &self.service
    }

    pub(super) fn name(&self) -> Arc<str> {
        Arc::clone(&self.service)
    }

    /// Every node of every version.
    pub fn nodes(&self) -> &[Arc<Node>] {
        &self.nodes
    }

    /// The endpoint called `name`, of the given version or of any.
    pub fn endpoint(&self, version: Option<&str>, name: &str) -> Option<&Endpoint> {
        self.endpoints(version, name).next()
    }

    /// True when every version that advertises the endpoint, or the given one, says that repeating
    /// a call is harmless.
    pub fn is_idempotent(&self, version: Option<&str>, endpoint: &str) -> bool {
        let mut endpoints = self.endpoints(version, endpoint).peekable();
        endpoints.peek().is_some() && endpoints.all(Endpoint::is_idempotent)
    }

    fn endpoints(&self, version: Option<&str>, name: &str) -> impl Iterator<Item = &Endpoint> {
        self.releases
            .iter()
            .filter(move |release| version.is_none_or(|version| release.version() == version))
            .filter_map(move |release| release.endpoint(name))
    }

    /// The records that make up the snapshot, one per version.
    pub fn records(&self) -> Vec<Service> {
        let same_version = |a: &Arc<Node>, b: &Arc<Node>| a.version() == b.version();
        let record = |nodes: &[Arc<Node>]| {
            // Where nodes of one version disagree, the last one speaks for it.
            let release = nodes.last().map(|node| Arc::clone(node.release())).unwrap_or_default();
            Service {
                name: self.service.to_string(),
                version: release.version().to_owned(),
                metadata: release.metadata().clone(),
                endpoints: release.endpoints().to_vec(),
                nodes: nodes.iter().map(|node| node.record()).collect(),
            }
        };
        self.nodes.chunk_by(same_version).map(record).collect()
    }

    /// This service as `records` describe it, sharing the nodes that are as they were.
    pub(super) fn replaced(&self, records: &[Service], interner: &mut Interner) -> Self {
        let mut nodes: Vec<Arc<Node>> = Vec::new();
        for record in records {
            let release = interner.release(record);
            nodes.extend(record.nodes.iter().map(|node| self.node(node, &release, interner)));
        }
        nodes.sort_by(|a, b| key(a).cmp(&key(b)));
        nodes.dedup_by(|a, b| key(a) == key(b));
        Self::with_nodes(Arc::clone(&self.service), nodes)
    }

    /// This service after `change`, sharing the nodes it does not affect.
    pub(super) fn changed(&self, change: &Change, interner: &mut Interner) -> Self {
        let Change { action, service } = change;
        let version = service.version.as_str();
        let mut nodes = self.nodes.clone();
        match action {
            Action::Create | Action::Update => {
                let release = interner.release(service);
                for record in &service.nodes {
                    let node = self.node(record, &release, interner);
                    match nodes.binary_search_by(|other| key(other).cmp(&key(&node))) {
                        Ok(position) => nodes[position] = node,
                        Err(position) => nodes.insert(position, node),
                    }
                }
            }
            Action::Delete if service.nodes.is_empty() => {
                nodes.retain(|node| node.version() != version);
            }
            Action::Delete => {
                for record in &service.nodes {
                    let wanted = (version, record.id.as_str());
                    if let Ok(position) = nodes.binary_search_by(|other| key(other).cmp(&wanted)) {
                        nodes.remove(position);
                    }
                }
            }
        }
        Self::with_nodes(Arc::clone(&self.service), nodes)
    }

    /// Tells the nodes that `next` has no more that they have left. Both are in the same order.
    pub(super) fn part(&self, next: &Self) {
        let mut next = next.nodes.iter().peekable();
        for node in &self.nodes {
            while next.next_if(|other| key(other) < key(node)).is_some() {}
            if !next.peek().is_some_and(|other| other.is_same(node)) {
                node.leave();
            }
        }
    }

    /// The node as `record` describes it: the one at hand if that says the same, otherwise one
    /// that remembers what was learned.
    fn node(
        &self,
        record: &registry::Node,
        release: &Arc<Release>,
        interner: &mut Interner,
    ) -> Arc<Node> {
        let wanted = (release.version(), record.id.as_str());
        let known = self.nodes.binary_search_by(|node| key(node).cmp(&wanted));
        match known.ok().map(|position| &self.nodes[position]) {
            Some(known)
                if known.address() == record.address
                    && *known.labels() == record.metadata
                    && Arc::ptr_eq(known.release(), release) =>
            {
                Arc::clone(known)
            }
            Some(known) => {
                let labels = interner.labels(&record.metadata);
                Arc::new(known.changed(record, labels, Arc::clone(release)))
            }
            None => {
                let labels = interner.labels(&record.metadata);
                Arc::new(Node::new(record, labels, Arc::clone(release)))
            }
        }
    }

    pub(super) fn mark_used(&self) {
        // Written once per round, so that readers on many cores do not fight over the line.
        if !self.used.load(Relaxed) {
            self.used.store(true, Relaxed);
        }
    }

    /// True when it was looked at since the last time this was asked.
    pub(super) fn was_used(&self) -> bool {
        self.used.swap(false, Relaxed)
    }
}

fn key(node: &Node) -> (&str, &str) {
    (node.version(), node.id())
}
