//! Row 4: server streams of 1 KiB messages, one end replaced at a time.

use std::time::Duration;

use super::client::{Client, Load, compare};
use super::contest::{Contender, Slice, contest};
use super::plan::{Half, Plan, Side};
use super::process::Server;
use super::row::{Goal, Row, Spec};
use crate::Outcome;

const SERVER: Spec = Spec {
    id: "stream.server",
    title: "Server of streams of 1 KiB messages, read by tonic",
    unit: "messages/s",
    goal: Goal::ratio_at_least(0.95),
};

const CLIENT: Spec = Spec {
    id: "stream.client",
    title: "Client of streams of 1 KiB messages, served by tonic",
    unit: "messages/s",
    goal: Goal::ratio_at_least(0.95),
};

const LOAD: Load = Load::streams(4, 1024);

/// A server and the tonic client that reads its streams.
struct Streaming {
    server: Server,
    reader: Client,
}

impl Contender for Streaming {
    async fn slice(&mut self, length: Duration) -> Outcome<Slice> {
        self.reader.slice(length).await
    }

    fn processor_time(&self) -> Outcome<f64> {
        self.server.program.processor_time()
    }
}

pub(crate) async fn rows(plan: &Plan) -> Vec<Row> {
    let server = contest(plan, &SERVER, async || {
        Ok((enter(plan, Side::Ours).await?, enter(plan, Side::Peer).await?))
    });
    let server = server.await;
    server.into_iter().chain(compare(plan, &CLIENT, LOAD).await).collect()
}

async fn enter(plan: &Plan, side: Side) -> Outcome<Streaming> {
    let server = Server::of(plan, Half::Measured, side, &[]).await?;
    let reader = Client::start(plan, Half::OtherEnd, Side::Peer, server.address, &LOAD)?;
    Ok(Streaming { server, reader })
}
