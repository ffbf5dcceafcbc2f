//! Our client and brokers next to what others have: JetStream and Redis, NATS by its own client, go-micro's broker.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::owner::{End, Owner, Pair, client, measured};
use super::row::{SIZE, spec};
use crate::Outcome;
use crate::bench::client::{Client, Load};
use crate::bench::contest::contest;
use crate::bench::plan::{Half, Plan, Side};
use crate::bench::process::output;
use crate::bench::row::{Goal, Row, Spec};
use crate::bench::servers::Kind;

/// Publishers with one message in flight each, and with 16.
const ALONE: Load = Load::calls(64, SIZE);
const PIPELINED: Load = Load::calls(1024, SIZE);
/// As many topics as messages are on their way: go-micro pauses where two of a topic wait.
const POSTED: Load = Load::calls(16, SIZE);

const SYNCED: [(Spec, Load, Kind); 5] = [
    (
        spec(
            "message.jetstream.64",
            "durable://, synced, 64 publishers of another process with one message in flight, next to JetStream, not synced",
            "msg/s",
            Goal::ratio_at_least(1.0),
        ),
        ALONE,
        Kind::JetStream,
    ),
    (
        spec(
            "message.jetstream-synced.64",
            "The same next to JetStream with `sync_interval: always`",
            "msg/s",
            Goal::ratio_at_least(5.0),
        ),
        ALONE,
        Kind::JetStreamSynced,
    ),
    (
        spec(
            "message.redis.64",
            "The same next to Redis with `appendfsync always`",
            "msg/s",
            Goal::ratio_at_least(1.0),
        ),
        ALONE,
        Kind::Redis,
    ),
    (
        spec(
            "message.jetstream.1024",
            "durable://, synced, 64 publishers with 16 messages in flight, next to JetStream, not synced",
            "msg/s",
            Goal::ratio_at_least(1.2),
        ),
        PIPELINED,
        Kind::JetStream,
    ),
    (
        spec(
            "message.redis.1024",
            "The same next to Redis with `appendfsync always`",
            "msg/s",
            Goal::ratio_at_least(1.5),
        ),
        PIPELINED,
        Kind::Redis,
    ),
];

const NATS: Spec = spec(
    "message.nats",
    "nats://, at most once, 64 publishers, handed to the system, next to async-nats that flushes",
    "msg/s",
    Goal::ratio_at_least(0.9),
);

const POST: Spec = spec(
    "message.http",
    "http://, 16 topics with one message on its way until its subscriber has it, next to go-micro's",
    "msg/s",
    Goal::ratio_at_least(3.0),
);

pub(super) async fn rows(plan: &Plan, root: &Path) -> Vec<Row> {
    let mut rows = Vec::new();
    for (spec, load, kind) in &SYNCED {
        if is_possible(plan, spec, *kind) {
            rows.extend(synced(plan, spec, load, *kind).await);
        }
    }
    if is_possible(plan, &NATS, Kind::Nats) {
        rows.extend(nats(plan).await);
    }
    if plan.is_asked_for(POST.id) {
        match build(plan, root).await {
            Ok(peer) => rows.extend(posted(plan, &peer).await),
            Err(error) => println!("SKIPPED {}: {error}", POST.id),
        }
    }
    rows
}

/// Says so where a row is asked for whose server is not there.
fn is_possible(plan: &Plan, spec: &Spec, kind: Kind) -> bool {
    if !plan.is_asked_for(spec.id) {
        return false;
    }
    let missing = kind.missing();
    if let Some(missing) = &missing {
        println!("SKIPPED {}: {missing}", spec.id);
    }
    missing.is_none()
}

/// All files are in folders of one disk.
async fn synced(plan: &Plan, spec: &Spec, load: &Load, kind: Kind) -> Option<Row> {
    let enter = async |side| -> Outcome<Pair> {
        if plan.is_ours(side) {
            let owner = Owner::start(plan, "").await?;
            let client = client(plan, &owner.url, &[], load)?;
            return Ok(Pair { client, end: End::Owner(owner) });
        }
        bare(plan, kind, if kind == Kind::Redis { "redis" } else { "jetstream" }, load).await
    };
    contest(plan, spec, async || Ok((enter(Side::Ours).await?, enter(Side::Peer).await?))).await
}

async fn nats(plan: &Plan) -> Option<Row> {
    let enter = async |side| -> Outcome<Pair> {
        if plan.is_ours(side) {
            let server = Kind::Nats.start(plan).await?;
            let client = client(plan, &format!("nats://{}", server.address), &[], &ALONE)?;
            return Ok(Pair { client, end: End::Server(server) });
        }
        bare(plan, Kind::Nats, "nats", &ALONE).await
    };
    contest(plan, &NATS, async || Ok((enter(Side::Ours).await?, enter(Side::Peer).await?))).await
}

/// A bare client on a server of its own.
async fn bare(plan: &Plan, kind: Kind, role: &str, load: &Load) -> Outcome<Pair> {
    let server = kind.start(plan).await?;
    let mut command = measured(plan);
    command.args([role, "--address", &server.address]);
    Ok(Pair { client: Client::loaded(command, load)?, end: End::Server(server) })
}

/// Publisher and subscribers are one process on either side, as go-micro's registry in memory wants it.
async fn posted(plan: &Plan, peer: &Path) -> Option<Row> {
    let enter = |side| -> Outcome<Pair> {
        let mut command = match plan.is_ours(side) {
            true => measured(plan),
            false => Half::Measured.pin(&Command::new(peer)),
        };
        command.arg("posted");
        Ok(Pair { client: Client::loaded(command, &POSTED)?, end: End::Own })
    };
    contest(plan, &POST, async || Ok((enter(Side::Ours)?, enter(Side::Peer)?))).await
}

async fn build(plan: &Plan, root: &Path) -> Outcome<PathBuf> {
    let program = plan.scratch().join("go-micro-messages");
    let mut go = Command::new("go");
    go.current_dir(root.join("tests/bench-peers/go-micro"));
    go.args(["build", "-o"]).arg(&program).arg(".");
    output(go).await?;
    Ok(program)
}
