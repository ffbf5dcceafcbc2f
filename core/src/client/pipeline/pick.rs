//! Pick: the strategy chooses a node of those that the route leaves.

use std::sync::Arc;

use super::route::Nodes;
use super::run::Run;
use crate::client::pool::Lease;
use crate::error::Result;
use crate::selector::{Node, select};

impl Run {
    /// Picks a node, unless it is to be `again` that of the last attempt, and takes the connection that there is.
    pub(super) fn choose(
        &self,
        nodes: &Nodes,
        again: Option<Arc<Node>>,
    ) -> Result<(Arc<Node>, Option<Lease>)> {
        let pool = &self.client.0.pool;
        let picked = again.is_none();
        let node = match again {
            Some(node) => node,
            None => self.pick(nodes)?,
        };
        if let Some(lease) = pool.ready(node.target()) {
            return Ok((node, Some(lease)));
        }
        // A key belongs to its node, and waits for it.
        if picked && self.terms.key.is_none() && !pool.has_room(&self.target.callee.dials) {
            let known = self.known(nodes);
            if let Some((known, lease)) = known {
                // It may have been picked to be probed, which another call can do.
                drop(node.begin());
                return Ok((known, Some(lease)));
            }
        }
        Ok((node, None))
    }

    /// A node that has answered before, and has a connection: what a call is content with while it would have to wait for
    /// connections to nodes that may not even exist.
    #[cold]
    fn known(&self, nodes: &Nodes) -> Option<(Arc<Node>, Lease)> {
        let nodes = nodes.as_slice();
        let pick = self.choice();
        let start = fastrand::usize(..nodes.len().max(1));
        let (before, after) = nodes.split_at_checked(start)?;
        after.iter().chain(before).filter(|node| node.is_known() && pick.is_open(node)).find_map(
            |node| {
                let lease = self.client.0.pool.ready(node.target())?;
                Some((node.clone(), lease))
            },
        )
    }

    fn pick(&self, nodes: &Nodes) -> Result<Arc<Node>> {
        let strategy = self.terms.strategy(self.client.0.strategy.as_ref());
        select(strategy, nodes.as_slice(), &self.choice()).cloned()
    }
}
