//! Route: which of a service's nodes a call may go to. The filters of the call say so.

use std::sync::Arc;

use super::run::Run;
use crate::directory::Snapshot;
use crate::selector::{Node, Pick};

/// Where the nodes of a call come from.
pub(super) enum Nodes {
    Registered(Arc<Snapshot>),
    Fixed(Vec<Arc<Node>>),
}

impl Nodes {
    pub(super) fn as_slice(&self) -> &[Arc<Node>] {
        match self {
            Self::Registered(snapshot) => snapshot.nodes(),
            Self::Fixed(nodes) => nodes,
        }
    }
}

impl Run {
    /// What the call asks of a node: the filters narrow the choice.
    pub(super) fn choice(&self) -> Pick<'_> {
        Pick {
            filters: &self.terms.filters,
            tried: &self.tried,
            key: self.terms.key.as_deref(),
            ..Pick::new(&self.target.service, &self.target.endpoint)
        }
    }
}
