//! Row 3: our client, with discovery, balancing and deadlines, next to a bare tonic client.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use serde::Deserialize;
use tokio::process::Command;

use super::contest::{Contender, Slice, contest};
use super::plan::{Half, Plan, Side};
use super::process::{Program, Server};
use super::row::{Goal, Row, Spec};
use crate::Outcome;

const LATENCY: Spec = Spec {
    id: "client.latency",
    title: "Client, median latency, one call at a time",
    unit: "us",
    goal: Goal::adds_at_most(10.0),
};

const THROUGHPUT: Spec = Spec {
    id: "client.throughput",
    title: "Client, 64 calls in flight, to a node that may be go-micro's",
    unit: "req/s",
    goal: Goal::ratio_at_least(0.95),
};

const FLEET: Spec = Spec {
    id: "client.fleet",
    title: "Client, 64 calls in flight, to a node that reads the compact headers",
    unit: "req/s",
    goal: Goal::ratio_at_least(1.0),
};

/// What a client does all the time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    shape: &'static str,
    /// What of its figures is compared.
    figure: fn(&Figures) -> f64,
    concurrency: u32,
    size: u32,
    /// Arguments of our program alone.
    ours: &'static [&'static str],
}

impl Load {
    /// Unary calls, compared by how many a second.
    pub(crate) const fn calls(concurrency: u32, size: u32) -> Self {
        Self { shape: "call", figure: |figures| figures.rate, concurrency, size, ours: &[] }
    }

    /// One unary call after the other, compared by the median of their durations.
    pub(crate) const fn latency(size: u32) -> Self {
        Self { shape: "call", figure: |figures| figures.p50_us, concurrency: 1, size, ours: &[] }
    }

    /// The same to a node that the registry shows to be this framework's.
    const fn in_fleet(self) -> Self {
        self.with(&["--compact"])
    }

    /// The same with arguments that our program alone gets.
    pub(crate) const fn with(self, ours: &'static [&'static str]) -> Self {
        Self { ours, ..self }
    }

    /// Server streams, compared by messages a second.
    pub(crate) const fn streams(concurrency: u32, size: u32) -> Self {
        Self { shape: "stream", figure: |figures| figures.rate, concurrency, size, ours: &[] }
    }
}

/// What a client program reports of one window.
#[derive(Debug, Deserialize)]
pub(crate) struct Figures {
    pub(crate) completed: u64,
    rate: f64,
    pub(crate) p50_us: f64,
}

/// A client program of either side; it compares every reply with what it asked for.
pub(crate) struct Client {
    program: Program,
    figure: fn(&Figures) -> f64,
}

impl Client {
    pub(crate) fn start(
        plan: &Plan,
        half: Half,
        side: Side,
        server: SocketAddr,
        load: &Load,
    ) -> Outcome<Self> {
        let mut command = plan.side_on(half, side, "client");
        if let Side::Ours = side {
            command.args(load.ours);
        }
        Self::run(command, server, load)
    }

    /// Has `command`, a client program, put `load` on `server`.
    pub(crate) fn run(mut command: Command, server: SocketAddr, load: &Load) -> Outcome<Self> {
        command.args(["--address", &server.to_string()]);
        Self::loaded(command, load)
    }

    /// Has `command`, a client program that knows its server, put `load` on it.
    pub(crate) fn loaded(mut command: Command, load: &Load) -> Outcome<Self> {
        command
            .arg(load.shape)
            .args(["--concurrency", &load.concurrency.to_string()])
            .args(["--size", &load.size.to_string()]);
        Ok(Self { program: Program::start(command)?, figure: load.figure })
    }
}

impl Contender for Client {
    async fn slice(&mut self, length: Duration) -> Outcome<Slice> {
        let answer = self.program.ask(&length.as_millis().to_string()).await?;
        let figures: Figures = serde_json::from_str(&answer)?;
        Ok(Slice { completed: figures.completed, value: (self.figure)(&figures) })
    }

    fn processor_time(&self) -> Outcome<f64> {
        self.program.processor_time()
    }
}

/// A client and the server it shares with the other side.
pub(crate) struct Guest {
    pub(crate) client: Client,
    pub(crate) _server: Rc<Server>,
}

impl Contender for Guest {
    async fn slice(&mut self, length: Duration) -> Outcome<Slice> {
        self.client.slice(length).await
    }

    fn processor_time(&self) -> Outcome<f64> {
        self.client.processor_time()
    }
}

pub(crate) async fn rows(plan: &Plan) -> Vec<Row> {
    let latency = compare(plan, &LATENCY, Load::latency(64)).await;
    let throughput = compare(plan, &THROUGHPUT, Load::calls(64, 64)).await;
    let fleet = compare(plan, &FLEET, Load::calls(64, 64).in_fleet()).await;
    [latency, throughput, fleet].into_iter().flatten().collect()
}

/// Compares both clients on the same bare tonic server.
pub(crate) async fn compare(plan: &Plan, spec: &Spec, load: Load) -> Option<Row> {
    contest(plan, spec, async || {
        let server = Rc::new(Server::of(plan, Half::OtherEnd, Side::Peer, &[]).await?);
        let guest = |side| {
            let client = Client::start(plan, Half::Measured, side, server.address, &load)?;
            Ok::<_, Box<dyn std::error::Error>>(Guest { client, _server: Rc::clone(&server) })
        };
        Ok((guest(Side::Ours)?, guest(Side::Peer)?))
    })
    .await
}
