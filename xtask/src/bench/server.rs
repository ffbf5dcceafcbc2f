//! Rows 1 and 2: our server next to a bare tonic server, driven by `h2load`.

use super::h2load::Calls;
use super::plan::{Plan, Side};
use super::process::{Server, output};
use super::row::{Goal, Row, Sample, Spec};
use crate::Outcome;

/// What the client of a go-micro fleet sends along with every call.
const GOVERNED: [&str; 4] = [
    "grpc-timeout: 5000000u",
    "micro-trace-id: 4bf92f3577b34da6a3ce929d0e0e4736",
    "micro-span-id: 00f067aa0ba902b7",
    "micro-from-service: bench-client",
];

/// Fewest and most calls of one measurement.
const CALLS: (u64, u64) = (256, 400_000);

/// What differs between the rows.
struct Variant {
    spec: Spec,
    size: usize,
    headers: &'static [&'static str],
    /// Arguments that only our server gets: what there is to switch on.
    arguments: &'static [&'static str],
}

const VARIANTS: [Variant; 4] = [
    Variant {
        spec: Spec {
            id: "server.bare.64",
            title: "Server, bare handler, 64 B echo",
            unit: "req/s",
            goal: Goal::ratio_at_least(0.95),
        },
        size: 64,
        headers: &[],
        arguments: &[],
    },
    Variant {
        spec: Spec {
            id: "server.bare.1024",
            title: "Server, bare handler, 1 KiB echo",
            unit: "req/s",
            goal: Goal::ratio_at_least(0.95),
        },
        size: 1024,
        headers: &[],
        arguments: &[],
    },
    Variant {
        spec: Spec {
            id: "server.full.64",
            title: "Server, registered, deadline, metrics and trace, 64 B echo",
            unit: "req/s",
            goal: Goal::ratio_at_least(0.85),
        },
        size: 64,
        headers: &GOVERNED,
        arguments: &["--full"],
    },
    Variant {
        spec: Spec {
            id: "server.full.1024",
            title: "Server, registered, deadline, metrics and trace, 1 KiB echo",
            unit: "req/s",
            goal: Goal::ratio_at_least(0.85),
        },
        size: 1024,
        headers: &GOVERNED,
        arguments: &["--full"],
    },
];

pub(crate) async fn rows(plan: &Plan) -> Vec<Row> {
    let mut rows = Vec::new();
    for variant in &VARIANTS {
        rows.extend(
            plan.pair(&variant.spec, async |side| measure(plan, variant, side).await).await,
        );
    }
    rows
}

async fn measure(plan: &Plan, variant: &Variant, side: Side) -> Outcome<Sample> {
    let server = start(plan, side, variant.arguments).await?;
    verify(plan, &server, variant.size).await?;
    let calls = Calls::new(plan.scratch(), variant.size, variant.headers)?;
    let address = server.address();
    // The warm-up tells how many calls fill the window.
    let warm = if plan.is_quick() { 256 } else { 20_000 };
    let rate = calls.rate(address, warm).await?;
    let count = ((rate * plan.window().as_secs_f64()) as u64).clamp(CALLS.0, CALLS.1);
    let before = server.processor_time()?;
    let rate = calls.rate(address, count).await?;
    let spent = server.processor_time()? - before;
    server.stop().await?;
    Ok(Sample { value: rate, cpu_us: Some(spent * 1e6 / count as f64) })
}

/// Starts the server of `side`; `arguments` are for ours only, in a noise run for neither.
pub(crate) async fn start(plan: &Plan, side: Side, arguments: &[&str]) -> Outcome<Server> {
    let mut command = plan.side(side, "server");
    command.args(["--workers", &Plan::workers()]);
    if plan.is_ours(side) {
        command.args(arguments);
    }
    Server::start(command).await
}

/// Fails unless a tonic client gets the right answers: h2load cannot read them.
async fn verify(plan: &Plan, server: &Server, size: usize) -> Outcome {
    let mut command = plan.program("tonic-client");
    command.args(["--workers", "1", "--address", &server.address().to_string(), "call"]).args([
        "--size",
        &size.to_string(),
        "--warm",
        "0",
        "--millis",
        "20",
    ]);
    output(command).await.map(drop)
}
