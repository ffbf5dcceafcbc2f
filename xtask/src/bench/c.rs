//! Programs in C over the library, next to bare tonic; and what crossing the border costs by itself.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::Deserialize;
use tokio::process::Command;

use super::client::{Client, Guest, Load};
use super::contest::contest;
use super::library::install;
use super::plan::{Half, Plan, Side};
use super::process::{Program, Server};
use super::row::{Goal, Row, Sample, Spec};
use super::server::drive;
use crate::Outcome;

/// Sizes of messages, with the rows of the server and of the client.
const SIZES: [(u32, Spec, Spec); 2] = [
    (
        64,
        spec("c.server.64", "Server in C, 64 B echo", "req/s", Goal::ratio_at_least(0.9)),
        spec("c.client.64", "Client in C, 64 calls of 64 B", "req/s", Goal::ratio_at_least(0.9)),
    ),
    (
        1024,
        spec("c.server.1024", "Server in C, 1 KiB echo", "req/s", Goal::ratio_at_least(0.9)),
        spec("c.client.1024", "Client in C, 64 calls of 1 KiB", "req/s", Goal::ratio_at_least(0.9)),
    ),
];

/// Operations in flight, with the rows of their cost and of their wakes. The bounds of the cost are 1.3 times what an engine
/// of this design measured in C; how often a host is woken is reported against once for each.
const DEPTHS: [(u32, Spec, Spec); 3] = [
    (
        1,
        spec("border.echo.1", "Crossing the border, 1 in flight", "us", Goal::at_most(57.0)),
        spec("border.wakes.1", "Waits for each of these", "", Goal::at_most(1.1)),
    ),
    (
        32,
        spec("border.echo.32", "Crossing the border, 32 in flight", "us", Goal::at_most(1.5)),
        spec("border.wakes.32", "Waits for each of these", "", Goal::at_most(1.0)),
    ),
    (
        1000,
        spec("border.echo.1000", "Crossing the border, 1 000 in flight", "us", Goal::at_most(0.8)),
        spec("border.wakes.1000", "Waits for each of these", "", Goal::at_most(0.1)),
    ),
];

/// What a question costs next to a typed operation that comes back at once with about as many bytes: neither has a network, so
/// what differs is the way over the border, the reading of arguments, the deadline, and the writing of the answer.
const ASK: Spec = spec(
    "border.ask.32",
    "A question next to a typed operation of its size, 32 in flight",
    "times",
    Goal::at_most(1.5),
);

const fn spec(id: &'static str, title: &'static str, unit: &'static str, goal: Goal) -> Spec {
    Spec { id, title, unit, goal }
}

pub(crate) async fn rows(plan: &Plan, root: &Path) -> Vec<Row> {
    let asked = SIZES.iter().flat_map(|(_, server, client)| [server.id, client.id]);
    let asked = asked.chain(DEPTHS.iter().flat_map(|(_, cost, wakes)| [cost.id, wakes.id]));
    let asked = asked.chain([ASK.id]);
    if !plan.has_ours() || !asked.into_iter().any(|id| plan.is_asked_for(id)) {
        return Vec::new();
    }
    let programs = install(plan, root).await.map_err(|error| error.to_string());
    let mut rows = Vec::new();
    for (size, server, client) in &SIZES {
        rows.extend(serve(plan, server, *size, &programs).await);
        rows.extend(call(plan, client, *size, &programs).await);
    }
    for (depth, cost, wakes) in &DEPTHS {
        rows.extend(echo(plan, cost, *depth, &programs, |figures| figures.us).await);
        rows.extend(echo(plan, wakes, *depth, &programs, |figures| figures.wakes).await);
    }
    rows.extend(ask(plan, &programs).await);
    rows
}

/// What the program of questions reports: microseconds for each.
#[derive(Deserialize)]
struct Cost {
    asked: f64,
    typed: f64,
}

async fn ask(plan: &Plan, programs: &Result<PathBuf, String>) -> Option<Row> {
    plan.alone(&ASK, async || {
        let mut command = Command::new(programs.clone()?.join("ask"));
        command.args(["--workers", "1", "--concurrency", "32"]);
        let mut program = Program::start(command)?;
        let length = (plan.slice() * 4).as_millis().to_string();
        program.ask(&length).await?;
        let cost: Cost = serde_json::from_str(&program.ask(&length).await?)?;
        program.stop().await?;
        Ok(Sample { value: cost.asked / cost.typed, cpu_us: None })
    })
    .await
}

/// One of the programs on the measured half of the cores.
fn program(programs: &Result<PathBuf, String>, name: &str) -> Outcome<Command> {
    Ok(Half::Measured.run(&Command::new(programs.clone()?.join(name))))
}

/// The server in C and tonic's under h2load.
async fn serve(
    plan: &Plan,
    spec: &Spec,
    size: u32,
    programs: &Result<PathBuf, String>,
) -> Option<Row> {
    contest(plan, spec, async || {
        let ours = Server::start(program(programs, "server")?).await?;
        let peer = Server::of(plan, Half::Measured, Side::Peer, &[]).await?;
        Ok((drive(plan, ours, size, &[]).await?, drive(plan, peer, size, &[]).await?))
    })
    .await
}

/// The client in C and tonic's on the same tonic server.
async fn call(
    plan: &Plan,
    spec: &Spec,
    size: u32,
    programs: &Result<PathBuf, String>,
) -> Option<Row> {
    contest(plan, spec, async || {
        let load = Load::calls(64, size);
        let server = Rc::new(Server::of(plan, Half::OtherEnd, Side::Peer, &[]).await?);
        let ours = Client::run(program(programs, "client")?, server.address, &load)?;
        let peer = Client::start(plan, Half::Measured, Side::Peer, server.address, &load)?;
        let guest = |client| Guest { client, _server: Rc::clone(&server) };
        Ok((guest(ours), guest(peer)))
    })
    .await
}

/// What the echo program reports.
#[derive(Deserialize)]
struct Figures {
    us: f64,
    wakes: f64,
}

async fn echo(
    plan: &Plan,
    spec: &Spec,
    depth: u32,
    programs: &Result<PathBuf, String>,
    figure: fn(&Figures) -> f64,
) -> Option<Row> {
    plan.alone(spec, async || {
        // Not pinned: a host and the library's threads have a core each.
        let mut command = Command::new(programs.clone()?.join("echo"));
        command.args(["--workers", "1", "--concurrency", &depth.to_string()]);
        let mut program = Program::start(command)?;
        let length = (plan.slice() * 4).as_millis().to_string();
        program.ask(&length).await?;
        let figures: Figures = serde_json::from_str(&program.ask(&length).await?)?;
        program.stop().await?;
        Ok(Sample { value: figure(&figures), cpu_us: None })
    })
    .await
}
