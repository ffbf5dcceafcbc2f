//! A node as callers see it: the registry's record plus what this process learned by calling it.
//!
//! What was learned lives apart from the record, so that it survives a change of labels or
//! endpoints.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::live::{Attempt, Live};
use crate::registry::{self, Endpoint, Labels};

/// One running instance of a service, as a strategy sees it.
pub struct Node {
    id: Box<str>,
    address: Box<str>,
    /// Where connections go, when that is not the bare address.
    secure: Option<Box<str>>,
    compact: bool,
    labels: Arc<Labels>,
    release: Arc<Release>,
    /// Hash of the id, the same in every process.
    hash: u64,
    live: Arc<Live>,
}

/// What all nodes of one version share. Nodes with equal releases share one.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Release {
    version: String,
    metadata: Labels,
    endpoints: Vec<Endpoint>,
    /// Positions in `endpoints`, by name, for lookups.
    by_name: Vec<u32>,
}

impl Release {
    /// A version with the metadata and endpoints of `service`.
    pub fn of(service: &registry::Service) -> Self {
        let endpoints = service.endpoints.clone();
        let mut by_name: Vec<u32> =
            (0..u32::try_from(endpoints.len()).unwrap_or(u32::MAX)).collect();
        by_name.sort_by_key(|&position| &endpoints[position as usize].name);
        Self {
            version: service.version.clone(),
            metadata: service.metadata.clone(),
            endpoints,
            by_name,
        }
    }

    /// Version, for example `latest`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Labels of the service as a whole.
    pub fn metadata(&self) -> &Labels {
        &self.metadata
    }

    /// What can be called, in the order of the record.
    pub fn endpoints(&self) -> &[Endpoint] {
        &self.endpoints
    }

    /// The endpoint called `name`.
    pub fn endpoint(&self, name: &str) -> Option<&Endpoint> {
        let at = |&position: &u32| self.endpoints[position as usize].name.as_str();
        let found = self.by_name.binary_search_by(|position| at(position).cmp(name)).ok()?;
        self.endpoints.get(self.by_name[found] as usize)
    }
}

impl std::hash::Hash for Release {
    /// Names suffice to tell most releases apart; equality looks at everything.
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.version.hash(state);
        self.metadata.hash(state);
        for endpoint in &self.endpoints {
            endpoint.name.hash(state);
        }
    }
}

impl Node {
    /// A node that was not called yet, with `release` shared among the nodes of its version.
    pub fn new(record: &registry::Node, labels: Arc<Labels>, release: Arc<Release>) -> Self {
        Self::with_live(record, labels, release, Arc::default())
    }

    /// A node known by its address only, for callers that bypass the registry.
    pub fn at(address: &str) -> Self {
        let (id, address) = (address.to_owned(), address.to_owned());
        let record = registry::Node { id, address, metadata: Labels::new() };
        Self::new(&record, Arc::default(), Arc::default())
    }

    /// This node after its record changed. What was learned holds as long as the address does.
    pub(crate) fn changed(
        &self,
        record: &registry::Node,
        labels: Arc<Labels>,
        release: Arc<Release>,
    ) -> Self {
        let same = *self.address == *record.address;
        let live = if same { Arc::clone(&self.live) } else { Arc::default() };
        Self::with_live(record, labels, release, live)
    }

    fn with_live(
        record: &registry::Node,
        labels: Arc<Labels>,
        release: Arc<Release>,
        live: Arc<Live>,
    ) -> Self {
        Self {
            id: record.id.as_str().into(),
            address: record.address.as_str().into(),
            secure: secure(record),
            compact: record.reads_compact(),
            labels,
            release,
            hash: super::fnv::of(record.id.as_bytes()),
            live,
        }
    }

    /// Unique id, `<service>-<uuid>`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// `host:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Where a connection goes: the address, with `https://` and perhaps `#name` where the record says that the node speaks TLS.
    pub(crate) fn target(&self) -> &str {
        self.secure.as_deref().unwrap_or(&self.address)
    }

    /// True for a node that reads the headers of a call in the compact form.
    pub(crate) fn reads_compact(&self) -> bool {
        self.compact
    }

    /// Labels of the node.
    pub fn labels(&self) -> &Labels {
        &self.labels
    }

    /// Value of one label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str)
    }

    /// Version of the service this node runs.
    pub fn version(&self) -> &str {
        &self.release.version
    }

    /// What this node shares with the other nodes of its version.
    pub fn release(&self) -> &Arc<Release> {
        &self.release
    }

    /// The endpoint called `name`, if the node advertises it.
    pub fn endpoint(&self, name: &str) -> Option<&Endpoint> {
        self.release.endpoint(name)
    }

    /// The record, as a registry holds it.
    pub fn record(&self) -> registry::Node {
        registry::Node {
            id: self.id.to_string(),
            address: self.address.to_string(),
            metadata: Labels::clone(&self.labels),
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    /// True for the same instance at the same address, whatever else its record says by now.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.live, &other.live)
    }

    /// Starts an attempt. Its outcome is reported once, by [`Attempt::finish`].
    pub fn begin(&self) -> Attempt {
        Attempt::on(&self.live)
    }

    /// Attempts under way.
    pub fn in_flight(&self) -> u32 {
        self.live.in_flight()
    }

    /// Peak-weighted average latency at `now`; `None` while unknown.
    pub fn latency(&self, now: Instant) -> Option<Duration> {
        self.live.latency(now)
    }

    /// Expected cost of one more call at `now`, for comparison: latency times calls in flight.
    pub fn load(&self, now: Instant) -> f64 {
        self.live.load(now)
    }

    /// True while the node is left out because it refused a connection, until a call may probe it.
    pub fn is_ejected(&self, now: Instant) -> bool {
        self.live.is_ejected(now)
    }

    /// How long the node is still left out; zero when it is not.
    pub fn ejected_for(&self, now: Instant) -> Duration {
        self.live.ejected_for(now)
    }

    /// Takes the node for a call: what a strategy asks last of the node it chose. False when it is
    /// ejected, or when another caller was faster to probe it: exactly one is let through each
    /// time the node is due.
    pub fn admit(&self, now: Instant) -> bool {
        self.live.admit(now)
    }

    /// True once it has answered a call.
    pub(crate) fn is_known(&self) -> bool {
        self.live.is_known()
    }

    /// True, or closed, once this instance has left the registry, or this address.
    pub(crate) fn left(&self) -> watch::Receiver<bool> {
        self.live.left()
    }

    /// Tells watchers of the node that it has left.
    pub(crate) fn leave(&self) {
        self.live.leave();
    }

    /// Moment of the last refusal, for choosing among nodes that all refuse.
    pub(crate) fn ejected_at(&self) -> u64 {
        self.live.ejected_at()
    }
}

/// Where connections to a node with TLS go: its address, and behind `#` the name that it says it has a certificate for.
fn secure(record: &registry::Node) -> Option<Box<str>> {
    let address = &record.address;
    if !record.speaks_tls() || address.contains("://") {
        return None;
    }
    // A node may have several addresses, with commas between them.
    let each: Vec<_> = address.split(',').map(|one| format!("https://{}", one.trim())).collect();
    let mut target = each.join(",");
    if let Some(name) = record.metadata.get(registry::TLS_NAME) {
        target.push('#');
        target.push_str(name);
    }
    Some(target.into())
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("id", &self.id)
            .field("address", &self.address)
            .field("version", &self.version())
            .field("labels", &self.labels)
            .field("live", &self.live)
            .finish()
    }
}
