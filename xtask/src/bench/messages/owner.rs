//! A data folder and the process that owns it, and programs that use it.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::process::Command;

use crate::Outcome;
use crate::bench::client::{Client, Load};
use crate::bench::contest::{Contender, Slice};
use crate::bench::plan::{Half, Plan};
use crate::bench::process::Program;
use crate::bench::servers::Running;

/// A data folder that is owned.
pub(super) struct Owner {
    pub(super) program: Program,
    pub(super) url: String,
    /// From the start of the process until it owned the folder.
    pub(super) opened_in: Duration,
    _folder: Option<TempDir>,
}

impl Owner {
    /// Of a new folder, with these options of its URL.
    pub(super) async fn start(plan: &Plan, options: &str) -> Outcome<Self> {
        Self::counted(plan, options, None).await
    }

    /// The same, whose syncs are counted by `counting`.
    pub(super) async fn counted(
        plan: &Plan,
        options: &str,
        counting: Option<&Counting>,
    ) -> Outcome<Self> {
        let folder = tempfile::tempdir_in(plan.scratch())?;
        let owner = Self::of(plan, folder.path(), options, counting).await?;
        Ok(Self { _folder: Some(folder), ..owner })
    }

    /// Of the folder at `path`.
    pub(super) async fn of(
        plan: &Plan,
        path: &Path,
        options: &str,
        counting: Option<&Counting>,
    ) -> Outcome<Self> {
        let url = format!("durable://{}{options}", path.display());
        let mut command = Half::OtherEnd.run(&plan.program("messages"));
        command.args(["own", "--url", &url]);
        if let Some(counting) = counting {
            command.env("LD_PRELOAD", &counting.library).env("MICRO_BENCH_SYNCS", &counting.file);
        }
        let begun = Instant::now();
        let mut program = Program::start(command)?;
        program.line().await?;
        Ok(Self { program, url, opened_in: begun.elapsed(), _folder: None })
    }

    /// Has it publish so many messages of that many bytes.
    pub(super) async fn fill(&mut self, messages: usize, size: u32) -> Outcome {
        self.program.ask(&format!("{messages} {size}")).await.map(drop)
    }
}

/// Our client, on the measured half of the cores.
pub(super) fn client(plan: &Plan, url: &str, arguments: &[&str], load: &Load) -> Outcome<Client> {
    let mut command = measured(plan);
    command.args(["micro", "--url", url]).args(arguments);
    Client::loaded(command, load)
}

/// The program, on the measured half of the cores, without what it is to do.
pub(super) fn measured(plan: &Plan) -> Command {
    Half::Measured.run(&plan.program("messages"))
}

/// What counts the syncs of a program.
pub(super) struct Counting {
    library: PathBuf,
    file: PathBuf,
}

impl Counting {
    /// With the library at `library`, in a file of its own.
    pub(super) fn new(library: &Path, file: PathBuf) -> Self {
        Self { library: library.to_owned(), file }
    }

    /// How many there were so far.
    pub(super) fn count(&self) -> Outcome<u64> {
        let bytes = std::fs::read(&self.file)?;
        let bytes = bytes.first_chunk().ok_or("nothing was counted")?;
        Ok(u64::from_ne_bytes(*bytes))
    }
}

/// What a client's messages go to.
pub(super) enum End {
    Owner(Owner),
    Server(Running),
    /// Nothing but the client itself.
    Own,
}

/// A client and what its messages go to. Both count where processor time is compared.
pub(super) struct Pair {
    pub(super) client: Client,
    pub(super) end: End,
}

impl Contender for Pair {
    async fn slice(&mut self, length: Duration) -> Outcome<Slice> {
        self.client.slice(length).await
    }

    fn processor_time(&self) -> Outcome<f64> {
        let other = match &self.end {
            End::Owner(owner) => owner.program.processor_time()?,
            End::Server(server) => server.program.processor_time()?,
            End::Own => 0.0,
        };
        Ok(self.client.processor_time()? + other)
    }
}
