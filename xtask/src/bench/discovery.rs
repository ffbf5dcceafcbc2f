//! Row 5: what it costs to know a fleet, and that it costs the same when the fleet is large.

use serde::Deserialize;

use super::plan::{Plan, Side};
use super::process::output;
use super::row::{Goal, Row, Sample, Spec};
use crate::Outcome;

const PICK: [Spec; 2] = [
    Spec {
        id: "discovery.pick.10",
        title: "Resolve and pick, warm, service of 10 nodes",
        unit: "us",
        goal: Goal::at_most(1.0),
    },
    Spec {
        id: "discovery.pick.10000",
        title: "Resolve and pick, warm, service of 10 000 nodes",
        unit: "us",
        goal: Goal::at_most(1.0),
    },
];

/// Two random nodes out of many are seldom in the processor's cache: flat means no more than that.
const FLAT: Spec = Spec {
    id: "discovery.flat",
    title: "Resolve and pick, 10 000 nodes next to 10",
    unit: "us",
    goal: Goal::ratio_at_most(2.0),
};

const MEMORY: Spec = Spec {
    id: "discovery.memory",
    title: "Resident memory of a cache of 10 000 services with 10 nodes each",
    unit: "MB",
    goal: Goal::at_most(200.0),
};

const CHANGE: Spec = Spec {
    id: "discovery.change",
    title: "One node's change until the cache shows it, 10 000 services next to 10",
    unit: "us",
    goal: Goal::ratio_at_most(2.0),
};

const COPIED: Spec = Spec {
    id: "discovery.copied",
    title: "Bytes allocated for one node's change, 10 000 services next to 10",
    unit: "B",
    goal: Goal::ratio_at_most(1.5),
};

const FEW: usize = 10;
const MANY: usize = 10_000;

#[derive(Deserialize)]
struct Pick {
    pick_us: f64,
}

#[derive(Deserialize)]
struct Fleet {
    resident_megabytes: f64,
    change_us: f64,
    change_bytes: f64,
}

pub(crate) async fn rows(plan: &Plan) -> Vec<Row> {
    if !plan.has_ours() {
        return Vec::new();
    }
    let mut rows = Vec::new();
    for (spec, nodes) in PICK.iter().zip([FEW, MANY]) {
        rows.extend(plan.alone(spec, async || Ok(sample(pick(plan, nodes).await?))).await);
    }
    rows.extend(plan.pair(&FLAT, async |side| Ok(sample(pick(plan, size(side)).await?))).await);
    let memory =
        plan.alone(&MEMORY, async || Ok(sample(fleet(plan, MANY).await?.resident_megabytes)));
    rows.extend(memory.await);
    let change =
        plan.pair(&CHANGE, async |side| Ok(sample(fleet(plan, size(side)).await?.change_us)));
    rows.extend(change.await);
    let copied =
        plan.pair(&COPIED, async |side| Ok(sample(fleet(plan, size(side)).await?.change_bytes)));
    rows.extend(copied.await);
    rows
}

/// The peer of a large fleet is a small one.
fn size(side: Side) -> usize {
    match side {
        Side::Ours => MANY,
        Side::Peer => FEW,
    }
}

fn sample(value: f64) -> Sample {
    Sample { value, cpu_us: None }
}

async fn pick(plan: &Plan, nodes: usize) -> Outcome<f64> {
    let count = if plan.is_quick() { 100 } else { 10_000 };
    let mut command = plan.program("discovery");
    command.args(["--workers", "1", "pick"]);
    command.args(["--nodes", &nodes.to_string(), "--count", &count.to_string()]);
    Ok(serde_json::from_str::<Pick>(&output(command).await?)?.pick_us)
}

async fn fleet(plan: &Plan, services: usize) -> Outcome<Fleet> {
    let mut command = plan.program("discovery");
    command.args(["--workers", "1", "fleet", "--services", &services.to_string()]);
    Ok(serde_json::from_str(&output(command).await?)?)
}
