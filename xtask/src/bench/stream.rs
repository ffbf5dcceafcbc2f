//! Row 4: server streams of 1 KiB messages, one side replaced at a time.

use super::client::{against_tonic, drive};
use super::plan::{Plan, Side};
use super::row::{Goal, Row, Sample, Spec};
use super::server::start;
use crate::Outcome;

const SERVER: Spec = Spec {
    id: "stream.server",
    title: "Server stream of 1 KiB messages, tonic client",
    unit: "messages/s",
    goal: Goal::ratio_at_least(0.95),
};

const CLIENT: Spec = Spec {
    id: "stream.client",
    title: "Server stream of 1 KiB messages, tonic server, client compared",
    unit: "messages/s",
    goal: Goal::ratio_at_least(0.95),
};

const LOAD: [&str; 5] = ["stream", "--size", "1024", "--concurrency", "4"];

pub(crate) async fn rows(plan: &Plan) -> Vec<Row> {
    let server = plan.pair(&SERVER, async |side| from_server(plan, side).await).await;
    let client = plan.pair(&CLIENT, async |side| {
        let figures = against_tonic(plan, side, &LOAD).await?;
        Ok(Sample { value: figures.rate, cpu_us: Some(figures.cpu_us) })
    });
    server.into_iter().chain(client.await).collect()
}

/// Measures a tonic client against the server of `side`; the processor time is the server's.
async fn from_server(plan: &Plan, side: Side) -> Outcome<Sample> {
    let server = start(plan, side, &[]).await?;
    let before = server.processor_time()?;
    let figures = drive(plan, Side::Peer, &server, &LOAD).await?;
    let spent = server.processor_time()? - before;
    server.stop().await?;
    // The server also worked during the warm-up, which the client did not count.
    let share = plan.window().as_secs_f64() / (plan.window() + plan.warm_up()).as_secs_f64();
    let cpu_us = Some(spent * share * 1e6 / figures.completed as f64);
    Ok(Sample { value: figures.rate, cpu_us })
}
