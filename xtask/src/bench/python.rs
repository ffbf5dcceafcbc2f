//! What Python costs: the package next to grpcio, which does the same.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use tokio::process::Command;

use super::plan::{Plan, Side};
use super::process::output;
use super::row::{Goal, Row, Sample, Spec};
use crate::Outcome;

const ROWS: [Spec; 11] = [
    Spec {
        id: "python.server.asyncio.64",
        title: "Python server next to grpc.aio, 64 B, asyncio",
        unit: "req/s",
        goal: Goal::ratio_at_least(8.0),
    },
    Spec {
        id: "python.server.asyncio.1024",
        title: "Python server next to grpc.aio, 1 KiB, asyncio",
        unit: "req/s",
        goal: Goal::ratio_at_least(8.0),
    },
    Spec {
        id: "python.server.uvloop.64",
        title: "Python server next to grpc.aio, 64 B, uvloop",
        unit: "req/s",
        goal: Goal::ratio_at_least(8.0),
    },
    Spec {
        id: "python.server.uvloop.1024",
        title: "Python server next to grpc.aio, 1 KiB, uvloop",
        unit: "req/s",
        goal: Goal::ratio_at_least(8.0),
    },
    Spec {
        id: "python.server.suspends",
        title: "Python server whose handler waits for the loop, next to grpc.aio",
        unit: "req/s",
        goal: Goal::ratio_at_least(5.0),
    },
    Spec {
        id: "python.server.threads",
        title: "Python server with handlers on threads, next to grpcio's",
        unit: "req/s",
        goal: Goal::ratio_at_least(3.0),
    },
    Spec {
        id: "python.client.64",
        title: "Python client, 64 in flight, next to grpc.aio",
        unit: "calls/s",
        goal: Goal::ratio_at_least(3.0),
    },
    Spec {
        id: "python.client.latency",
        title: "Python client, one call after another, median, next to grpc.aio",
        unit: "us",
        goal: Goal::ratio_at_most(0.7),
    },
    Spec {
        id: "python.stream",
        title: "Python server and client, a stream of 1 KiB messages, next to grpc.aio",
        unit: "msg/s",
        goal: Goal::ratio_at_least(5.0),
    },
    Spec {
        id: "python.memory",
        title: "Resident memory of an idle Python service, next to grpc.aio",
        unit: "MB",
        goal: Goal::ratio_at_most(0.8),
    },
    Spec {
        id: "python.import",
        title: "`import micro` over a bare interpreter",
        unit: "ms",
        goal: Goal::at_most(30.0),
    },
];

#[derive(Deserialize)]
struct Figure {
    value: f64,
}

pub(crate) async fn rows(plan: &Plan) -> Vec<Row> {
    let mut rows = Vec::new();
    if !interpreter().exists() {
        println!("SKIPPED python: run scripts/python --build first, for the package and its peers");
        return rows;
    }
    for spec in &ROWS {
        rows.extend(if spec.id == "python.import" {
            plan.alone(spec, async || measured(plan, spec, Side::Ours).await).await
        } else {
            plan.pair(spec, async |side| measured(plan, spec, side).await).await
        });
    }
    rows
}

async fn measured(plan: &Plan, spec: &Spec, side: Side) -> Outcome<Sample> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bindings/python/bench/bench.py");
    let mut command = Command::new(interpreter());
    command.arg(program).arg(spec.id);
    command.arg(if side == Side::Ours { "ours" } else { "peer" });
    command.arg(if plan.is_quick() { "1" } else { "3" });
    let Figure { value } = serde_json::from_str(&output(command).await?)?;
    Ok(Sample { value, cpu_us: None })
}

/// The one that `scripts/python` makes.
fn interpreter() -> PathBuf {
    let cache = std::env::var_os("MICRO_CACHE").map(PathBuf::from).or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
        Some(cache?.join("micro"))
    });
    cache.unwrap_or_default().join("python/bin/python")
}
