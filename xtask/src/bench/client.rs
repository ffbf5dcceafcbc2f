//! Row 3: our client, with discovery, balancing and deadlines, next to a bare tonic client.

use serde::Deserialize;

use super::plan::{Plan, Side};
use super::process::{Server, figures};
use super::row::{Goal, Row, Sample, Spec};
use super::server::start;
use crate::Outcome;

const LATENCY: Spec = Spec {
    id: "client.latency",
    title: "Client, median latency, one call at a time",
    unit: "us",
    goal: Goal::adds_at_most(10.0),
};

const THROUGHPUT: Spec = Spec {
    id: "client.throughput",
    title: "Client, 64 calls in flight",
    unit: "req/s",
    goal: Goal::ratio_at_least(0.95),
};

/// What a client program reports.
#[derive(Deserialize)]
pub(crate) struct Figures {
    pub(crate) completed: u64,
    pub(crate) rate: f64,
    pub(crate) p50_us: f64,
    pub(crate) cpu_us: f64,
}

pub(crate) async fn rows(plan: &Plan) -> Vec<Row> {
    let latency = plan.pair(&LATENCY, async |side| {
        let figures = against_tonic(plan, side, &["call", "--concurrency", "1"]).await?;
        Ok(Sample { value: figures.p50_us, cpu_us: Some(figures.cpu_us) })
    });
    let latency = latency.await;
    let throughput = plan.pair(&THROUGHPUT, async |side| {
        let figures = against_tonic(plan, side, &["call", "--concurrency", "64"]).await?;
        Ok(Sample { value: figures.rate, cpu_us: Some(figures.cpu_us) })
    });
    latency.into_iter().chain(throughput.await).collect()
}

/// Measures the client of `side` against a fresh bare tonic server.
pub(crate) async fn against_tonic(plan: &Plan, side: Side, load: &[&str]) -> Outcome<Figures> {
    let server = start(plan, Side::Peer, &[]).await?;
    let figures = drive(plan, side, &server, load).await?;
    server.stop().await?;
    Ok(figures)
}

/// Measures the client of `side` against `server`.
pub(crate) async fn drive(
    plan: &Plan,
    side: Side,
    server: &Server,
    load: &[&str],
) -> Outcome<Figures> {
    let mut command = plan.side(side, "client");
    command
        .args(["--workers", &Plan::workers(), "--address", &server.address().to_string()])
        .args(load)
        .args(["--warm", &plan.warm_up().as_millis().to_string()])
        .args(["--millis", &plan.window().as_millis().to_string()]);
    let figures: Figures = figures(command).await?;
    if figures.completed == 0 {
        return Err(format!("nothing completed within {:?}", plan.window()).into());
    }
    Ok(figures)
}
