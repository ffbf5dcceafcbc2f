//! Seeds: one decides everything that happens in a run.

use std::collections::BTreeSet;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::Mutex;

use micro_tests::suite::Report;

use super::load::Load;
use super::trace::Trace;
use super::world::{Shape, World, ms};

/// Every scenario, so that the report of a run counts them all or is not made.
const SCENARIOS: [&str; 13] = [
    "latency",
    "loss",
    "partition",
    "hold",
    "one-way partition",
    "overload of retries",
    "crash and bounce",
    "rolling restart",
    "dead node",
    "streams",
    "registry lag",
    "registry outage",
    "seeds",
];
const DEFAULT_SEEDS: u64 = 2;
/// Runs a scenario for every seed, and says which one failed.
pub(crate) fn scenario(name: &'static str, run: impl Fn(u64)) {
    let number = |name| {
        env::var(name)
            .ok()
            .map(|text| text.parse::<u64>().unwrap_or_else(|e| panic!("{name}: {e}")))
    };
    let seeds = match number("MICRO_SEED") {
        Some(seed) => seed..=seed,
        None => 1..=number("MICRO_SEEDS").unwrap_or(DEFAULT_SEEDS),
    };
    for seed in seeds {
        let ran = catch_unwind(AssertUnwindSafe(|| run(seed)));
        if let Err(panic) = ran {
            eprintln!("scenario `{name}` failed; MICRO_SEED={seed} runs it again");
            resume_unwind(panic);
        }
    }
    static PASSED: Mutex<BTreeSet<&str>> = Mutex::new(BTreeSet::new());
    let mut passed = PASSED.lock().unwrap();
    assert!(SCENARIOS.contains(&name), "`{name}` is not among the scenarios");
    passed.insert(name);
    if passed.len() == SCENARIOS.len() {
        let report = Report {
            suite: "simulation (turmoil)".into(),
            version: "0.7.2".into(),
            tested: "client and server".into(),
            passed: SCENARIOS.len(),
            ..Report::default()
        };
        report.record();
    }
}

/// A run with a bit of everything.
fn eventful(seed: u64) -> Trace {
    let mut world = World::new(&Shape { loss: 0.0005, ..Shape::of(seed) });
    for node in ["node-1", "node-2", "node-3"] {
        world.node(node);
    }
    world.at(ms(1_000), |sim| sim.partition("caller", "node-1"));
    world.at(ms(2_000), |sim| sim.repair("caller", "node-1"));
    world.at(ms(2_500), |sim| sim.crash("node-2"));
    world.at(ms(3_000), |sim| sim.bounce("node-2"));
    world.caller("caller", 0, &Load { until: ms(4_000), ..Load::default() });
    world.run()
}

#[test]
fn the_same_seed_tells_the_same_story_and_another_one_another() {
    scenario("seeds", |seed| {
        let (story, again) = (eventful(seed), eventful(seed));
        for (at, (then, now)) in story.iter().zip(&again).enumerate() {
            assert_eq!(then, now, "event {at} of {}", story.len());
        }
        assert_eq!(story.len(), again.len());
        assert!(story.len() > 200, "something happened: {}", story.len());
        assert_ne!(story, eventful(seed + 1_000_000));
    });
}
