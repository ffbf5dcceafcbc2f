//! Any node with equal chance: go-micro's default. Constant time as long as most nodes are open.

use std::sync::Arc;

use super::{Node, Pick, Strategy};

/// Samples drawn before every node is looked at instead.
const SAMPLES: usize = 16;

/// Picks each open node with equal chance.
#[derive(Debug, Default, Clone, Copy)]
pub struct Random;

impl Random {
    /// The strategy.
    pub fn new() -> Self {
        Self
    }
}

impl Strategy for Random {
    fn pick<'a>(&self, nodes: &'a [Arc<Node>], request: &Pick<'_>) -> Option<&'a Arc<Node>> {
        match sample(nodes, request, None) {
            Some(index) if nodes[index].admit(request.now) => Some(&nodes[index]),
            // Another caller probes it: the loser looks once more, for nodes that need no probe.
            Some(index) => match sample(nodes, request, Some(index)) {
                Some(other) if nodes[other].admit(request.now) => Some(&nodes[other]),
                _ => request.last_resort(nodes),
            },
            None => request.last_resort(nodes),
        }
    }

    fn name(&self) -> &'static str {
        "random"
    }
}

/// Position of a random open node other than `except`; each has the same chance.
pub(super) fn sample(
    nodes: &[Arc<Node>],
    request: &Pick<'_>,
    except: Option<usize>,
) -> Option<usize> {
    let open = |index: usize| Some(index) != except && request.is_open(&nodes[index]);
    if nodes.is_empty() {
        return None;
    }
    for _ in 0..SAMPLES {
        let index = fastrand::usize(..nodes.len());
        if open(index) {
            return Some(index);
        }
    }
    // Few nodes are open: one pass that keeps the n-th it meets with a chance of one in n.
    let mut kept = None;
    for (met, index) in (0..nodes.len()).filter(|&index| open(index)).enumerate() {
        if fastrand::usize(..=met) == 0 {
            kept = Some(index);
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::super::{Filter, fleet};
    use super::*;

    /// Pearson's statistic of how often each of `open` was picked, against equal chances.
    fn chi_square(nodes: &[Arc<Node>], request: &Pick<'_>, open: usize) -> f64 {
        const PICKS: usize = 20_000;
        fastrand::seed(7);
        let mut counts = std::collections::BTreeMap::<&str, u32>::new();
        for _ in 0..PICKS {
            *counts.entry(Random.pick(nodes, request).unwrap().id()).or_default() += 1;
        }
        assert_eq!(counts.len(), open);
        let expected = PICKS as f64 / open as f64;
        counts.values().map(|&count| (f64::from(count) - expected).powi(2) / expected).sum()
    }

    // Bounds are the 99.9 % quantiles for open - 1 degrees of freedom.

    #[test]
    fn every_node_has_the_same_chance() {
        assert!(chi_square(&fleet(10), &Pick::new("a", "A.B"), 10) < 27.9);
    }

    #[test]
    fn rare_matches_of_a_filter_have_the_same_chance_too() {
        let filters = [Filter::label("rare", "yes")];
        let request = Pick { filters: &filters, ..Pick::new("a", "A.B") };
        assert!(chi_square(&fleet(500), &request, 5) < 18.5);
    }
}
