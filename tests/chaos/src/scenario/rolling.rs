//! A new version every few seconds: no caller may notice.

use std::time::Duration;

use super::client::client;
use super::name::Name;
use super::plan::Plan;
use crate::Outcome;
use crate::fleet::{Fleet, Work};
use crate::load::{Load, Offered};
use crate::node::{READ, WRITE};
use crate::report::{Goal, Scenario};

const NODES: usize = 3;

pub(super) async fn run(plan: &Plan) -> Outcome<Scenario> {
    let (rounds, rate) = if plan.bounded { (2, 200.0) } else { (10, 2_000.0) };
    let mut fleet =
        Fleet::start(NODES, Work { takes: 1, limiter: true, ..Work::default() }).await?;
    let client = client(&fleet, |client| client).await?;
    let timeout = Duration::from_secs(5);
    let load = Load::start(&client, Offered { endpoints: &[READ, WRITE], rate, timeout });
    let mut restarts = 0_u32;
    let end = tokio::time::Instant::now() + plan.time;
    // Ten rounds are what is promised; a longer run goes on for its time.
    while restarts < rounds * NODES as u32 || (!plan.bounded && tokio::time::Instant::now() < end) {
        let node = restarts as usize % NODES;
        fleet.down(node).await?;
        fleet.up(node).await?;
        restarts += 1;
    }
    let records = load.stop().await?;
    fleet.end().await?;
    let failed = |endpoint| {
        records.iter().filter(|r| r.endpoint == endpoint && r.failure.is_some()).count() as f64
    };
    let goals = vec![
        Goal::at_most("failed, idempotent", failed(READ), 0.0),
        Goal::at_most("failed, not idempotent", failed(WRITE), 0.0),
        Goal::at_least("restarts of a node", f64::from(restarts), f64::from(rounds * NODES as u32)),
    ];
    Ok(Scenario::of(Name::Rolling, &records, goals))
}
