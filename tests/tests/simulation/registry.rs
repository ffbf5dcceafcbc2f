//! Callers whose registry lags, and goes away.

use std::time::Duration;

use micro::Client;
use micro::registry::Registry as _;
use tokio::time::sleep;

use super::calls::failed_in;
use super::lagging::Lagging;
use super::load::Load;
use super::seeds::scenario;
use super::trace::{Event, Log, check};
use super::world::{SERVICE, Shape, World, ms};

/// Ids of the nodes that the registry holds.
async fn held(registry: &Lagging) -> Vec<String> {
    let found = registry.inner().get(SERVICE).await.unwrap_or_default();
    let mut ids: Vec<_> =
        found.iter().flat_map(|service| &service.nodes).map(|node| node.id.clone()).collect();
    ids.sort();
    ids
}

/// Ids of the nodes that the caller goes by.
async fn believed(client: &Client) -> Vec<String> {
    let snapshot = client.cache().resolve(SERVICE).await.expect("the service is known");
    let mut ids: Vec<_> = snapshot.nodes().iter().map(|node| node.id().to_owned()).collect();
    ids.sort();
    ids
}

/// Waits until the caller believes what the registry holds, and writes down how long that took.
async fn converge(client: &Client, registry: &Lagging, log: &Log) {
    let begun = turmoil::sim_elapsed().unwrap();
    while believed(client).await != held(registry).await {
        sleep(ms(5)).await;
    }
    let took = turmoil::sim_elapsed().unwrap() - begun;
    log.write(Event::Note(format!("converged after {} ms", took.as_millis())));
}

fn converged(trace: &super::trace::Trace) -> Vec<Duration> {
    trace
        .iter()
        .filter_map(|(_, event)| match event {
            Event::Note(note) => note.strip_prefix("converged after ")?.strip_suffix(" ms"),
            _ => None,
        })
        .map(|took| ms(took.parse().unwrap()))
        .collect()
}

#[test]
fn a_caller_follows_a_registry_that_lags() {
    scenario("registry lag", |seed| {
        const MOMENTS: [u64; 3] = [4_000, 7_000, 10_000];
        let mut world = World::new(&Shape { lag: 0..600, ..Shape::of(seed) });
        world.node("node-1");
        for node in ["node-2", "node-3"] {
            let (restart, restarts) = tokio::sync::watch::channel(0);
            world.restarting(node, restarts);
            for moment in MOMENTS {
                let restart = restart.clone();
                world.at(ms(moment), move |_| restart.send_modify(|times| *times += 1));
            }
        }
        let load = Load { until: ms(13_000), ..Load::default() };
        let (registry, calls) = (world.registry.clone(), load.clone());
        world.client("caller", move |client, log| async move {
            let watching = async {
                for moment in MOMENTS {
                    // Both nodes were stopped and started anew by then, but hardly any news arrived.
                    sleep(ms(moment + 1_200) - turmoil::sim_elapsed().unwrap()).await;
                    converge(&client, &registry, &log).await;
                }
            };
            tokio::join!(watching, calls.put_on(client.clone(), log.clone(), 0));
            Ok(())
        });
        let trace = world.run();
        let stories = check(&trace, load.terms);
        assert_eq!(failed_in(&stories, ms(3_000)..load.until), []);
        let took = converged(&trace);
        // Two restarts are four changes, each up to 600 ms late and told one after another.
        assert!(
            took.len() == MOMENTS.len() && took.iter().all(|took| *took < ms(2_400)),
            "{took:?}"
        );
    });
}

#[test]
fn a_caller_goes_on_without_its_registry_and_catches_up_with_it() {
    scenario("registry outage", |seed| {
        let mut world = World::new(&Shape::of(seed));
        for node in ["node-1", "node-2", "node-3"] {
            world.node(node);
        }
        let registry = world.registry.clone();
        let (down, up) = (registry.clone(), registry.clone());
        world.at(ms(2_000), move |_| down.set_down(true));
        // Meanwhile a node dies, and no watcher can tell: the registry drops it without a word.
        world.at(ms(4_000), |sim| sim.crash("node-3"));
        let dropped = registry.clone();
        world.at(ms(8_000), move |_| {
            use futures_util::FutureExt as _;
            let forget = async {
                let mut services = dropped.inner().get(SERVICE).await?;
                services[0].nodes.retain(|node| node.id.ends_with("node-3"));
                dropped.inner().deregister(&services[0]).await
            };
            forget.now_or_never().expect("it is in memory").expect("it was registered");
            up.set_down(false);
        });
        let load = Load { until: ms(14_000), ..Load::default() };
        let calls = load.clone();
        world.client("caller", move |client, log| async move {
            let watching = async {
                sleep(ms(8_001) - turmoil::sim_elapsed().unwrap()).await;
                assert_eq!(held(&registry).await, ["work-node-1", "work-node-2"]);
                converge(&client, &registry, &log).await;
            };
            tokio::join!(watching, calls.put_on(client.clone(), log.clone(), 0));
            Ok(())
        });
        let trace = world.run();
        let stories = check(&trace, load.terms);
        // What the caller knew was good enough until the node died, and soon after.
        assert_eq!(failed_in(&stories, ms(2_000)..ms(3_900)), []);
        assert_eq!(failed_in(&stories, ms(5_500)..load.until), []);
        let took = converged(&trace);
        assert!(took.len() == 1 && took[0] < ms(5_500), "{took:?}");
    });
}
