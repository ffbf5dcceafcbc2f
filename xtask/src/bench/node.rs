//! What Node costs: the package next to `@grpc/grpc-js`, which does the same.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::Deserialize;
use tokio::process::Command;

use super::client::{Client, Guest, Load};
use super::contest::contest;
use super::h2load::Calls;
use super::messages::in_language;
use super::plan::{Half, Plan, Side};
use super::process::{Server, output};
use super::row::{Goal, Row, Sample, Spec};
use super::server::drive;
use crate::Outcome;

/// What `scripts/node --build` leaves behind, apart from what it leaves with `--debug`.
const BUILT: &str = "prebuilds/profile";

const SERVERS: [(Spec, u32); 2] = [
    (
        spec(
            "node.server.64",
            "Node server next to grpc-js, 64 B",
            "req/s",
            Goal::ratio_at_least(2.5),
        ),
        64,
    ),
    (
        spec(
            "node.server.1024",
            "Node server next to grpc-js, 1 KiB",
            "req/s",
            Goal::ratio_at_least(1.6),
        ),
        1024,
    ),
];

const CLIENTS: [(Spec, Load); 2] = [
    (
        spec(
            "node.client.64",
            "Node client, 64 in flight, next to grpc-js",
            "calls/s",
            Goal::ratio_at_least(3.5),
        ),
        Load::calls(64, 64),
    ),
    (
        spec(
            "node.client.latency",
            "Node client, one call after another, median, next to grpc-js",
            "us",
            Goal::ratio_at_most(0.8),
        ),
        Load::latency(64),
    ),
];

const STREAM: Spec = spec(
    "node.stream",
    "Node server and client, a stream of 1 KiB messages, next to grpc-js",
    "msg/s",
    Goal::ratio_at_least(3.0),
);

const MESSAGES: Spec = spec(
    "node.messages",
    "durable://, synced, 64 messages in flight, published and taken in Node, next to @nats-io with JetStream, not synced",
    "msg/s",
    Goal::ratio_at_least(1.5),
);

const MEMORY: Spec = spec(
    "node.memory",
    "Resident memory of a Node service after 20 000 calls, next to grpc-js",
    "MB",
    Goal::ratio_at_most(0.6),
);

const STARTUP: Spec = spec(
    "node.startup",
    "From the start of Node to the first served call, over bare Node",
    "ms",
    Goal::at_most(80.0),
);

const fn spec(id: &'static str, title: &'static str, unit: &'static str, goal: Goal) -> Spec {
    Spec { id, title, unit, goal }
}

pub(crate) async fn rows(plan: &Plan) -> Vec<Row> {
    let mut rows = Vec::new();
    let Some(profile) = profile() else {
        println!("SKIPPED node: run scripts/node --build first, for the package and its peer");
        return rows;
    };
    if !plan.is_quick() && profile != "release" {
        println!("SKIPPED node: its package is a debug build, run scripts/node --build first");
        return rows;
    }
    for (spec, size) in &SERVERS {
        rows.extend(serve(plan, spec, *size).await);
    }
    for (spec, load) in &CLIENTS {
        rows.extend(call(plan, spec, load).await);
    }
    rows.extend(stream(plan).await);
    rows.extend(in_language(plan, &MESSAGES, || node(Half::Measured, "messages.mjs")).await);
    rows.extend(memory(plan).await);
    rows.extend(plan.alone(&STARTUP, startup).await);
    rows
}

fn kind(plan: &Plan, side: Side) -> &'static str {
    if plan.is_ours(side) { "micro" } else { "grpc" }
}

/// Both servers under h2load.
async fn serve(plan: &Plan, spec: &Spec, size: u32) -> Option<Row> {
    let enter = async |side| {
        let server = Server::start(server(plan, Half::Measured, side)).await?;
        drive(plan, server, size, &[]).await
    };
    contest(plan, spec, async || Ok((enter(Side::Ours).await?, enter(Side::Peer).await?))).await
}

/// Both clients on the same bare tonic server.
async fn call(plan: &Plan, spec: &Spec, load: &Load) -> Option<Row> {
    contest(plan, spec, async || {
        let server = Rc::new(Server::of(plan, Half::OtherEnd, Side::Peer, &[]).await?);
        let enter = |side| caller(kind(plan, side), &server, load);
        Ok((enter(Side::Ours)?, enter(Side::Peer)?))
    })
    .await
}

/// Each side's client on its own server.
async fn stream(plan: &Plan) -> Option<Row> {
    let enter = async |side| {
        let server = Rc::new(Server::start(server(plan, Half::OtherEnd, side)).await?);
        caller(kind(plan, side), &server, &Load::streams(1, 1024))
    };
    contest(plan, &STREAM, async || Ok((enter(Side::Ours).await?, enter(Side::Peer).await?))).await
}

async fn memory(plan: &Plan) -> Option<Row> {
    const CALLS: u64 = 20_000;
    plan.pair(&MEMORY, async |side| {
        let server = Server::start(server(plan, Half::Measured, side)).await?;
        let calls = if plan.is_quick() { 100 } else { CALLS };
        Calls::new(plan.scratch(), 64, &[]).await?.rate(server.address, calls).await?;
        let value = server.program.resident_megabytes()?;
        server.program.stop().await?;
        Ok(Sample { value, cpu_us: None })
    })
    .await
}

#[derive(Deserialize)]
struct Figure {
    value: f64,
}

async fn startup() -> Outcome<Sample> {
    let printed = output(node(Half::Measured, "startup.mjs")).await?;
    let Figure { value } = serde_json::from_str(&printed)?;
    Ok(Sample { value, cpu_us: None })
}

/// A client of a kind that puts `load` on `server`.
fn caller(kind: &str, server: &Rc<Server>, load: &Load) -> Outcome<Guest> {
    let mut command = node(Half::Measured, "caller.mjs");
    command.arg(kind);
    let client = Client::run(command, server.address, load)?;
    Ok(Guest { client, _server: Rc::clone(server) })
}

/// A server of either side.
fn server(plan: &Plan, half: Half, side: Side) -> Command {
    let mut command = node(half, "greeter.mjs");
    command.arg(kind(plan, side));
    command
}

/// A program in JavaScript, on one half of the cores.
fn node(half: Half, program: &str) -> Command {
    let mut command = half.pin(&Command::new("node"));
    command.arg(binding().join("bench").join(program));
    command
}

/// How `scripts/node` last built the package; nothing where it has not.
fn profile() -> Option<String> {
    let built = std::fs::read_to_string(binding().join(BUILT)).ok()?;
    Some(built.trim().to_owned())
}

fn binding() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../bindings/node")
}
