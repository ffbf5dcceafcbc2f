//! Processes that publish and consume on a durable broker, and what they say of it.

mod ledger;
pub(crate) mod worker;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use fastrand::Rng;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, timeout, timeout_at};

use crate::Outcome;
pub(crate) use ledger::Ledger;

/// Longest wait for a process to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Processes that share a folder. They are killed when this is dropped.
pub(crate) struct Crew {
    folder: PathBuf,
    /// True for those that publish.
    workers: Vec<(bool, Child)>,
    started: usize,
    sender: UnboundedSender<String>,
    said: UnboundedReceiver<String>,
    pub(crate) ledger: Ledger,
}

impl Crew {
    /// Starts so many publishers and consumers.
    pub(crate) async fn start(folder: &Path, publishers: usize, consumers: usize) -> Outcome<Self> {
        let (sender, said) = unbounded_channel();
        let (folder, ledger) = (folder.to_owned(), Ledger::default());
        let mut crew = Self { folder, workers: Vec::new(), started: 0, sender, said, ledger };
        for nth in 0..publishers + consumers {
            let worker = crew.spawn(nth < publishers).await?;
            crew.workers.push(worker);
        }
        Ok(crew)
    }

    /// One of them by chance; each second time the one that owns the folder, if it is one of them.
    pub(crate) fn pick(&self, random: &mut Rng, owner: Option<u32>) -> usize {
        let owns = |worker: &(bool, Child)| owner.is_some() && worker.1.id() == owner;
        let owner = self.workers.iter().position(owns).filter(|_| random.bool());
        owner.unwrap_or_else(|| random.usize(..self.workers.len()))
    }

    async fn spawn(&mut self, publishes: bool) -> Outcome<(bool, Child)> {
        self.started += 1;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("worker").args(["--name", &format!("w{}", self.started)]);
        command.arg("--folder").arg(&self.folder);
        if publishes {
            command.arg("--publishes");
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn()?;
        let output = child.stdout.take().ok_or("no standard output")?;
        let mut lines = BufReader::new(output).lines();
        let ready = timeout(PATIENCE, lines.next_line()).await;
        match ready.map_err(|_| format!("a worker did not start within {PATIENCE:?}"))?? {
            Some(line) if line == "ready" => {}
            other => return Err(format!("a worker said {other:?} instead of being ready").into()),
        }
        let sender = self.sender.clone();
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok((publishes, child))
    }

    /// Kills a worker without a warning, and starts another in its place.
    pub(crate) async fn kill(&mut self, nth: usize) -> Outcome {
        let (publishes, mut child) = self.workers.swap_remove(nth);
        child.kill().await?;
        let worker = self.spawn(publishes).await?;
        self.workers.push(worker);
        Ok(())
    }

    /// Stops a worker from running, or lets it go on.
    pub(crate) async fn signal(&self, nth: usize, signal: &str) -> Outcome {
        let id = self.workers[nth].1.id().ok_or("a worker has ended")?.to_string();
        let script = "kill -\"$1\" \"$2\"";
        let status = Command::new("sh").args(["-c", script, "sh", signal, &id]).status().await?;
        if status.success() { Ok(()) } else { Err(format!("signal {signal} was not sent").into()) }
    }

    /// Notes what is said until a time, or until all that was published is handled where `until_handled`. True when it is.
    pub(crate) async fn listen(&mut self, until: Instant, until_handled: bool) -> bool {
        loop {
            if until_handled && self.ledger.missing() == 0 && self.said.is_empty() {
                return true;
            }
            match timeout_at(until, self.said.recv()).await {
                Ok(Some(line)) => self.ledger.note(&line),
                _ => return self.ledger.missing() == 0,
            }
        }
    }

    /// Kills all that publish, or all.
    pub(crate) async fn end(&mut self, all: bool) -> Outcome {
        let mut left = Vec::new();
        for (publishes, mut child) in self.workers.drain(..) {
            if publishes || all {
                child.kill().await?;
            } else {
                left.push((publishes, child));
            }
        }
        self.workers = left;
        Ok(())
    }
}
