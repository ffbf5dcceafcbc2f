//! A node as callers see it: the registry's record plus what this process learned by calling it.
//!
//! What was learned lives apart from the record, so that it survives a change of labels or
//! endpoints, and is kept in atomics, so that choosing a node takes no lock.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::time::Instant;

use crate::registry::{self, Endpoint, Labels};

/// How fast a latency is forgotten: after this long without calls, about a third of it is left.
const TAU: f64 = 10e9;
/// The worst latency that failures are counted as.
const WORST: f64 = 60e9;
/// Latency that a failure counts at least as, before it is doubled.
const FAILURE: f64 = 1e6;
/// What each call in flight weighs at a node whose latency nobody knows yet: enough to wait for
/// the first answer before sending more.
const UNKNOWN: f64 = 10e9;
/// First and longest time that a node which refused a connection is left out.
const EJECTION: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

/// Moments are nanoseconds since this one, so that they fit an atomic.
static EPOCH: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);

fn nanos(at: Instant) -> u64 {
    let since = at.into_std().saturating_duration_since(*EPOCH);
    // Zero means never, so no moment is zero.
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX).max(1)
}

/// One running instance of a service, as a strategy sees it.
pub struct Node {
    id: Box<str>,
    address: Box<str>,
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

/// What this process learned about a node.
#[derive(Default)]
struct Live {
    in_flight: AtomicU32,
    /// Peak-EWMA of the latency in nanoseconds, as bits of an `f64`; zero while unknown.
    latency: AtomicU64,
    /// Moment of the last sample.
    sampled: AtomicU64,
    /// Consecutive refusals.
    refusals: AtomicU32,
    /// Moment from which one caller may probe the node; zero while it is in use.
    probe_at: AtomicU64,
    /// Moment of the last refusal.
    ejected_at: AtomicU64,
}

/// How an attempt on a node ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The node answered, be it with an error of the service.
    Success,
    /// The node did not do what it was asked: no answer in time, or an answer that says it cannot.
    Failure,
    /// No connection: the request did not reach the node.
    Refused,
    /// The caller gave up before the node could show what it is worth.
    Cancelled,
}

/// An attempt under way. It counts as in flight until it is finished; dropped, it is cancelled.
#[derive(Debug)]
#[must_use = "an attempt that is dropped counts as cancelled"]
pub struct Attempt {
    live: Arc<Live>,
    started: Instant,
    finished: bool,
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
    /// A node nobody called yet, with `release` shared among the nodes of its version.
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
            labels,
            release,
            hash: super::hash::of(record.id.as_bytes()),
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
        self.live.in_flight.fetch_add(1, Relaxed);
        Attempt { live: Arc::clone(&self.live), started: Instant::now(), finished: false }
    }

    /// Attempts under way.
    pub fn in_flight(&self) -> u32 {
        self.live.in_flight.load(Relaxed)
    }

    /// Peak-weighted average latency at `now`; `None` while unknown.
    pub fn latency(&self, now: Instant) -> Option<Duration> {
        let latency = self.live.latency_at(nanos(now));
        (latency > 0.0).then(|| Duration::from_nanos(latency as u64))
    }

    /// Expected cost of one more call at `now`: latency times calls in flight.
    pub(crate) fn load(&self, now: Instant) -> f64 {
        let in_flight = f64::from(self.in_flight());
        let latency = self.live.latency_at(nanos(now));
        if latency > 0.0 { latency * (in_flight + 1.0) } else { UNKNOWN * in_flight }
    }

    /// True while the node is left out because it refused a connection, until somebody may probe it.
    pub fn is_ejected(&self, now: Instant) -> bool {
        let probe_at = self.live.probe_at.load(Relaxed);
        probe_at != 0 && nanos(now) < probe_at
    }

    /// Takes the node for a call. False when it is ejected, or when another caller was faster to
    /// probe it: exactly one is let through each time the node is due.
    pub(crate) fn admit(&self, now: Instant) -> bool {
        let now = nanos(now);
        let probe_at = self.live.probe_at.load(Relaxed);
        if probe_at == 0 {
            return true;
        }
        // A probe that never ends gives way to another after as long again.
        let next = now.saturating_add(self.live.ejection());
        now >= probe_at
            && self.live.probe_at.compare_exchange(probe_at, next, Relaxed, Relaxed).is_ok()
    }

    /// Moment of the last refusal, for choosing among nodes that all refuse.
    pub(crate) fn ejected_at(&self) -> u64 {
        self.live.ejected_at.load(Relaxed)
    }
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

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live")
            .field("in_flight", &self.in_flight)
            .field("latency_ns", &f64::from_bits(self.latency.load(Relaxed)))
            .field("refusals", &self.refusals)
            .finish()
    }
}

impl Live {
    fn latency_at(&self, now: u64) -> f64 {
        let latency = f64::from_bits(self.latency.load(Relaxed));
        if latency == 0.0 {
            return 0.0;
        }
        let idle = now.saturating_sub(self.sampled.load(Relaxed));
        // Never quite forgotten: calls in flight keep counting.
        (latency * (-(idle as f64) / TAU).exp()).max(1.0)
    }

    /// Adds a sample. A peak counts at once; less than the average counts by the time that passed.
    fn sample(&self, latency: f64, now: u64) {
        // Each span of time is claimed by one sample, so concurrent samples do not count it twice.
        let elapsed = now.saturating_sub(self.sampled.fetch_max(now, Relaxed));
        let weight = (-(elapsed as f64) / TAU).exp();
        let latency = latency.max(1.0);
        let _ = self.latency.fetch_update(Relaxed, Relaxed, |bits| {
            let average = f64::from_bits(bits);
            let next = if latency >= average {
                latency
            } else {
                average * weight + latency * (1.0 - weight)
            };
            Some(next.to_bits())
        });
    }

    fn finish(&self, outcome: Outcome, started: Instant) {
        self.in_flight.fetch_sub(1, Relaxed);
        let at = Instant::now();
        let now = nanos(at);
        let elapsed = at.saturating_duration_since(started).as_nanos() as f64;
        match outcome {
            Outcome::Success => {
                self.sample(elapsed, now);
                self.readmit();
            }
            Outcome::Failure => {
                // A node that fails fast must not look like a fast one: each failure counts as
                // twice the latency known so far.
                let doubled = 2.0 * f64::from_bits(self.latency.load(Relaxed)).max(FAILURE / 2.0);
                self.sample(elapsed.max(doubled.min(WORST)), now);
                // It did accept the connection, which is all that ejection is about.
                self.readmit();
            }
            Outcome::Refused => {
                // Calls that were under way when the node went are one refusal, not many.
                let known = self.ejected_at.load(Relaxed);
                if self.probe_at.load(Relaxed) == 0 || nanos(started) > known {
                    self.refusals.fetch_add(1, Relaxed);
                    self.ejected_at.store(now, Relaxed);
                    self.probe_at.store(now.saturating_add(self.ejection()), Relaxed);
                }
            }
            Outcome::Cancelled => {
                // A probe given up proves nothing: let the next caller have it.
                let _ = self.probe_at.fetch_update(Relaxed, Relaxed, |probe_at| {
                    (probe_at > now && nanos(started) > self.ejected_at.load(Relaxed))
                        .then_some(now)
                });
            }
        }
    }

    fn readmit(&self) {
        if self.probe_at.load(Relaxed) != 0 {
            self.refusals.store(0, Relaxed);
            self.probe_at.store(0, Relaxed);
        }
    }

    /// How long the node is left out after so many refusals, in nanoseconds: doubled each time and
    /// up to a quarter shorter, so that callers do not probe in step.
    fn ejection(&self) -> u64 {
        let (first, longest) = EJECTION;
        let doublings = self.refusals.load(Relaxed).saturating_sub(1).min(16);
        let full = first.saturating_mul(1 << doublings).min(longest);
        (full.as_nanos() as f64 * (1.0 - 0.25 * fastrand::f64())) as u64
    }
}

impl Attempt {
    /// Reports how the attempt ended.
    pub fn finish(mut self, outcome: Outcome) {
        self.finished = true;
        self.live.finish(outcome, self.started);
    }

    /// When the attempt started.
    pub fn started(&self) -> Instant {
        self.started
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.finished {
            self.live.finish(Outcome::Cancelled, self.started);
        }
    }
}
