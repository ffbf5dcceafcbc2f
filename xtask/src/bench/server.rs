//! Rows 1 and 2: our server next to a bare tonic server, driven by `h2load`.

use std::time::Duration;

use super::client::{Client, Load};
use super::contest::{Contender, Slice, contest};
use super::h2load::Calls;
use super::plan::{Half, Plan, Side};
use super::process::Server;
use super::row::{Goal, Row, Spec};
use crate::Outcome;

/// What the client of a go-micro fleet sends along with every call.
const GOVERNED: [&str; 4] = [
    "grpc-timeout: 5000000u",
    "micro-trace-id: 4bf92f3577b34da6a3ce929d0e0e4736",
    "micro-span-id: 00f067aa0ba902b7",
    "micro-from-service: bench-client",
];

/// Fewest and most calls of one slice.
const CALLS: (u64, u64) = (256, 100_000);

/// What differs between the rows.
struct Variant {
    spec: Spec,
    size: u32,
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

/// A server under h2load.
pub(crate) struct Driven<'a> {
    server: Server,
    calls: Calls<'a>,
    /// Calls per second of the last slice: tells how many calls fill the next one.
    rate: f64,
}

impl Contender for Driven<'_> {
    async fn slice(&mut self, length: Duration) -> Outcome<Slice> {
        let completed = ((self.rate * length.as_secs_f64()) as u64).clamp(CALLS.0, CALLS.1);
        self.rate = self.calls.rate(self.server.address, completed).await?;
        Ok(Slice { completed, value: self.rate })
    }

    fn processor_time(&self) -> Outcome<f64> {
        self.server.program.processor_time()
    }
}

pub(crate) async fn rows(plan: &Plan) -> Vec<Row> {
    let mut rows = Vec::new();
    for variant in &VARIANTS {
        let enter = async || {
            Ok((enter(plan, variant, Side::Ours).await?, enter(plan, variant, Side::Peer).await?))
        };
        rows.extend(contest(plan, &variant.spec, enter).await);
    }
    rows
}

async fn enter<'a>(plan: &Plan, variant: &'a Variant, side: Side) -> Outcome<Driven<'a>> {
    let server = Server::of(plan, Half::Measured, side, variant.arguments).await?;
    drive(plan, server, variant.size, variant.headers).await
}

/// Puts `server` under h2load, once it has shown that it answers what it is asked.
pub(crate) async fn drive<'a>(
    plan: &Plan,
    server: Server,
    size: u32,
    headers: &'a [&'static str],
) -> Outcome<Driven<'a>> {
    // h2load cannot read the replies: a tonic client compares some of them first.
    let load = Load::calls(1, size);
    let mut reader = Client::start(plan, Half::OtherEnd, Side::Peer, server.address, &load)?;
    reader.slice(Duration::from_millis(10)).await?;
    let calls = Calls::new(plan.scratch(), size, headers).await?;
    Ok(Driven { server, calls, rate: 0.0 })
}
