//! Power of two choices: of two random nodes, the one expected to answer sooner.
//!
//! Comparing only two avoids both the cost of ranking all nodes and the herd that would follow the
//! single best one. Load is the peak-EWMA of the latency times the calls in flight, so a slow node
//! loses calls at once and wins them back as its slowness is forgotten.

use std::sync::Arc;

use super::random::sample;
use super::{Node, Pick, Strategy};

/// Picks the less loaded of two random open nodes.
#[derive(Debug, Default, Clone, Copy)]
pub struct P2c;

impl P2c {
    /// The strategy.
    pub fn new() -> Self {
        Self
    }
}

impl Strategy for P2c {
    fn pick<'a>(&self, nodes: &'a [Arc<Node>], request: &Pick<'_>) -> Option<&'a Arc<Node>> {
        let Some(first) = sample(nodes, request, None) else {
            return request.last_resort(nodes);
        };
        let second = if nodes.len() > 1 { sample(nodes, request, Some(first)) } else { None };
        let (better, other) = match second {
            Some(second) if nodes[second].load(request.now) < nodes[first].load(request.now) => {
                (second, Some(first))
            }
            second => (first, second),
        };
        // Another caller may be faster to probe a node that is due: then its rival is the choice.
        [Some(better), other]
            .into_iter()
            .flatten()
            .map(|index| &nodes[index])
            .find(|node| node.admit(request.now))
            .or_else(|| request.last_resort(nodes))
    }

    fn name(&self) -> &'static str {
        "p2c"
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::advance;

    use super::super::{Outcome, fleet};
    use super::*;

    /// Calls one after the other; a node takes the milliseconds given for it, 10 unless given.
    async fn counts(nodes: &[Arc<Node>], picks: usize, slow: (usize, u64)) -> Vec<usize> {
        fastrand::seed(11);
        let mut counts = vec![0; nodes.len()];
        for _ in 0..picks {
            let node = P2c.pick(nodes, &Pick::new("a", "A.B")).unwrap();
            let index = nodes.iter().position(|other| Arc::ptr_eq(node, other)).unwrap();
            counts[index] += 1;
            let attempt = node.begin();
            advance(Duration::from_millis(if index == slow.0 { slow.1 } else { 10 })).await;
            attempt.finish(Outcome::Success);
        }
        counts
    }

    #[tokio::test(start_paused = true)]
    async fn slow_node_is_avoided_and_tried_again_in_time() {
        let nodes = fleet(4);
        let picked = counts(&nodes, 400, (2, 200)).await;
        assert!(picked[2] <= 4, "the slow node is not worth 4 of 400 calls: {picked:?}");
        assert!(picked[2] >= 1 && [0, 1, 3].iter().all(|&fast| picked[fast] >= 80), "{picked:?}");
        advance(Duration::from_secs(60)).await;
        let picked = counts(&nodes, 400, (2, 5)).await;
        assert!(picked[2] >= 150, "the node that became fastest gets most calls: {picked:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn calls_in_flight_push_the_next_call_elsewhere() {
        let nodes = fleet(2);
        counts(&nodes, 20, (0, 10)).await;
        let _busy: Vec<_> = (0..5).map(|_| nodes[0].begin()).collect();
        for _ in 0..50 {
            assert_eq!(P2c.pick(&nodes, &Pick::new("a", "A.B")).unwrap().id(), "n1");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn failing_fast_does_not_attract_calls() {
        let nodes = fleet(2);
        counts(&nodes, 20, (0, 10)).await;
        for _ in 0..3 {
            nodes[0].begin().finish(Outcome::Failure);
        }
        for _ in 0..50 {
            assert_eq!(P2c.pick(&nodes, &Pick::new("a", "A.B")).unwrap().id(), "n1");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn new_node_gets_one_call_until_it_answers() {
        let nodes = fleet(2);
        nodes[0].begin().finish(Outcome::Success);
        let first = P2c.pick(&nodes, &Pick::new("a", "A.B")).unwrap();
        assert_eq!(first.id(), "n1");
        let _unanswered = first.begin();
        assert_eq!(P2c.pick(&nodes, &Pick::new("a", "A.B")).unwrap().id(), "n0");
    }
}
