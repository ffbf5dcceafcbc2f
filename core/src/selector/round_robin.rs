//! Each node in turn, across calls. go-micro starts anew for each call, which is random in effect;
//! here the turn belongs to the strategy and goes on.

use std::hash::{Hash as _, Hasher as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use super::fnv::Fnv;
use super::{Node, Pick, Strategy};

/// Turns kept. Two services that share one by chance still get every node, out of step.
const TURNS: usize = 256;

/// Rotates through the open nodes of each service, and of each set of filters on it.
#[derive(Debug)]
pub struct RoundRobin {
    turns: Box<[AtomicUsize]>,
}

impl RoundRobin {
    /// A rotation that starts anywhere, so that many callers do not start at the same node.
    pub fn new() -> Self {
        let turn = || AtomicUsize::new(fastrand::u32(..) as usize);
        Self { turns: std::iter::repeat_with(turn).take(TURNS).collect() }
    }

    fn turn(&self, request: &Pick<'_>) -> &AtomicUsize {
        let mut hasher = Fnv::new();
        request.service.hash(&mut hasher);
        request.filters.hash(&mut hasher);
        &self.turns[hasher.finish() as usize % TURNS]
    }
}

impl Default for RoundRobin {
    fn default() -> Self {
        Self::new()
    }
}

impl Strategy for RoundRobin {
    fn pick<'a>(&self, nodes: &'a [Arc<Node>], request: &Pick<'_>) -> Option<&'a Arc<Node>> {
        let turn = self.turn(request);
        // A node that is passed over uses up its turn, so its neighbour does not inherit its share.
        (0..nodes.len())
            .map(|_| &nodes[turn.fetch_add(1, Relaxed) % nodes.len()])
            .find(|node| request.is_open(node) && node.admit(request.now))
            .or_else(|| request.last_resort(nodes))
    }

    fn name(&self) -> &'static str {
        "round_robin"
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Filter, Outcome, fleet};
    use super::*;

    fn ids(strategy: &RoundRobin, nodes: &[Arc<Node>], service: &str, picks: usize) -> Vec<String> {
        let request = Pick::new(service, "A.B");
        (0..picks).map(|_| strategy.pick(nodes, &request).unwrap().id().to_owned()).collect()
    }

    #[test]
    fn every_node_gets_its_turn_across_calls() {
        let (strategy, nodes) = (RoundRobin::new(), fleet(5));
        let mut round = ids(&strategy, &nodes, "a", 5);
        assert_eq!(ids(&strategy, &nodes, "a", 5), round);
        round.sort();
        assert_eq!(round, ["n0", "n1", "n2", "n3", "n4"]);
    }

    #[test]
    fn services_called_in_alternation_do_not_take_each_others_turns() {
        let (strategy, nodes) = (RoundRobin::new(), fleet(2));
        let mut first = Vec::new();
        for _ in 0..4 {
            first.extend(ids(&strategy, &nodes, "a", 1));
            ids(&strategy, &nodes, "b", 1);
        }
        assert!(first[0] != first[1] && first[..2] == first[2..]);
    }

    #[tokio::test(start_paused = true)]
    async fn share_of_an_ejected_node_is_divided_evenly() {
        let (strategy, nodes) = (RoundRobin::new(), fleet(3));
        nodes[1].begin().finish(Outcome::Refused);
        let picked = ids(&strategy, &nodes, "a", 300);
        let count = |id: &str| picked.iter().filter(|picked| *picked == id).count();
        assert_eq!((count("n0"), count("n1"), count("n2")), (150, 0, 150));
    }

    #[test]
    fn filters_rotate_among_what_they_allow() {
        let (strategy, nodes) = (RoundRobin::new(), fleet(6));
        let filters = [Filter::label("parity", "odd")];
        let request = Pick { filters: &filters, ..Pick::new("a", "A.B") };
        let mut picked: Vec<&str> =
            (0..3).map(|_| strategy.pick(&nodes, &request).unwrap().id()).collect();
        picked.sort_unstable();
        assert_eq!(picked, ["n1", "n3", "n5"]);
    }
}
