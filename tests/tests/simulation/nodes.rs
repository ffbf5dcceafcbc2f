//! Nodes that crash, vanish and are replaced.

use tokio::sync::watch;

use super::calls::failed_in;
use super::load::Load;
use super::seeds::scenario;
use super::trace::{Event, check};
use super::world::{Shape, World, ms};

const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];

#[test]
fn a_node_that_crashes_and_comes_back_serves_again() {
    scenario("crash and bounce", |seed| {
        let mut world = World::new(&Shape::of(seed));
        for node in NODES {
            world.node(node);
        }
        world.at(ms(1_500), |sim| sim.crash("node-1"));
        world.at(ms(3_000), |sim| sim.bounce("node-1"));
        // Calls are under way at any moment: some of them ran, and their answers are lost.
        for (at, node) in
            [(3_500, "node-2"), (4_000, "node-3"), (4_500, "node-1"), (5_000, "node-2")]
        {
            world.at(ms(at), move |sim| {
                sim.crash(node);
                sim.bounce(node);
            });
        }
        let load = Load { until: ms(9_000), width: 8, ..Load::default() };
        world.caller("caller", 0, &load);
        let stories = check(&world.run(), load.terms);
        let lost = failed_in(&stories, ms(1_000)..ms(6_000));
        assert!(
            lost.iter().all(|(_, story)| !story.idempotent),
            "what may be repeated is not lost: {lost:?}"
        );
        assert!(lost.len() <= 20, "five crashes cost {}: {lost:?}", lost.len());
        let unanswered = lost.iter().filter(|(_, story)| story.runs.len() == 1);
        assert!(unanswered.count() > 0, "some ran, and were rightly not repeated: {lost:?}");
        assert_eq!(failed_in(&stories, ms(6_000)..load.until), []);
        for node in NODES {
            let late = stories.values().filter(|story| story.began > ms(6_000));
            let served = late.filter(|story| story.runs.iter().any(|run| run == node)).count();
            assert!(served > 20, "{node} served {served} calls after all was well again");
        }
    });
}

#[test]
fn a_rolling_restart_fails_no_call() {
    scenario("rolling restart", |seed| {
        // Some seeds have registries that tell of the end of a node only after it is gone.
        let lag = 0..[20, 80, 250, 500][seed as usize % 4];
        let mut world = World::new(&Shape { lag, ..Shape::of(seed) });
        for (i, node) in NODES.into_iter().enumerate() {
            let (restart, restarts) = watch::channel(0);
            world.restarting(node, restarts);
            for round in 0..3 {
                let restart = restart.clone();
                let moment = 2_500 + 1_700 * i as u64 + 5_100 * round;
                world.at(ms(moment), move |_| restart.send_modify(|times| *times += 1));
            }
        }
        let load = Load { until: ms(19_000), pause: 0..60, ..Load::default() };
        world.caller("caller-1", 0, &load);
        world.caller("caller-2", 1_000_000, &load);
        let trace = world.run();
        let stopped = trace
            .iter()
            .filter(|(_, event)| matches!(event, Event::Note(note) if note.ends_with("stopped")));
        assert_eq!(stopped.count(), 9, "all were restarted three times");
        let stories = check(&trace, load.terms);
        // Callers start when the first node may not have registered yet.
        assert_eq!(failed_in(&stories, ms(2_000)..load.until), []);
        assert!(stories.values().all(|story| story.runs.len() <= 1), "nothing ran twice");
    });
}

#[test]
fn a_node_that_fell_silent_is_hardly_asked_any_more() {
    scenario("dead node", |seed| {
        let mut world = World::new(&Shape::of(seed));
        for node in NODES {
            world.node(node);
        }
        // Power fails: no goodbye, no reset, and it is not taken off the registry.
        world.at(ms(2_000), |sim| sim.partition("caller", "node-2"));
        let load = Load { until: ms(14_000), ..Load::default() };
        world.caller("caller", 0, &load);
        let stories = check(&world.run(), load.terms);
        let of = |from, to| {
            let within = |story: &&super::trace::Story| (from..to).contains(&story.began);
            let all = stories.values().filter(within).count();
            let went = stories.values().filter(within).filter(|story| {
                story.node.contains("node-2") || story.runs.iter().any(|run| run == "node-2")
            });
            went.count() as f64 / all as f64
        };
        let before = of(ms(500), ms(1_900));
        let after = of(ms(4_000), load.until);
        assert!(before > 0.15, "a fair share while it lives: {before:.3}");
        assert!(after < 0.02, "share of calls to a dead node: {after:.3}");
    });
}
