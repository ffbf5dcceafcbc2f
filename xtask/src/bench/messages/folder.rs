//! What a data folder does with nothing else beside it: the disk's floor, delivery, recovery and memory.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;
use tokio::time::sleep;

use super::owner::{Counting, End, Owner, Pair, client, measured};
use super::row::{SIZE, sample, spec};
use crate::Outcome;
use crate::bench::client::{Client, Figures, Load};
use crate::bench::contest::{Contender, Slice, contest};
use crate::bench::plan::{Plan, Side};
use crate::bench::process::{Program, output};
use crate::bench::row::{Goal, Row, Sample, Spec};

const FLOOR: Spec = spec(
    "message.floor",
    "What the disk does: messages of 1 KiB, each synced before the next",
    "syncs/s",
    Goal::at_least(1.0),
);

const LATENCY: Spec = spec(
    "message.latency",
    "durable://, written, idle: from publishing to its delivery, median, owner, publisher and subscriber a process each",
    "us",
    Goal::at_most(200.0),
);

const GROUPS: Spec = spec(
    "message.groups",
    "durable://: deliveries to ten groups that read a topic, next to one group",
    "msg/s",
    Goal::ratio_at_least(0.7),
);

const SLOW: Spec = spec(
    "message.slow-group",
    "durable://: deliveries to a group next to one that is never done, next to the same without",
    "msg/s",
    Goal::ratio_at_least(0.9),
);

const TOPICS: Spec = spec(
    "message.topics",
    "durable://, synced: syncs for 1 000 messages to 10 000 topics, next to one topic",
    "syncs",
    Goal::ratio_at_most(1.1),
);

const RECOVERY: Spec = spec(
    "message.recovery",
    "durable://: start of the process until it owns a folder of 1 GiB that its last owner did not close, nothing of it in memory",
    "s",
    Goal::at_most(5.0),
);

const MEMORY: Spec = spec(
    "message.memory",
    "durable://: resident memory of an owner that has stored 1 GiB",
    "MB",
    Goal::at_most(64.0),
);

/// Messages of one subscription.
const READ: usize = 2_000;
/// A folder of 1 GiB, of which nothing is removed.
const FULL: usize = 1 << 20;
const FULL_OPTIONS: &str = "?ack=written&max_bytes=8589934592";
/// For messages that have been published to be delivered.
const ARRIVAL: Duration = Duration::from_millis(20);

pub(super) async fn rows(plan: &Plan, root: &Path) -> Vec<Row> {
    let mut rows = Vec::new();
    if !plan.has_ours() {
        return rows;
    }
    rows.extend(plan.alone(&FLOOR, async || floor(plan).await).await);
    rows.extend(plan.alone(&LATENCY, async || latency(plan).await).await);
    rows.extend(read(plan, &GROUPS, (10, &[]), (1, &[])).await);
    rows.extend(read(plan, &SLOW, (1, &["--hang"]), (1, &[])).await);
    rows.extend(topics(plan, root).await);
    rows.extend(plan.alone(&RECOVERY, async || recovery(plan).await).await);
    rows.extend(plan.alone(&MEMORY, async || memory(plan).await).await);
    rows
}

async fn floor(plan: &Plan) -> Outcome<Sample> {
    let mut command = measured(plan);
    command.args(["disk", "--folder"]).arg(plan.scratch());
    let mut disk = Client::loaded(command, &Load::calls(1, SIZE))?;
    disk.slice(plan.slice()).await?;
    Ok(sample(disk.slice(plan.slice() * plan.slices() as u32).await?.value))
}

async fn latency(plan: &Plan) -> Outcome<Sample> {
    let owner = Owner::start(plan, "?ack=written").await?;
    let mut command = measured(plan);
    command.args(["watch", "--url", &owner.url]);
    let mut watcher = Program::start(command)?;
    watcher.line().await?;
    let mut publisher = client(plan, &owner.url, &["--pause", "2"], &Load::latency(SIZE))?;
    publisher.slice(plan.slice()).await?;
    sleep(ARRIVAL).await;
    watcher.ask("").await?;
    publisher.slice(plan.slice() * plan.slices() as u32).await?;
    sleep(ARRIVAL).await;
    let figures: Figures = serde_json::from_str(&watcher.ask("").await?)?;
    match figures.completed {
        0 => Err("nothing was delivered".into()),
        _ => Ok(sample(figures.p50_us)),
    }
}

/// So many groups, and how the program is told.
type Groups<'a> = (u32, &'a [&'a str]);

/// Groups that read the same messages, next to others that do; each on an owner of its own.
async fn read(plan: &Plan, spec: &Spec, ours: Groups<'_>, peer: Groups<'_>) -> Option<Row> {
    let enter = async |(groups, arguments): Groups<'_>| -> Outcome<Pair> {
        let owner = Owner::start(plan, "").await?;
        let mut publisher = client(plan, &owner.url, &[], &Load::calls(64, SIZE))?;
        let mut published = 0;
        while published < READ as u64 {
            published += publisher.slice(plan.slice()).await?.completed;
        }
        let client = client(plan, &owner.url, arguments, &Load::streams(groups, SIZE))?;
        Ok(Pair { client, end: End::Owner(owner) })
    };
    contest(plan, spec, async || Ok((enter(ours).await?, enter(peer).await?))).await
}

/// Publishers, and how many syncs their messages took.
struct Counted {
    pair: Pair,
    counting: Counting,
}

impl Contender for Counted {
    async fn slice(&mut self, length: Duration) -> Outcome<Slice> {
        let before = self.counting.count()?;
        let Slice { completed, .. } = self.pair.slice(length).await?;
        let syncs = self.counting.count()? - before;
        Ok(Slice { completed, value: syncs as f64 * 1e3 / completed as f64 })
    }

    fn processor_time(&self) -> Outcome<f64> {
        self.pair.processor_time()
    }
}

async fn topics(plan: &Plan, root: &Path) -> Option<Row> {
    if !plan.is_asked_for(TOPICS.id) {
        return None;
    }
    let library = match counter(plan, root).await {
        Ok(library) => library,
        Err(error) => {
            println!("SKIPPED {}: {error}", TOPICS.id);
            return None;
        }
    };
    let enter = async |side| {
        let name = format!("syncs-{side:?}");
        let counting = Counting::new(&library, plan.scratch().join(name));
        let owner = Owner::counted(plan, "", Some(&counting)).await?;
        let topics = if side == Side::Ours { "10000" } else { "1" };
        let client = client(plan, &owner.url, &["--topics", topics], &Load::calls(64, SIZE))?;
        Ok::<_, Box<dyn std::error::Error>>(Counted {
            pair: Pair { client, end: End::Owner(owner) },
            counting,
        })
    };
    contest(plan, &TOPICS, async || Ok((enter(Side::Ours).await?, enter(Side::Peer).await?))).await
}

/// Builds what counts syncs.
async fn counter(plan: &Plan, root: &Path) -> Outcome<PathBuf> {
    let library = plan.scratch().join("syncs.so");
    let mut compiler = Command::new("cc");
    compiler.args(["-O2", "-shared", "-fPIC", "-o"]).arg(&library);
    compiler.arg(root.join("tests/bench-peers/c/syncs.c"));
    output(compiler).await?;
    Ok(library)
}

/// How many messages fill a folder.
fn full(plan: &Plan) -> usize {
    if plan.is_quick() { FULL >> 8 } else { FULL }
}

async fn recovery(plan: &Plan) -> Outcome<Sample> {
    let folder = tempfile::tempdir_in(plan.scratch())?;
    let mut owner = Owner::of(plan, folder.path(), FULL_OPTIONS, None).await?;
    owner.fill(full(plan), SIZE).await?;
    owner.program.kill().await?;
    forget(folder.path()).await?;
    let owner = Owner::of(plan, folder.path(), FULL_OPTIONS, None).await?;
    let value = owner.opened_in.as_secs_f64();
    owner.program.stop().await?;
    Ok(sample(value))
}

/// Has the system forget what it holds of the files of a folder.
async fn forget(folder: &Path) -> Outcome {
    let mut sync = Command::new("sync");
    sync.arg("--file-system").arg(folder);
    output(sync).await?;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "log" || extension == "index") {
            let mut forget = Command::new("dd");
            forget.arg(format!("if={}", path.display())).args(["iflag=nocache", "count=0"]);
            output(forget).await?;
        }
    }
    Ok(())
}

async fn memory(plan: &Plan) -> Outcome<Sample> {
    let mut owner = Owner::start(plan, FULL_OPTIONS).await?;
    owner.fill(full(plan), SIZE).await?;
    let value = owner.program.resident_megabytes()?;
    owner.program.stop().await?;
    Ok(sample(value))
}
