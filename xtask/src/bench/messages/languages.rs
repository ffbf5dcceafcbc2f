//! Messages from another language, next to JetStream by the client that it has there.

use tokio::process::Command;

use super::owner::{End, Owner, Pair};
use super::row::SIZE;
use crate::Outcome;
use crate::bench::client::{Client, Load};
use crate::bench::contest::contest;
use crate::bench::plan::{Plan, Side};
use crate::bench::row::{Row, Spec};
use crate::bench::servers::Kind;

/// Messages that are published by 64 at once, taken by the same program and acknowledged.
const LOAD: Load = Load::streams(64, SIZE);

/// A program of either kind, which `program` makes, next to an owner or to JetStream.
pub(crate) async fn in_language(
    plan: &Plan,
    spec: &Spec,
    program: impl Fn() -> Command,
) -> Option<Row> {
    if let Some(missing) = Kind::JetStream.missing().filter(|_| plan.is_asked_for(spec.id)) {
        println!("SKIPPED {}: {missing}", spec.id);
        return None;
    }
    let enter = async |side| -> Outcome<Pair> {
        let (kind, at, end) = if plan.is_ours(side) {
            let owner = Owner::start(plan, "").await?;
            ("micro", owner.url.clone(), End::Owner(owner))
        } else {
            let server = Kind::JetStream.start(plan).await?;
            ("nats", server.address.clone(), End::Server(server))
        };
        let mut command = program();
        command.args([kind, "--at", &at]);
        Ok(Pair { client: Client::loaded(command, &LOAD)?, end })
    };
    contest(plan, spec, async || Ok((enter(Side::Ours).await?, enter(Side::Peer).await?))).await
}
