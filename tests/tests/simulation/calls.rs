//! Calls on a network that delays, loses and separates.

use std::collections::BTreeMap;
use std::time::Duration;

use micro::Context;
use micro::server::Endpoint;
use micro::{Code, Error, Raw, Result};

use super::load::Load;
use super::seeds::scenario;
use super::trace::{Event, Story, check};
use super::world::{Shape, World, ms};

const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];

fn fleet(shape: &Shape) -> World {
    let mut world = World::new(shape);
    for node in NODES {
        world.node(node);
    }
    world
}

/// Failed calls among those that began in `during`.
pub(crate) fn failed_in(
    stories: &BTreeMap<u32, Story>,
    during: std::ops::Range<Duration>,
) -> Vec<(&u32, &Story)> {
    let within = stories.iter().filter(|(_, story)| during.contains(&story.began));
    let (all, failed): (Vec<_>, Vec<_>) =
        within.map(|story| (story, story.1.failed.is_some())).unzip();
    assert!(all.len() > 20, "too few calls to tell: {}", all.len());
    all.into_iter().zip(failed).filter(|(_, failed)| *failed).map(|(story, _)| story).collect()
}

#[test]
fn delay_alone_fails_no_call() {
    scenario("latency", |seed| {
        let mut world = fleet(&Shape { latency: 1..80, ..Shape::of(seed) });
        let load = Load { until: ms(5_000), ..Load::default() };
        world.caller("caller-1", 0, &load);
        world.caller("caller-2", 1_000_000, &load);
        let stories = check(&world.run(), load.terms);
        assert_eq!(failed_in(&stories, ms(0)..load.until), []);
        assert!(stories.values().all(|story| story.runs.len() == 1), "nothing was repeated");
    });
}

#[test]
fn lost_packets_cost_calls_but_never_run_one_twice_and_the_fleet_recovers() {
    scenario("loss", |seed| {
        let mut world = fleet(&Shape { loss: 0.002, ..Shape::of(seed) });
        // A connection that lost a packet is silent for good; it is found out within 22 s.
        world.at(ms(4_000), |sim| sim.set_fail_rate(0.0));
        let load = Load { until: ms(32_000), pause: 0..160, ..Load::default() };
        world.caller("caller", 0, &load);
        let stories = check(&world.run(), load.terms);
        assert_eq!(failed_in(&stories, ms(28_000)..load.until), []);
    });
}

#[test]
fn a_partition_costs_the_calls_it_cut_and_is_gone_round() {
    scenario("partition", |seed| {
        let mut world = fleet(&Shape::of(seed));
        world.at(ms(1_500), |sim| sim.partition("caller", "node-1"));
        world.at(ms(6_000), |sim| sim.repair("caller", "node-1"));
        let load = Load { until: ms(34_000), pause: 0..160, ..Load::default() };
        world.caller("caller", 0, &load);
        let stories = check(&world.run(), load.terms);
        let during = failed_in(&stories, ms(1_600)..ms(6_000));
        assert!(during.iter().all(|(_, story)| story.failed == Some(Code::DeadlineExceeded)));
        // What hangs there is given up by its deadline; from then on others are asked.
        assert!(during.len() <= 8, "{} calls were lost to one node: {during:?}", during.len());
        assert_eq!(failed_in(&stories, ms(30_000)..load.until), []);
    });
}

#[test]
fn a_partition_in_one_direction_is_gone_round_too() {
    scenario("one-way partition", |seed| {
        let mut world = fleet(&Shape::of(seed));
        // Requests arrive, answers do not: the case in which a repeated call would run twice.
        world.at(ms(1_500), |sim| sim.partition_oneway("node-1", "caller"));
        world.at(ms(6_000), |sim| sim.repair_oneway("node-1", "caller"));
        let load = Load { until: ms(34_000), pause: 0..160, ..Load::default() };
        world.caller("caller", 0, &load);
        let stories = check(&world.run(), load.terms);
        let during = failed_in(&stories, ms(1_600)..ms(6_000));
        assert!(during.len() <= 8, "{} calls were lost to one node: {during:?}", during.len());
        assert_eq!(failed_in(&stories, ms(30_000)..load.until), []);
    });
}

#[test]
fn packets_that_were_held_back_do_no_harm_when_they_arrive() {
    scenario("hold", |seed| {
        let mut world = fleet(&Shape::of(seed));
        for (from, to) in [(1_500, 3_500), (4_000, 4_400)] {
            world.at(ms(from), |sim| sim.hold("caller", "node-1"));
            world.at(ms(to), |sim| sim.release("caller", "node-1"));
        }
        let load = Load { until: ms(12_000), ..Load::default() };
        world.caller("caller", 0, &load);
        let stories = check(&world.run(), load.terms);
        assert_eq!(failed_in(&stories, ms(6_000)..load.until), []);
    });
}

#[test]
fn when_everything_fails_retries_stay_within_their_budget() {
    scenario("overload of retries", |seed| {
        let mut world = World::new(&Shape { latency: 1..3, ..Shape::of(seed) });
        for node in NODES {
            let log = world.log.clone();
            world.node_with(node, move |service| {
                let (log, host) = (log.clone(), node.to_owned());
                let busy = move |_: Context, request: Raw| {
                    let call = super::world::number(&request);
                    log.write(Event::Ran { call, node: host.clone() });
                    async { Result::<Raw>::Err(Error::unavailable("busy")) }
                };
                service.handle(Endpoint::unary("Busy.Call", busy).idempotent())
            });
        }
        let load = Load {
            width: 16,
            until: ms(4_000),
            pause: 0..4,
            endpoints: ["Busy.Call", "Busy.Call"],
            idempotent: 1.0,
            ..Load::default()
        };
        world.caller("caller", 0, &load);
        let trace = world.run();
        let stories = check(&trace, load.terms);
        let runs: usize = stories.values().map(|story| story.runs.len()).sum();
        let repeated = runs - stories.len();
        assert!(stories.len() > 1_500, "{}", stories.len());
        let budget = stories.len() / 10;
        assert!((100..=budget.max(100) + 1).contains(&repeated), "{repeated} of {}", stories.len());
        assert!(stories.values().all(|story| story.failed == Some(Code::Unavailable)));
    });
}
