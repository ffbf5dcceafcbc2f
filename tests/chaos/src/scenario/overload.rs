//! Five times more than a node can do, with the limiter and without.

use std::time::Duration;

use micro::Client;
use tokio::time::Instant;

use super::client::client;
use super::name::Name;
use super::plan::Plan;
use crate::Outcome;
use crate::fleet::{Fleet, Work};
use crate::load::{Load, Offered, Record, answered, causes, peak, percentile};
use crate::node::{POOL, SPIN};
use crate::report::{Goal, Scenario};

/// Time after the flood in which the calm should have come back, and in which it must be there.
const RECOVERY: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(20));
/// Calm that has to last to count.
const CALM: Duration = Duration::from_millis(500);
/// Time over a deadline that is the caller's own.
const SLACK: Duration = Duration::from_secs(2);

/// What one side of the comparison showed.
struct Side {
    peak: f64,
    calm: Vec<Record>,
    flood: Vec<Record>,
    goodput: f64,
    /// Seconds; `None` when calm did not come back.
    recovered: Option<f64>,
    after: Vec<Record>,
}

pub(super) async fn run(name: Name, plan: &Plan) -> Outcome<Scenario> {
    let with = side(name, plan, true).await?;
    // What happens without it is shown, not judged.
    let without = if plan.bounded { None } else { Some(side(name, plan, false).await?) };
    let quiet = !plan.bounded;
    let part = |side: &Side| side.goodput / side.peak;
    let late = |records: &[Record]| {
        records.iter().filter(|record| record.took > timeout(plan) + SLACK).count()
    };
    let all: Vec<Record> =
        [&with.calm, &with.flood, &with.after].into_iter().flatten().cloned().collect();
    let strange = causes(&all)
        .into_iter()
        .filter(|(cause, _)| !cause.contains("shed") && !cause.starts_with("DeadlineExceeded"))
        .map(|(_, count)| count)
        .sum::<u64>();
    let goals = vec![
        Goal::at_least("goodput ÷ peak", part(&with), 0.8).judged(quiet),
        Goal::at_most(
            "seconds until p99 is within twice the calm one and nothing is refused",
            with.recovered.unwrap_or(f64::INFINITY),
            RECOVERY.0.as_secs_f64(),
        )
        .judged(quiet),
        Goal::at_least("recovered at all", f64::from(u8::from(with.recovered.is_some())), 1.0),
        Goal::at_most(
            "failed before the flood",
            (with.calm.len() - answered(&with.calm)) as f64,
            0.0,
        )
        .judged(quiet),
        Goal::at_most("ended more than 2 s late", late(&all) as f64, 0.0),
        Goal::at_most("failed for another reason than shed or late", strange as f64, 0.0),
    ];
    let note = |label: &str, side: &Side| {
        format!(
            "{label}: peak {:.0}/s, goodput at five times the peak {:.0}/s ({:.2} of it), p99 calm {:.1} ms, flooded {:.1} ms",
            side.peak,
            side.goodput,
            part(side),
            percentile(&side.calm, 0.99),
            percentile(&side.flood, 0.99),
        )
    };
    let scenario = Scenario::of(name, &all, goals).note(note("with the limiter", &with));
    Ok(match &without {
        Some(without) => scenario.note(note("without", without)),
        None => scenario,
    })
}

async fn side(name: Name, plan: &Plan, limiter: bool) -> Outcome<Side> {
    let spin = name == Name::Processor;
    let work = Work {
        // A pool small enough that a busy machine keeps up with five times of what it can do.
        takes: if plan.bounded { 100 } else { 10 },
        workers: if plan.bounded { 4 } else { 16 },
        rounds: if plan.bounded { 500_000 } else { 4_000_000 },
        threads: 2,
        limiter,
        links: false,
    };
    let fleet = Fleet::start(1, work.clone()).await?;
    let client = client(&fleet, |client| client.retries(0)).await?;
    let endpoints: &'static [&'static str] = if spin { &[SPIN] } else { &[POOL] };
    let callers = if spin { 2 } else { work.workers * 2 };
    // Of each half: a tenth to find the peak, two for calm, six for the flood.
    let tenth = (plan.time / 20).clamp(Duration::from_millis(700), Duration::from_secs(10));
    let peak = peak(&client, endpoints[0], callers, tenth).await?;
    let offered = |times: f64| Offered { endpoints, rate: peak * times, timeout: timeout(plan) };
    let calm = Load::during(&client, offered(0.5), tenth * 2).await?;
    let span = tenth * if plan.bounded { 3 } else { 6 };
    let flood = Load::during(&client, offered(5.0), span).await?;
    let goodput = answered(&flood) as f64 / span.as_secs_f64();
    let (recovered, after) = if limiter {
        recovery(&client, offered(0.5), percentile(&calm, 0.99)).await?
    } else {
        (None, Vec::new())
    };
    fleet.end().await?;
    Ok(Side { peak, calm, flood, goodput, recovered, after })
}

/// Time until a call's answer is of no use.
fn timeout(plan: &Plan) -> Duration {
    Duration::from_millis(if plan.bounded { 1_000 } else { 250 })
}

/// Seconds until a stretch of calm begins, and the calls until its end.
async fn recovery(
    client: &Client,
    offered: Offered,
    calm: f64,
) -> Outcome<(Option<f64>, Vec<Record>)> {
    let start = Instant::now();
    let mut all = Vec::new();
    while start.elapsed() < RECOVERY.1 {
        let began = start.elapsed();
        let records = Load::during(client, offered, CALM).await?;
        // A millisecond more or less is the machine's.
        let is_calm = answered(&records) == records.len()
            && percentile(&records, 0.99) <= (calm * 2.0).max(calm + 5.0);
        all.extend(records);
        if is_calm {
            return Ok((Some(began.as_secs_f64()), all));
        }
    }
    Ok((None, all))
}
