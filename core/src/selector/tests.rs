//! What holds for every strategy.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::{prop, prop_assert, proptest};
use tokio::time::{Instant, advance};

use super::{Filter, Node, Outcome, Pick, Release, STRATEGIES, Strategy, fleet, select, strategy};
use crate::error::Code;
use crate::registry::{Endpoint, Service};

fn every_strategy() -> Vec<Arc<dyn Strategy>> {
    STRATEGIES.iter().map(|name| strategy(name).unwrap()).collect()
}

fn request() -> Pick<'static> {
    Pick { key: Some(b"key"), ..Pick::new("greeter", "Greeter.Hello") }
}

#[test]
fn strategies_are_chosen_by_name_or_url() {
    for name in STRATEGIES {
        assert_eq!(strategy(name).unwrap().name(), name);
        assert_eq!(strategy(&format!("{name}://")).unwrap().name(), name);
    }
    assert_eq!(strategy("").unwrap().name(), "p2c");
    let error = strategy("fastest").unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    assert!(error.detail().contains("p2c, random, round_robin, hash"));
}

#[test]
fn service_without_nodes_says_so() {
    for strategy in every_strategy() {
        let error = select(strategy.as_ref(), &[], &request()).unwrap_err();
        assert_eq!((error.code(), error.id()), (Code::Unavailable, "go.micro.client"));
        assert_eq!(
            error.detail(),
            "error selecting greeter node: none available: the service has no nodes"
        );
    }
}

#[test]
fn filters_that_exclude_every_node_are_named() {
    let nodes = fleet(4);
    let filters = [Filter::label("parity", "odd"), Filter::version("9")];
    for strategy in every_strategy() {
        let request = Pick { filters: &filters, ..request() };
        let error = select(strategy.as_ref(), &nodes, &request).unwrap_err();
        assert!(
            error.detail().ends_with(
                "no node meets all filters: label parity=odd matches 2 of 4, version 9 matches 0 of 4"
            ),
            "{error}"
        );
    }
}

#[test]
fn retry_avoids_tried_nodes_until_nothing_else_is_left() {
    let nodes = fleet(3);
    for strategy in every_strategy() {
        for _ in 0..50 {
            let request = Pick { tried: &nodes[..2], ..request() };
            assert_eq!(strategy.pick(&nodes, &request).unwrap().id(), "n2");
            let request = Pick { tried: &nodes, ..request };
            assert!(strategy.pick(&nodes, &request).is_some());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn node_that_refused_is_left_out_after_one_attempt() {
    for strategy in every_strategy() {
        let nodes = fleet(3);
        nodes[1].begin().finish(Outcome::Refused);
        for _ in 0..50 {
            assert_ne!(strategy.pick(&nodes, &request()).unwrap().id(), "n1");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn exactly_one_caller_probes_a_node_that_is_due() {
    for strategy in every_strategy() {
        let nodes = fleet(2);
        nodes[0].begin().finish(Outcome::Refused);
        advance(Duration::from_millis(101)).await;
        let picks = (0..200).map(|_| strategy.pick(&nodes, &request()).unwrap());
        assert!(picks.filter(|node| node.id() == "n0").count() <= 1, "{strategy:?}");
    }
    let nodes = fleet(1);
    nodes[0].begin().finish(Outcome::Refused);
    advance(Duration::from_millis(101)).await;
    let now = Instant::now();
    assert_eq!((nodes[0].admit(now), nodes[0].admit(now)), (true, false));
}

#[tokio::test(start_paused = true)]
async fn ejection_doubles_up_to_thirty_seconds_and_success_ends_it() {
    let node = &fleet(1)[0];
    let mut full = 0.1;
    for _ in 0..12 {
        node.begin().finish(Outcome::Refused);
        let start = Instant::now();
        while node.is_ejected(Instant::now()) {
            advance(Duration::from_millis(5)).await;
        }
        let left_out = start.elapsed().as_secs_f64();
        assert!((full * 0.74..=full + 0.006).contains(&left_out), "{left_out} of {full}");
        full = f64::min(full * 2.0, 30.0);
        assert!(node.admit(Instant::now()));
    }
    node.begin().finish(Outcome::Success);
    assert!(node.admit(Instant::now()) && node.admit(Instant::now()));
}

#[tokio::test(start_paused = true)]
async fn calls_refused_together_count_as_one_refusal() {
    let node = &fleet(1)[0];
    let attempts: Vec<_> = (0..100).map(|_| node.begin()).collect();
    advance(Duration::from_millis(1)).await;
    attempts.into_iter().for_each(|attempt| attempt.finish(Outcome::Refused));
    advance(Duration::from_millis(101)).await;
    assert!(!node.is_ejected(Instant::now()));
}

#[tokio::test(start_paused = true)]
async fn probe_that_was_cancelled_goes_to_the_next_caller() {
    let node = &fleet(1)[0];
    node.begin().finish(Outcome::Refused);
    advance(Duration::from_millis(101)).await;
    assert!(node.admit(Instant::now()));
    drop(node.begin());
    assert!(node.admit(Instant::now()));
}

#[tokio::test(start_paused = true)]
async fn when_every_node_is_ejected_the_first_ejected_is_picked() {
    for strategy in every_strategy() {
        let nodes = fleet(3);
        for index in [2, 0, 1] {
            nodes[index].begin().finish(Outcome::Refused);
            advance(Duration::from_millis(1)).await;
        }
        for _ in 0..20 {
            assert_eq!(strategy.pick(&nodes, &request()).unwrap().id(), "n2");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn attempt_counts_as_in_flight_until_it_ends() {
    let node = &fleet(1)[0];
    let (first, second) = (node.begin(), node.begin());
    assert_eq!(node.in_flight(), 2);
    drop(first);
    assert_eq!((node.in_flight(), node.latency(Instant::now())), (1, None));
    advance(Duration::from_millis(40)).await;
    second.finish(Outcome::Success);
    assert_eq!(node.in_flight(), 0);
    assert_eq!(node.latency(Instant::now()), Some(Duration::from_millis(40)));
}

#[tokio::test(start_paused = true)]
async fn latency_rises_at_once_and_is_forgotten_slowly() {
    let node = &fleet(1)[0];
    for millis in [10, 100] {
        let attempt = node.begin();
        advance(Duration::from_millis(millis)).await;
        attempt.finish(Outcome::Success);
        assert_eq!(node.latency(Instant::now()), Some(Duration::from_millis(millis)));
    }
    advance(Duration::from_secs(10)).await;
    let left = node.latency(Instant::now()).unwrap().as_secs_f64();
    assert!((0.0367..0.0369).contains(&left), "100 ms / e after ten idle seconds, not {left}");
}

proptest! {
    /// Filters combine with AND, leave the list alone, and no strategy goes around them.
    #[test]
    fn strategies_pick_only_what_every_filter_allows(
        nodes in prop::collection::vec((0..3_u8, 0..3_u8, 0..3_u8), 0..12),
        wanted in (prop::option::of(0..3_u8), prop::option::of(0..3_u8), prop::option::of(0..3_u8)),
    ) {
        let node = |(index, (version, zone, endpoint)): (usize, &(u8, u8, u8))| {
            let mut service = Service::new("greeter", version.to_string());
            let name = format!("Greeter.M{endpoint}");
            service.endpoints.push(Endpoint { name, ..Endpoint::default() });
            let record = crate::registry::Node { id: format!("n{index}"), ..Default::default() };
            let labels = Arc::new([("zone".to_owned(), zone.to_string())].into());
            Arc::new(Node::new(&record, labels, Arc::new(Release::of(&service))))
        };
        let fleet: Vec<Arc<Node>> = nodes.iter().enumerate().map(node).collect();
        let mut filters = Vec::new();
        filters.extend(wanted.0.map(|version| Filter::version(version.to_string())));
        filters.extend(wanted.1.map(|zone| Filter::label("zone", zone.to_string())));
        filters.extend(wanted.2.map(|endpoint| Filter::endpoint(format!("Greeter.M{endpoint}"))));
        let meets = |have: u8, wanted: Option<u8>| wanted.is_none_or(|wanted| wanted == have);
        let allowed: Vec<String> = nodes
            .iter()
            .enumerate()
            .filter(|(_, n)| meets(n.0, wanted.0) && meets(n.1, wanted.1) && meets(n.2, wanted.2))
            .map(|(index, _)| format!("n{index}"))
            .collect();
        let request = Pick { filters: &filters, ..request() };
        for strategy in every_strategy() {
            match strategy.pick(&fleet, &request) {
                Some(node) => prop_assert!(allowed.iter().any(|id| id == node.id())),
                None => prop_assert!(allowed.is_empty()),
            }
        }
    }
}
