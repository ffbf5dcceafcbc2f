//! Row 6: what a service costs before it does anything.

use super::plan::{Plan, Side};
use super::process::Server;
use super::row::{Goal, Row, Sample, Spec};
use crate::Outcome;

const IDLE: Spec = Spec {
    id: "footprint.idle",
    title: "Resident memory of an idle, registered service",
    unit: "MB",
    goal: Goal::at_most(12.0),
};

const START: Spec = Spec {
    id: "footprint.start",
    title: "Start of the process until the service is registered and answers",
    unit: "ms",
    goal: Goal::at_most(50.0),
};

pub(crate) async fn rows(plan: &Plan) -> Vec<Row> {
    let idle = plan.pair(&IDLE, async |side| {
        let server = start(plan, side).await?;
        let value = server.program.resident_megabytes()?;
        server.program.stop().await?;
        Ok(Sample { value, cpu_us: None })
    });
    let idle = idle.await;
    let started = plan.pair(&START, async |side| {
        let server = start(plan, side).await?;
        let value = server.started_in.as_secs_f64() * 1e3;
        server.program.stop().await?;
        Ok(Sample { value, cpu_us: None })
    });
    idle.into_iter().chain(started.await).collect()
}

/// Starts a server as a user would: everything on, as many workers as cores.
async fn start(plan: &Plan, side: Side) -> Outcome<Server> {
    let mut command = plan.side(side, "server");
    if plan.is_ours(side) {
        command.arg("--full");
    }
    Server::start(command).await
}
