//! Row 5: what tonic generates, on our channel and our server, next to tonic's own.

use super::client::{Load, compare};
use super::contest::contest;
use super::plan::{Half, Plan, Side};
use super::process::Server;
use super::row::{Goal, Row, Spec};
use super::server::drive;

const CHANNEL: Spec = Spec {
    id: "tonic.channel",
    title: "Generated client on our channel, 64 calls in flight to one node",
    unit: "req/s",
    goal: Goal::ratio_at_least(0.95),
};

const SERVER: Spec = Spec {
    id: "tonic.server",
    title: "Generated service on our server, 64 B echo",
    unit: "req/s",
    goal: Goal::ratio_at_least(0.85),
};

const STUBS: &[&str] = &["--stubs"];

pub(crate) async fn rows(plan: &Plan) -> Vec<Row> {
    let channel = compare(plan, &CHANNEL, Load::calls(64, 64).with(STUBS)).await;
    let server = contest(plan, &SERVER, async || {
        let ours = Server::of(plan, Half::Measured, Side::Ours, STUBS).await?;
        let peer = Server::of(plan, Half::Measured, Side::Peer, &[]).await?;
        Ok((drive(plan, ours, 64, &[]).await?, drive(plan, peer, 64, &[]).await?))
    });
    channel.into_iter().chain(server.await).collect()
}
