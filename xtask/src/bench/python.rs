//! What Python costs: the package next to grpcio, which does the same.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::Deserialize;
use tokio::process::Command;

use super::client::{Client, Guest, Load};
use super::contest::contest;
use super::messages::in_language;
use super::plan::{Half, Plan, Side};
use super::process::{Server, output};
use super::row::{Goal, Row, Sample, Spec};
use super::server::drive;
use super::servers::cache;
use crate::Outcome;

/// A server of ours and grpcio's, which of their kinds, on which event loop, under which load.
struct Serving {
    spec: Spec,
    kinds: (&'static str, &'static str),
    event_loop: &'static str,
    size: u32,
}

const SERVERS: [Serving; 6] = [
    plain(
        "python.server.asyncio.64",
        "Python server next to grpc.aio, 64 B, asyncio",
        "asyncio",
        64,
    ),
    plain(
        "python.server.asyncio.1024",
        "Python server next to grpc.aio, 1 KiB, asyncio",
        "asyncio",
        1024,
    ),
    plain("python.server.uvloop.64", "Python server next to grpc.aio, 64 B, uvloop", "uvloop", 64),
    plain(
        "python.server.uvloop.1024",
        "Python server next to grpc.aio, 1 KiB, uvloop",
        "uvloop",
        1024,
    ),
    Serving {
        kinds: ("micro-wait", "aio-wait"),
        ..serving(
            "python.server.suspends",
            "Python server whose handler waits for the loop, next to grpc.aio",
            5.0,
        )
    },
    Serving {
        kinds: ("micro-thread", "thread"),
        ..serving(
            "python.server.threads",
            "Python server with handlers on threads, next to grpcio's",
            3.0,
        )
    },
];

const fn plain(
    id: &'static str,
    title: &'static str,
    event_loop: &'static str,
    size: u32,
) -> Serving {
    Serving { event_loop, size, ..serving(id, title, 8.0) }
}

const fn serving(id: &'static str, title: &'static str, least: f64) -> Serving {
    let spec = spec(id, title, "req/s", Goal::ratio_at_least(least));
    Serving { spec, kinds: ("micro", "aio"), event_loop: "asyncio", size: 64 }
}

/// A client of ours, which of its kinds, and its load.
const CLIENTS: [(Spec, &str, Load); 3] = [
    (
        spec(
            "python.client.64",
            "Python client, 64 in flight, next to grpc.aio",
            "calls/s",
            Goal::ratio_at_least(3.0),
        ),
        "micro",
        Load::calls(64, 64),
    ),
    (
        spec(
            "python.client.latency",
            "Python client, one call after another, median, next to grpc.aio",
            "us",
            Goal::ratio_at_most(0.7),
        ),
        "micro",
        Load::latency(64),
    ),
    (
        spec(
            "python.stub",
            "grpcio's stub over our channel, 64 in flight, next to grpc.aio's channel",
            "calls/s",
            Goal::ratio_at_least(2.0),
        ),
        "stub",
        Load::calls(64, 64),
    ),
];

const STREAM: Spec = spec(
    "python.stream",
    "Python server and client, a stream of 1 KiB messages, next to grpc.aio",
    "msg/s",
    Goal::ratio_at_least(5.0),
);

const MESSAGES: Spec = spec(
    "python.messages",
    "durable://, synced, 64 messages in flight, published and taken in Python, next to nats-py with JetStream, not synced",
    "msg/s",
    Goal::ratio_at_least(2.0),
);

const MEMORY: Spec = spec(
    "python.memory",
    "Resident memory of an idle Python service, next to grpc.aio",
    "MB",
    Goal::ratio_at_most(0.8),
);

const IMPORT: Spec =
    spec("python.import", "`import micro` over a bare interpreter", "ms", Goal::at_most(30.0));

const fn spec(id: &'static str, title: &'static str, unit: &'static str, goal: Goal) -> Spec {
    Spec { id, title, unit, goal }
}

pub(crate) async fn rows(plan: &Plan) -> Vec<Row> {
    let mut rows = Vec::new();
    if !interpreter().exists() {
        println!("SKIPPED python: run scripts/python --build first, for the package and its peers");
        return rows;
    }
    if !plan.is_quick() && !is_release() {
        println!("SKIPPED python: its package is a debug build, run scripts/python --build first");
        return rows;
    }
    for serving in &SERVERS {
        rows.extend(serve(plan, serving).await);
    }
    for (spec, kind, load) in &CLIENTS {
        rows.extend(call(plan, spec, kind, load).await);
    }
    rows.extend(stream(plan).await);
    rows.extend(in_language(plan, &MESSAGES, || python(Half::Measured, "messages.py")).await);
    rows.extend(memory(plan).await);
    rows.extend(plan.alone(&IMPORT, imports).await);
    rows
}

/// Both servers under h2load.
async fn serve(plan: &Plan, serving: &Serving) -> Option<Row> {
    let Serving { spec, kinds, event_loop, size } = serving;
    let enter = async |side| {
        let mut command = python(Half::Measured, "greeter.py");
        command.arg(if plan.is_ours(side) { kinds.0 } else { kinds.1 }).arg(event_loop);
        drive(plan, Server::start(command).await?, *size, &[]).await
    };
    contest(plan, spec, async || Ok((enter(Side::Ours).await?, enter(Side::Peer).await?))).await
}

/// Both clients on the same bare tonic server.
async fn call(plan: &Plan, spec: &Spec, kind: &str, load: &Load) -> Option<Row> {
    contest(plan, spec, async || {
        let server = Rc::new(Server::of(plan, Half::OtherEnd, Side::Peer, &[]).await?);
        let enter = |side| caller(if plan.is_ours(side) { kind } else { "aio" }, &server, load);
        Ok((enter(Side::Ours)?, enter(Side::Peer)?))
    })
    .await
}

/// Each side's client on its own server.
async fn stream(plan: &Plan) -> Option<Row> {
    let enter = async |side| {
        let server = Rc::new(Server::start(idle(plan, Half::OtherEnd, side)).await?);
        let kind = if plan.is_ours(side) { "micro" } else { "aio" };
        caller(kind, &server, &Load::streams(1, 1024))
    };
    contest(plan, &STREAM, async || Ok((enter(Side::Ours).await?, enter(Side::Peer).await?))).await
}

async fn memory(plan: &Plan) -> Option<Row> {
    plan.pair(&MEMORY, async |side| {
        let server = Server::start(idle(plan, Half::Measured, side)).await?;
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

async fn imports() -> Outcome<Sample> {
    let printed = output(python(Half::Measured, "imports.py")).await?;
    let Figure { value } = serde_json::from_str(&printed)?;
    Ok(Sample { value, cpu_us: None })
}

/// A client of a kind that puts `load` on `server`.
fn caller(kind: &str, server: &Rc<Server>, load: &Load) -> Outcome<Guest> {
    let mut command = python(Half::Measured, "caller.py");
    command.arg(kind);
    let client = Client::run(command, server.address, load)?;
    Ok(Guest { client, _server: Rc::clone(server) })
}

/// A plain server of either side.
fn idle(plan: &Plan, half: Half, side: Side) -> Command {
    let mut command = python(half, "greeter.py");
    command.arg(if plan.is_ours(side) { "micro" } else { "aio" });
    command
}

/// A program in Python, on one half of the cores.
fn python(half: Half, program: &str) -> Command {
    let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bindings/python/bench");
    let mut command = half.pin(&Command::new(interpreter()));
    command.arg(programs.join(program));
    command
}

/// Whether `scripts/python` last built the package as it is released.
fn is_release() -> bool {
    let profile = interpreter().parent().and_then(Path::parent).map(|home| home.join("profile"));
    profile
        .and_then(|path| std::fs::read_to_string(path).ok())
        .is_some_and(|built| built.trim() == "release")
}

/// The one that `scripts/python` makes.
fn interpreter() -> PathBuf {
    cache().join("python/bin/python")
}
