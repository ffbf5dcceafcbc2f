//! One slow node: what it costs callers that look where they go, and callers that do not.

use std::sync::Arc;
use std::time::Duration;

use micro::Client;
use micro::selector::{P2c, RoundRobin};

use super::client::client;
use super::name::Name;
use super::plan::Plan;
use crate::Outcome;
use crate::fleet::{Fleet, Work};
use crate::load::{Load, Offered, Record, answered, percentile};
use crate::node::READ;
use crate::report::{Goal, Scenario};

/// Milliseconds of each node.
const TAKES: [u64; 5] = [2, 2, 100, 2, 2];
/// A call that took as long as this was the slow node's.
const SLOW: Duration = Duration::from_millis(100);

pub(super) async fn run(plan: &Plan) -> Outcome<Scenario> {
    let (rounds, rate) = if plan.bounded { (3, 100.0) } else { (7, 500.0) };
    let fleet = Fleet::start_each(&TAKES, Work { limiter: true, ..Work::default() }).await?;
    let careful = client(&fleet, |client| client.strategy(Arc::new(P2c::new()))).await?;
    let equal = client(&fleet, |client| client.strategy(Arc::new(RoundRobin::new()))).await?;
    let span = (plan.time / (2 * rounds)).clamp(Duration::from_millis(600), Duration::from_secs(5));
    let offered = Offered { endpoints: &[READ], rate, timeout: Duration::from_secs(2) };
    // A node is not known before it was called.
    for client in [&careful, &equal] {
        Load::during(client, offered, Duration::from_millis(500)).await?;
    }
    let (mut ratios, mut all) = (Vec::new(), Vec::new());
    let mut slow = [(0, 0); 2];
    for _ in 0..rounds {
        let mut p99 = [0.0; 2];
        for (side, client) in [&careful, &equal].into_iter().enumerate() {
            let records = round(client, offered, span).await?;
            p99[side] = percentile(&records, 0.99);
            slow[side].0 += records.iter().filter(|record| record.took >= SLOW).count();
            slow[side].1 += records.len();
            all.extend(records);
        }
        ratios.push(p99[0] / p99[1].max(f64::EPSILON));
    }
    fleet.end().await?;
    ratios.sort_by(f64::total_cmp);
    let share = |(slow, all): (usize, usize)| slow as f64 / all.max(1) as f64;
    let failed = (all.len() - answered(&all)) as f64;
    let goals = vec![
        Goal::at_most("p99 of P2C ÷ p99 of round robin, median", ratios[ratios.len() / 2], 0.3)
            .judged(!plan.bounded),
        Goal::at_least(
            "slow calls of round robin ÷ slow calls of P2C",
            share(slow[1]) / share(slow[0]).max(0.001),
            2.0,
        ),
        Goal::at_most("failed", failed, 0.0),
    ];
    let note = format!(
        "slow calls: P2C {:.2} %, round robin {:.2} %; ratios of {rounds} rounds by turns: {}",
        share(slow[0]) * 100.0,
        share(slow[1]) * 100.0,
        ratios.iter().map(|ratio| format!("{ratio:.3}")).collect::<Vec<_>>().join(" "),
    );
    Ok(Scenario::of(Name::Slow, &all, goals).note(note))
}

async fn round(client: &Client, offered: Offered, span: Duration) -> Outcome<Vec<Record>> {
    Load::during(client, offered, span).await
}
