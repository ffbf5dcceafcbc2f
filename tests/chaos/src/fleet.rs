//! Nodes as processes: started, asked to stop, killed, paused.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use micro::registry::{self, Registry};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::Outcome;
use crate::link::{Link, Weather};

/// Longest wait for a process to come or to go.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the nodes of a fleet have in common.
#[derive(Debug, Clone, Default)]
pub(crate) struct Work {
    /// What a call takes, in milliseconds.
    pub(crate) takes: u64,
    pub(crate) workers: usize,
    pub(crate) rounds: u64,
    pub(crate) threads: usize,
    pub(crate) limiter: bool,
    /// Callers reach every node over a [`Link`].
    pub(crate) links: bool,
}

/// Processes of one service. They are killed when this is dropped.
#[derive(Debug)]
pub(crate) struct Fleet {
    folder: TempDir,
    work: Work,
    pub(crate) nodes: Vec<Node>,
}

/// One process, and the way to it.
#[derive(Debug)]
pub(crate) struct Node {
    /// Where callers reach it; the same before and after a restart.
    pub(crate) address: SocketAddr,
    listens: SocketAddr,
    link: Option<Link>,
    takes: u64,
    process: Option<Child>,
}

impl Fleet {
    /// Starts so many nodes.
    pub(crate) async fn start(size: usize, work: Work) -> Outcome<Self> {
        let takes = vec![work.takes; size];
        Self::start_each(&takes, work).await
    }

    /// Starts nodes that take so many milliseconds each.
    pub(crate) async fn start_each(takes: &[u64], work: Work) -> Outcome<Self> {
        let folder = tempfile::tempdir()?;
        let mut fleet = Self { folder, work, nodes: Vec::new() };
        for &takes in takes {
            let listens = free();
            let link = if fleet.work.links { Some(Link::to(listens).await?) } else { None };
            let address = link.as_ref().map_or(listens, |link| link.address);
            fleet.nodes.push(Node { address, listens, link, takes, process: None });
        }
        for node in 0..takes.len() {
            fleet.up(node).await?;
        }
        Ok(fleet)
    }

    /// The registry the nodes are in.
    pub(crate) fn registry(&self) -> Outcome<Arc<dyn Registry>> {
        Ok(registry::connect(&self.url())?)
    }

    fn url(&self) -> String {
        format!("local://{}", self.folder.path().join("registry").display())
    }

    /// Starts a node that is down, and waits until it is registered.
    pub(crate) async fn up(&mut self, node: usize) -> Outcome {
        let url = self.url();
        let (work, node) = (&self.work, &mut self.nodes[node]);
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("node");
        command.args(["--address", &node.listens.to_string()]);
        command.args(["--advertise", &node.address.to_string()]);
        command.args(["--takes", &node.takes.to_string()]);
        command.args(["--workers", &work.workers.max(1).to_string()]);
        command.args(["--rounds", &work.rounds.to_string()]);
        command.args(["--threads", &work.threads.max(1).to_string()]);
        if !work.limiter {
            command.arg("--no-limiter");
        }
        let mut process = command
            .env("MICRO_REGISTRY", url)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = process.stdout.take().ok_or("no standard output")?;
        let mut lines = BufReader::new(output).lines();
        let ready = timeout(PATIENCE, lines.next_line()).await;
        match ready.map_err(|_| format!("a node did not start within {PATIENCE:?}"))?? {
            Some(line) if line == "ready" => {}
            other => return Err(format!("a node said {other:?} instead of being ready").into()),
        }
        node.process = Some(process);
        Ok(())
    }

    /// Asks a node to stop and waits until it has: running calls are finished by then.
    pub(crate) async fn down(&mut self, node: usize) -> Outcome {
        self.signal(node, "TERM").await?;
        self.gone(node).await
    }

    async fn gone(&mut self, node: usize) -> Outcome {
        let mut process = self.take(node)?;
        let status = timeout(PATIENCE, process.wait())
            .await
            .map_err(|_| format!("a node did not stop within {PATIENCE:?}"))??;
        if status.success() { Ok(()) } else { Err(format!("a node ended with {status}").into()) }
    }

    /// Kills a node without a warning.
    pub(crate) async fn kill(&mut self, node: usize) -> Outcome {
        self.take(node)?.kill().await?;
        Ok(())
    }

    /// Stops a node from running; its connections stay.
    pub(crate) async fn pause(&self, node: usize) -> Outcome {
        self.signal(node, "STOP").await
    }

    /// Lets a paused node go on.
    pub(crate) async fn resume(&self, node: usize) -> Outcome {
        self.signal(node, "CONT").await
    }

    /// Makes the way to a node slow, or normal again.
    pub(crate) fn weather(&self, node: usize, weather: Weather) {
        if let Some(link) = &self.nodes[node].link {
            link.set(weather);
        }
    }

    /// Ends every node, all together.
    pub(crate) async fn end(mut self) -> Outcome {
        for node in 0..self.nodes.len() {
            self.signal(node, "TERM").await?;
        }
        for node in 0..self.nodes.len() {
            self.gone(node).await?;
        }
        Ok(())
    }

    /// Memory in MiB and open files of a node.
    pub(crate) fn usage(&self, node: usize) -> Outcome<Usage> {
        Usage::of(&self.id(node)?.to_string())
    }

    fn id(&self, node: usize) -> Outcome<u32> {
        let process = self.nodes[node].process.as_ref().and_then(Child::id);
        Ok(process.ok_or("the node is down")?)
    }

    fn take(&mut self, node: usize) -> Outcome<Child> {
        Ok(self.nodes[node].process.take().ok_or("the node is down")?)
    }

    async fn signal(&self, node: usize, signal: &str) -> Outcome {
        // Every shell has `kill` built in; not every machine has it as a program.
        let script = "kill -\"$1\" \"$2\"";
        let id = self.id(node)?.to_string();
        let status = Command::new("sh").args(["-c", script, "sh", signal, &id]).status().await?;
        if status.success() { Ok(()) } else { Err(format!("signal {signal} was not sent").into()) }
    }
}

/// What a process holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Usage {
    /// Resident memory in MiB.
    pub(crate) memory: f64,
    /// Open files.
    pub(crate) files: usize,
}

impl Usage {
    /// Of the process with this id, or of `self`.
    pub(crate) fn of(process: &str) -> Outcome<Self> {
        let folder = Path::new("/proc").join(process);
        let status = std::fs::read_to_string(folder.join("status"))?;
        let kilobytes = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"))
            .and_then(|number| number.trim().parse::<f64>().ok())
            .ok_or("/proc does not say how much memory is used")?;
        let files = std::fs::read_dir(folder.join("fd"))?.count();
        Ok(Self { memory: kilobytes / 1024.0, files })
    }
}

/// An address that no process has. The network is ours alone, and these ports are below those that the
/// system gives to connections.
fn free() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(7_000);
    SocketAddr::from(([127, 0, 0, 1], NEXT.fetch_add(1, Ordering::Relaxed)))
}
