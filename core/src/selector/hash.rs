//! The node a key belongs to, by rendezvous hashing: every node is scored against the key and the
//! highest score wins. Unlike a ring it needs no table and spreads evenly; a node that leaves moves
//! only its own keys, and a retry goes to the next in the same order. Scores depend on nothing but
//! the key and the node ids, so every process picks alike.

use std::sync::Arc;

use super::fnv::{mix, of};
use super::{Node, P2c, Pick, Strategy};

/// Picks by the key of the call; calls without a key are picked by [`P2c`]. Takes time in
/// proportion to the number of nodes, a few nanoseconds each.
#[derive(Debug, Default, Clone, Copy)]
pub struct Hash;

impl Hash {
    /// The strategy.
    pub fn new() -> Self {
        Self
    }
}

impl Strategy for Hash {
    fn pick<'a>(&self, nodes: &'a [Arc<Node>], request: &Pick<'_>) -> Option<&'a Arc<Node>> {
        let Some(key) = request.key else { return P2c.pick(nodes, request) };
        let key = of(key);
        // A second look is for the caller that was not fast enough to probe the best node.
        (0..2)
            .find_map(|_| best(nodes, request, key).filter(|node| node.admit(request.now)))
            .or_else(|| request.last_resort(nodes))
    }

    fn name(&self) -> &'static str {
        "hash"
    }
}

/// The open node that scores highest.
fn best<'a>(nodes: &'a [Arc<Node>], request: &Pick<'_>, key: u64) -> Option<&'a Arc<Node>> {
    let mut best: Option<(u64, &Arc<Node>)> = None;
    for node in nodes {
        let score = mix(node.hash() ^ key);
        // The score is cheap, the question whether the node is open is not.
        if best.is_none_or(|(most, _)| score > most) && request.is_open(node) {
            best = Some((score, node));
        }
    }
    best.map(|(_, node)| node)
}

#[cfg(test)]
mod tests {
    use super::super::fleet;
    use super::*;

    fn owner(nodes: &[Arc<Node>], key: u32) -> &Arc<Node> {
        let key = key.to_le_bytes();
        Hash.pick(nodes, &Pick { key: Some(&key), ..Pick::new("a", "A.B") }).unwrap()
    }

    #[test]
    fn key_stays_with_its_node_and_keys_spread_evenly() {
        let nodes = fleet(10);
        let mut counts = std::collections::BTreeMap::<&str, u32>::new();
        for key in 0..10_000 {
            let node = owner(&nodes, key);
            assert!(Arc::ptr_eq(node, owner(&nodes, key)));
            *counts.entry(node.id()).or_default() += 1;
        }
        assert!(counts.len() == 10 && counts.values().all(|count| (850..1150).contains(count)));
    }

    #[test]
    fn node_that_leaves_moves_only_its_own_keys() {
        let nodes = fleet(10);
        let fewer: Vec<_> = nodes.iter().filter(|node| node.id() != "n3").cloned().collect();
        for key in 0..1000 {
            let before = owner(&nodes, key);
            let after = owner(&fewer, key);
            assert!(before.id() == "n3" || Arc::ptr_eq(before, after));
        }
    }

    #[test]
    fn retry_goes_to_the_node_that_would_inherit_the_key() {
        let nodes = fleet(10);
        for key in 0..100_u32 {
            let first = owner(&nodes, key);
            let rest: Vec<_> = nodes.iter().filter(|n| !Arc::ptr_eq(n, first)).cloned().collect();
            let (bytes, tried) = (key.to_le_bytes(), [Arc::clone(first)]);
            let request = Pick { key: Some(&bytes), tried: &tried, ..Pick::new("a", "A.B") };
            assert_eq!(Hash.pick(&nodes, &request).unwrap().id(), owner(&rest, key).id());
        }
    }

    #[test]
    fn order_of_the_list_does_not_matter() {
        let nodes = fleet(7);
        let mut reversed = nodes.clone();
        reversed.reverse();
        assert!((0..100).all(|key| Arc::ptr_eq(owner(&nodes, key), owner(&reversed, key))));
    }
}
