//! Which node gets the call: filters narrow the choice, a strategy makes it, and the outcome of
//! every attempt teaches the next choice.
//!
//! | strategy | picks | for |
//! |---|---|---|
//! | [`P2c`] (default) | the less loaded of two random nodes | everything |
//! | [`Random`] | any node, with equal chance | go-micro's default |
//! | [`RoundRobin`] | each node in turn, across calls | equal shares |
//! | [`struct@Hash`] | the node a key belongs to | sharded state, warm caches |
//!
//! A node that refuses a connection is left out for 100 ms, doubling to 30 s while it keeps
//! refusing; then exactly one call may probe it. When no other node is left, the one left out for
//! longest is picked all the same: a call that may succeed beats one that cannot.
//!
//! A strategy of one's own implements [`Strategy`], usually on top of [`Pick::is_open`],
//! [`Node::admit`] and [`Pick::last_resort`]. It may hear how attempts end: [`Strategy::finished`].

mod by_name;
mod filter;
mod fnv;
mod hash;
mod live;
mod node;
mod p2c;
mod random;
mod round_robin;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Reach, Reason, Result};

pub use by_name::{STRATEGIES, strategy};
pub use filter::Filter;
pub use hash::Hash;
pub(crate) use live::warm_up;
pub use live::{Attempt, Outcome};
pub use node::{Node, Release};
pub use p2c::P2c;
pub use random::Random;
pub use round_robin::RoundRobin;

/// Chooses among nodes. Called for every attempt, by many tasks at once: it neither waits nor locks.
pub trait Strategy: Send + Sync + fmt::Debug + 'static {
    /// One of `nodes` that `request` allows; `None` when its filters allow none.
    fn pick<'a>(&self, nodes: &'a [Arc<Node>], request: &Pick<'_>) -> Option<&'a Arc<Node>>;

    /// Name it is chosen by, for example `p2c`.
    fn name(&self) -> &'static str;

    /// An attempt has ended that this strategy picked a node for; called once for each, also for one that the caller gave
    /// up. What a [`Node`] knows of its attempts is known already: this is for strategies that keep books of their own. It
    /// neither waits nor locks for long, and does nothing unless it is written.
    fn finished(&self, attempt: &Finished<'_>) {
        let _ = attempt;
    }
}

/// An attempt that has ended, as a [`Strategy`] is told of it.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Finished<'a> {
    /// Service that was called.
    pub service: &'a str,
    /// Endpoint that was called.
    pub endpoint: &'a str,
    /// The node. A call keeps to the one it had when its connection went away, and a layer may choose another: then it is not
    /// what was picked last.
    pub node: &'a Arc<Node>,
    /// How it ended.
    pub outcome: Outcome,
    /// How long it took. A stream is an attempt for as long as it is open.
    pub elapsed: Duration,
}

/// What an attempt asks of a [`Strategy`].
#[derive(Debug, Clone, Copy)]
pub struct Pick<'a> {
    /// Service being called.
    pub service: &'a str,
    /// Endpoint being called.
    pub endpoint: &'a str,
    /// Conditions that a node must meet, all of them.
    pub filters: &'a [Filter],
    /// Nodes this call tried already; left out unless nothing better is left.
    pub tried: &'a [Arc<Node>],
    /// Calls with equal keys go to the same node, where the strategy is [`struct@Hash`].
    pub key: Option<&'a [u8]>,
    /// Time of the choice.
    pub now: Instant,
}

impl<'a> Pick<'a> {
    /// A choice now, among all nodes.
    pub fn new(service: &'a str, endpoint: &'a str) -> Self {
        Self { service, endpoint, filters: &[], tried: &[], key: None, now: Instant::now() }
    }

    /// True when the filters allow the node.
    pub fn allows(&self, node: &Node) -> bool {
        self.filters.iter().all(|filter| filter.matches(node))
    }

    /// True when the filters allow the node, this call did not try it, and it is not ejected.
    pub fn is_open(&self, node: &Node) -> bool {
        !node.is_ejected(self.now) && !self.has_tried(node) && self.allows(node)
    }

    fn has_tried(&self, node: &Node) -> bool {
        self.tried.iter().any(|tried| tried.is_same(node))
    }

    /// The choice when no node is open: one that was tried but works, else the one ejected first.
    pub fn last_resort<'n>(&self, nodes: &'n [Arc<Node>]) -> Option<&'n Arc<Node>> {
        let allowed = || nodes.iter().filter(|node| self.allows(node));
        // Retries of many calls must not all land on the first node of the list.
        let start = fastrand::usize(..nodes.len().max(1));
        let working = nodes[start..]
            .iter()
            .chain(&nodes[..start])
            .find(|node| !node.is_ejected(self.now) && self.allows(node) && node.admit(self.now));
        working.or_else(|| allowed().min_by_key(|node| (self.has_tried(node), node.ejected_at())))
    }
}

/// Picks by `strategy`, or says why no node could be picked.
///
/// # Errors
/// `UNAVAILABLE` when there are no nodes, or the filters exclude every one.
pub fn select<'a>(
    strategy: &dyn Strategy,
    nodes: &'a [Arc<Node>],
    request: &Pick<'_>,
) -> Result<&'a Arc<Node>> {
    strategy.pick(nodes, request).ok_or_else(|| none_available(nodes, request))
}

#[cold]
fn none_available(nodes: &[Arc<Node>], request: &Pick<'_>) -> Error {
    let reason = if nodes.is_empty() { Reason::NoNodes } else { Reason::NoMatch };
    let why = if nodes.is_empty() {
        "the service has no nodes".to_owned()
    } else {
        let counts: Vec<String> = request
            .filters
            .iter()
            .map(|filter| {
                let matching = nodes.iter().filter(|node| filter.matches(node)).count();
                format!("{filter} matches {matching} of {}", nodes.len())
            })
            .collect();
        if counts.is_empty() {
            format!("the strategy excluded all {} nodes", nodes.len())
        } else {
            format!("no node meets all filters: {}", counts.join(", "))
        }
    };
    let detail = format!("error selecting {} node: none available: {why}", request.service);
    // go-micro's id and number of it.
    Error::unavailable(detail)
        .with_id("go.micro.client")
        .with_http_code(500)
        .with_reach(Reach::Never)
        .with_reason(reason)
}

/// Nodes `n0`, `n1`, … with a label for odd and even, and one for every hundredth.
#[cfg(test)]
fn fleet(size: usize) -> Vec<Arc<Node>> {
    let release = Arc::<Release>::default();
    let node = |index: usize| {
        let labels = [
            ("parity".to_owned(), ["even", "odd"][index % 2].to_owned()),
            ("rare".to_owned(), if index.is_multiple_of(100) { "yes" } else { "no" }.to_owned()),
        ];
        let record = crate::registry::Node {
            id: format!("n{index}"),
            address: format!("10.0.0.1:{index}"),
            metadata: labels.into(),
        };
        let labels = Arc::new(record.metadata.clone());
        Arc::new(Node::new(&record, labels, Arc::clone(&release)))
    };
    (0..size).map(node).collect()
}

#[cfg(test)]
mod tests;
