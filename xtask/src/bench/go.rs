//! What Go costs: the package next to grpc-go and to go-micro v2, which do the same.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::Deserialize;
use tokio::process::Command;

use super::client::{Client, Guest, Load};
use super::contest::contest;
use super::h2load::Calls;
use super::plan::{Half, Plan, Side};
use super::process::{Server, output};
use super::row::{Goal, Row, Sample, Spec};
use super::server::drive;
use crate::Outcome;

/// Who is next to the package.
#[derive(Debug, Clone, Copy)]
enum Peer {
    Grpc,
    GoMicro,
}

const SERVERS: [(Spec, u32, Peer); 3] = [
    (
        spec("go.server.64", "Go server next to grpc-go, 64 B", "req/s", Goal::ratio_at_least(1.2)),
        64,
        Peer::Grpc,
    ),
    (
        spec(
            "go.server.1024",
            "Go server next to grpc-go, 1 KiB",
            "req/s",
            Goal::ratio_at_least(1.2),
        ),
        1024,
        Peer::Grpc,
    ),
    (
        spec(
            "go.server.go-micro",
            "Go server next to go-micro v2, 64 B",
            "req/s",
            Goal::ratio_at_least(2.5),
        ),
        64,
        Peer::GoMicro,
    ),
];

const CLIENTS: [(Spec, Load, Peer); 4] = [
    (
        spec(
            "go.client.64",
            "Go client, 64 in flight, next to grpc-go",
            "calls/s",
            Goal::ratio_at_least(1.2),
        ),
        Load::calls(64, 64),
        Peer::Grpc,
    ),
    (
        spec(
            "go.client.1024",
            "Go client, 64 in flight of 1 KiB, next to grpc-go",
            "calls/s",
            Goal::ratio_at_least(1.2),
        ),
        Load::calls(64, 1024),
        Peer::Grpc,
    ),
    (
        spec(
            "go.client.latency",
            "Go client, one call after another, median, next to grpc-go",
            "us",
            Goal::ratio_at_most(1.1),
        ),
        Load::latency(64),
        Peer::Grpc,
    ),
    (
        spec(
            "go.client.go-micro",
            "Go client, 64 in flight, next to go-micro v2",
            "calls/s",
            Goal::ratio_at_least(2.5),
        ),
        Load::calls(64, 64),
        Peer::GoMicro,
    ),
];

const STREAM: Spec = spec(
    "go.stream",
    "Go server and client, a stream of 1 KiB messages, next to grpc-go",
    "msg/s",
    Goal::ratio_at_least(1.2),
);

const MEMORY: Spec = spec(
    "go.memory",
    "Resident memory of an idle Go service, next to grpc-go",
    "MB",
    Goal::ratio_at_most(1.2),
);

const STARTUP: Spec = spec(
    "go.startup",
    "From the start of a program in Go to the first served call, over a bare one",
    "ms",
    Goal::at_most(30.0),
);

/// One of the figures that a program prints.
type Take = fn(&Border) -> f64;

/// What crossing the border costs, as the program tells it: nothing to be reached, but to be seen.
const BORDER: [(Spec, Take); 3] = [
    (
        spec(
            "go.border.batch",
            "Events that one crossing brings to Go, 64 in flight",
            "",
            Goal::at_most(256.0),
        ),
        |border| border.batch,
    ),
    (
        spec("go.border.crossing", "A crossing from Go to the library", "ns", Goal::at_most(100.0)),
        |border| border.ns,
    ),
    (
        spec(
            "go.border.allocations",
            "Allocations of Go for a call, of client and server together",
            "",
            Goal::at_most(20.0),
        ),
        |border| border.allocs,
    ),
];

const fn spec(id: &'static str, title: &'static str, unit: &'static str, goal: Goal) -> Spec {
    Spec { id, title, unit, goal }
}

/// The programs that are measured.
struct Programs {
    ours: PathBuf,
    go_micro: PathBuf,
}

pub(crate) async fn rows(plan: &Plan, root: &Path) -> Vec<Row> {
    let asked = SERVERS.iter().map(|(spec, ..)| spec.id);
    let asked = asked.chain(CLIENTS.iter().map(|(spec, ..)| spec.id));
    let asked = asked.chain(BORDER.iter().map(|(spec, _)| spec.id));
    let asked = asked.chain([STREAM.id, MEMORY.id, STARTUP.id]);
    let mut rows = Vec::new();
    if !plan.has_ours() || !asked.into_iter().any(|id| plan.is_asked_for(id)) {
        return rows;
    }
    let programs = match build(plan, root).await {
        Ok(programs) => programs,
        Err(error) => {
            println!("SKIPPED go: {error}");
            return rows;
        }
    };
    for (spec, size, peer) in &SERVERS {
        rows.extend(serve(plan, &programs, spec, *size, *peer).await);
    }
    for (spec, load, peer) in &CLIENTS {
        rows.extend(call(plan, &programs, spec, load, *peer).await);
    }
    rows.extend(stream(plan, &programs).await);
    rows.extend(memory(plan, &programs).await);
    rows.extend(plan.alone(&STARTUP, async || startup(&programs).await).await);
    for (spec, figure) in &BORDER {
        rows.extend(plan.alone(spec, async || border(&programs, *figure).await).await);
    }
    rows
}

/// Builds the programs against the library of the profile that is measured.
async fn build(plan: &Plan, root: &Path) -> Outcome<Programs> {
    let programs = Programs {
        ours: plan.scratch().join("go-bench"),
        go_micro: plan.scratch().join("go-micro-bench"),
    };
    let mut ours = Command::new(root.join("scripts/go"));
    ours.arg("-C").arg(root.join("bindings/go/bench")).args(["build", "-o"]);
    ours.arg(&programs.ours).arg(".");
    ours.env("MICRO_PROFILE", if plan.is_quick() { "debug" } else { "release" });
    output(ours).await?;
    let mut peer = Command::new("go");
    peer.current_dir(root.join("tests/bench-peers/go-micro"));
    peer.args(["build", "-o"]).arg(&programs.go_micro).arg(".");
    output(peer).await?;
    Ok(programs)
}

/// A program of either side, which serves or calls.
fn program(
    plan: &Plan,
    programs: &Programs,
    half: Half,
    side: Side,
    peer: Peer,
    what: &str,
) -> Command {
    match (plan.is_ours(side), peer) {
        (false, Peer::GoMicro) => {
            let mut command = half.pin(&Command::new(&programs.go_micro));
            command.arg(what);
            command
        }
        (is_ours, _) => {
            let mut command = half.pin(&Command::new(&programs.ours));
            command.args([what, if is_ours { "micro" } else { "grpc" }]);
            command
        }
    }
}

/// Both servers under h2load.
async fn serve(
    plan: &Plan,
    programs: &Programs,
    spec: &Spec,
    size: u32,
    peer: Peer,
) -> Option<Row> {
    let enter = async |side| {
        let command = program(plan, programs, Half::Measured, side, peer, "serve");
        drive(plan, Server::start(command).await?, size, &[]).await
    };
    contest(plan, spec, async || Ok((enter(Side::Ours).await?, enter(Side::Peer).await?))).await
}

/// Both clients on the same bare tonic server.
async fn call(
    plan: &Plan,
    programs: &Programs,
    spec: &Spec,
    load: &Load,
    peer: Peer,
) -> Option<Row> {
    contest(plan, spec, async || {
        let server = Rc::new(Server::of(plan, Half::OtherEnd, Side::Peer, &[]).await?);
        let enter = |side| caller(plan, programs, &server, side, peer, load);
        Ok((enter(Side::Ours)?, enter(Side::Peer)?))
    })
    .await
}

/// Each side's client on its own server.
async fn stream(plan: &Plan, programs: &Programs) -> Option<Row> {
    let enter = async |side| {
        let command = program(plan, programs, Half::OtherEnd, side, Peer::Grpc, "serve");
        let server = Rc::new(Server::start(command).await?);
        caller(plan, programs, &server, side, Peer::Grpc, &Load::streams(1, 1024))
    };
    contest(plan, &STREAM, async || Ok((enter(Side::Ours).await?, enter(Side::Peer).await?))).await
}

fn caller(
    plan: &Plan,
    programs: &Programs,
    server: &Rc<Server>,
    side: Side,
    peer: Peer,
    load: &Load,
) -> Outcome<Guest> {
    let command = program(plan, programs, Half::Measured, side, peer, "call");
    let client = Client::run(command, server.address, load)?;
    Ok(Guest { client, _server: Rc::clone(server) })
}

/// After one call, so that what is made by the first is there.
async fn memory(plan: &Plan, programs: &Programs) -> Option<Row> {
    plan.pair(&MEMORY, async |side| {
        let command = program(plan, programs, Half::Measured, side, Peer::Grpc, "serve");
        let server = Server::start(command).await?;
        Calls::new(plan.scratch(), 64, &[]).await?.rate(server.address, 100).await?;
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

async fn startup(programs: &Programs) -> Outcome<Sample> {
    let mut command = Half::Measured.pin(&Command::new(&programs.ours));
    command.arg("startup");
    let Figure { value } = serde_json::from_str(&output(command).await?)?;
    Ok(Sample { value, cpu_us: None })
}

#[derive(Deserialize)]
struct Border {
    batch: f64,
    ns: f64,
    allocs: f64,
}

async fn border(programs: &Programs, figure: Take) -> Outcome<Sample> {
    let mut command = Command::new(&programs.ours);
    command.arg("border");
    let border: Border = serde_json::from_str(&output(command).await?)?;
    Ok(Sample { value: figure(&border), cpu_us: None })
}
