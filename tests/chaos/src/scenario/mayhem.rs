//! Everything at once. What is asked then is not that nothing fails, but that nothing fails without
//! a reason, nothing hangs, and nothing is left behind.

use std::net::SocketAddr;
use std::time::Duration;

use fastrand::Rng;
use tokio::time::{Instant, sleep};

use super::client::client;
use super::name::Name;
use super::plan::Plan;
use crate::Outcome;
use crate::fleet::{Fleet, Usage, Work};
use crate::link::Weather;
use crate::load::{Load, Offered, Record};
use crate::node::{READ, WRITE};
use crate::report::{Goal, Scenario};

const NODES: usize = 4;
const TIMEOUT: Duration = Duration::from_secs(2);
/// Time over a deadline that a busy machine may take to say so.
const SLACK: Duration = Duration::from_secs(1);
/// How long a fault is felt after it is over: calls that met it have ended by then.
const AFTERMATH: Duration = Duration::from_secs(4);
/// Time after the last fault in which the fleet has to be as before.
const RECOVERY: Duration = Duration::from_secs(6);
/// Pause after which a connection is probed, and time its node has to answer.
const PROBE: Duration = Duration::from_millis(400);
/// What may be held beyond what was held before: MiB, and files.
const LEAK: (f64, usize) = (96.0, 64);

#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    Kill,
    Pause,
    Slow,
    Lossy,
    Restart,
}

/// A fault that was.
#[derive(Debug)]
struct Past {
    fault: Fault,
    node: SocketAddr,
    from: Instant,
    until: Instant,
}

impl Past {
    /// A call that ended in failure met this fault.
    fn explains(&self, record: &Record) -> bool {
        let Some(failure) = &record.failure else { return true };
        // Where no node is named, none could be picked or answer in time: any fault explains that.
        let there = failure.node.is_empty() || failure.node.contains(&self.node.to_string());
        there && record.due + record.took >= self.from && record.due <= self.until + AFTERMATH
    }
}

pub(super) async fn run(plan: &Plan) -> Outcome<Scenario> {
    let mut random = Rng::with_seed(plan.seed);
    let rate = if plan.bounded { 100.0 } else { 400.0 };
    let work = Work { takes: 2, limiter: true, links: true, ..Work::default() };
    let mut fleet = Fleet::start(NODES, work).await?;
    let client = client(&fleet, |client| client.keepalive(PROBE).keepalive_timeout(PROBE)).await?;
    let offered = Offered { endpoints: &[READ, WRITE], rate, timeout: TIMEOUT };
    Load::during(&client, offered, Duration::from_secs(1)).await?;
    let before = usages(&fleet)?;

    let load = Load::start(&client, offered);
    let storm = plan.time.saturating_sub(RECOVERY).max(Duration::from_secs(6));
    let mut past = Vec::new();
    let end = Instant::now() + storm;
    while Instant::now() < end {
        past.push(strike(&mut fleet, &mut random).await?);
        sleep(Duration::from_millis(random.u64(50..500))).await;
    }
    let last = past.iter().map(|past| past.until).max().unwrap_or(end);
    sleep(RECOVERY).await;
    let records = load.stop().await?;
    let quiet = Load::during(&client, offered, Duration::from_secs(1)).await?;
    let after = usages(&fleet)?;
    fleet.end().await?;

    let count =
        |wrong: &dyn Fn(&Record) -> bool| records.iter().filter(|r| wrong(r)).count() as f64;
    let unexplained =
        |record: &Record| record.failure.is_some() && !past.iter().any(|p| p.explains(record));
    let strange = |record: &Record| {
        let expected = ["Unavailable", "DeadlineExceeded", "ResourceExhausted: shed"];
        record.failure.as_ref().is_some_and(|failure| {
            let cause = failure.cause();
            !expected.iter().any(|expected| cause.starts_with(expected))
        })
    };
    let unhealed = |record: &Record| record.failure.is_some() && record.due > last + AFTERMATH;
    let leaked = before.iter().zip(&after).filter(|(before, after)| {
        after.memory > before.memory + LEAK.0 || after.files > before.files + LEAK.1
    });
    let goals = vec![
        Goal::at_least("faults", past.len() as f64, 3.0),
        Goal::at_most(
            "ended more than 1 s after their deadline",
            count(&|r| r.took > TIMEOUT + SLACK),
            0.0,
        ),
        Goal::at_most("failed at a node without a fault", count(&unexplained), 0.0),
        Goal::at_most("failed with a code no fault explains", count(&strange), 0.0),
        Goal::at_most("failed later than 4 s after the last fault", count(&unhealed), 0.0),
        Goal::at_most(
            "failed at the end",
            quiet.iter().filter(|r| r.failure.is_some()).count() as f64,
            0.0,
        ),
        Goal::at_most(
            "processes that hold more memory or files than before",
            leaked.count() as f64,
            0.0,
        ),
    ];
    let of = |fault| past.iter().filter(|past| past.fault == fault).count();
    let failed = |endpoint| count(&|r: &Record| r.endpoint == endpoint && r.failure.is_some());
    let mut scenario = Scenario::of(Name::Mayhem, &records, goals)
        .note(format!(
            "{} kills, {} pauses, {} slow links, {} lossy links, {} restarts",
            of(Fault::Kill),
            of(Fault::Pause),
            of(Fault::Slow),
            of(Fault::Lossy),
            of(Fault::Restart)
        ))
        .note(format!("failed: idempotent {}, not idempotent {}", failed(READ), failed(WRITE)));
    for record in records.iter().filter(|r| unexplained(r) || strange(r) || unhealed(r)).take(5) {
        scenario = scenario.note(format!("for example {record:?}"));
    }
    Ok(scenario)
}

/// Breaks one node in one way, for a while.
async fn strike(fleet: &mut Fleet, random: &mut Rng) -> Outcome<Past> {
    let faults = [Fault::Kill, Fault::Pause, Fault::Slow, Fault::Lossy, Fault::Restart];
    let fault = faults[random.usize(..faults.len())];
    let node = random.usize(..NODES);
    let from = Instant::now();
    let lasts = Duration::from_millis(random.u64(200..2_500));
    match fault {
        Fault::Kill => {
            fleet.kill(node).await?;
            sleep(lasts / 4).await;
            fleet.up(node).await?;
        }
        Fault::Pause => {
            fleet.pause(node).await?;
            sleep(lasts).await;
            fleet.resume(node).await?;
        }
        Fault::Slow => {
            let delay = Duration::from_millis(random.u64(20..150));
            fleet.weather(node, Weather { delay, loss: 0.0 });
            sleep(lasts).await;
            fleet.weather(node, Weather::default());
        }
        Fault::Lossy => {
            let loss = 0.01 + 0.1 * random.f64();
            fleet.weather(node, Weather { delay: Duration::from_millis(1), loss });
            sleep(lasts).await;
            fleet.weather(node, Weather::default());
        }
        Fault::Restart => {
            fleet.down(node).await?;
            fleet.up(node).await?;
        }
    }
    Ok(Past { fault, node: fleet.nodes[node].address, from, until: Instant::now() })
}

/// What the callers' process and every node hold.
fn usages(fleet: &Fleet) -> Outcome<Vec<Usage>> {
    let mut usages = vec![Usage::of("self")?];
    for node in 0..NODES {
        usages.push(fleet.usage(node)?);
    }
    Ok(usages)
}
