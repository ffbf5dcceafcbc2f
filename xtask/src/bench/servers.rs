//! The servers that messages are measured next to, each with its data in a folder of its own.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::Command;
use tokio::time::sleep;

use super::plan::{Half, Plan};
use super::process::Program;
use crate::Outcome;

/// How long one may take to accept connections, and how often that is tried.
const START_LIMIT: Duration = Duration::from_secs(20);
const LOOK: Duration = Duration::from_millis(10);

/// What is safe once it is acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// NATS without JetStream: nothing is kept.
    Nats,
    /// JetStream as it is by default: the system has the message, and the disk within two minutes.
    JetStream,
    /// JetStream that syncs each message.
    JetStreamSynced,
    /// Redis that syncs before it answers.
    Redis,
}

/// A server that runs, on the other half of the cores.
pub(crate) struct Running {
    pub(crate) program: Program,
    pub(crate) address: String,
    _folder: TempDir,
}

impl Kind {
    /// Why it cannot run here.
    pub(crate) fn missing(self) -> Option<String> {
        match self {
            Self::Redis if !starts("redis-server") => {
                Some("there is no redis-server: install it, as `apt-get install redis-server` does".into())
            }
            Self::Redis => None,
            _ if nats_server().is_none() => Some(
                "there is no nats-server: `cargo test -p micro-tests --test nats` fetches the one that is pinned, or put one on the PATH"
                    .into(),
            ),
            _ => None,
        }
    }

    /// Starts one, and waits until it accepts connections.
    pub(crate) async fn start(self, plan: &Plan) -> Outcome<Running> {
        if let Some(missing) = self.missing() {
            return Err(missing.into());
        }
        let folder = tempfile::tempdir_in(plan.scratch())?;
        let free = TcpListener::bind("127.0.0.1:0").await?;
        let port = free.local_addr()?.port();
        drop(free);
        let log = folder.path().join("log");
        let mut command = match self {
            Self::Redis => Half::OtherEnd.pin(&Command::new("redis-server")),
            _ => Half::OtherEnd.pin(&Command::new(nats_server().unwrap_or_default())),
        };
        let data = folder.path().display();
        match self {
            Self::Redis => {
                let said = format!(
                    "--bind 127.0.0.1 --port {port} --dir {data} --appendonly yes --appendfsync always --save"
                );
                command.args(said.split(' ')).arg("").arg("--logfile").arg(&log);
            }
            Self::Nats => {
                let said = format!("--addr 127.0.0.1 --port {port}");
                command.args(said.split(' ')).arg("--log").arg(&log);
            }
            Self::JetStream | Self::JetStreamSynced => {
                let sync =
                    if self == Self::JetStreamSynced { ", sync_interval: always" } else { "" };
                let said = format!(
                    "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{data}/data\"{sync} }}\n"
                );
                let config = folder.path().join("config");
                std::fs::write(&config, said)?;
                command.arg("--config").arg(config).arg("--log").arg(&log);
            }
        }
        let program = Program::start(command)?;
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            if begun.elapsed() > START_LIMIT {
                let said = std::fs::read_to_string(&log).unwrap_or_default();
                return Err(format!("{self:?} does not start: {said}").into());
            }
            sleep(LOOK).await;
        }
        Ok(Running { program, address: format!("127.0.0.1:{port}"), _folder: folder })
    }
}

/// The one that the tests have fetched, which is pinned, else one of the PATH.
fn nats_server() -> Option<PathBuf> {
    let fetched =
        std::fs::read_dir(cache()).into_iter().flatten().flatten().map(|entry| entry.path());
    let of_tests = fetched.filter(|path| {
        path.file_name()
            .and_then(OsStr::to_str)
            .is_some_and(|name| name.starts_with("nats-server-"))
    });
    let mut programs = of_tests.map(|folder| folder.join("venv/bin/nats-server"));
    programs
        .find(|program| program.exists())
        .or_else(|| starts("nats-server").then(|| PathBuf::from("nats-server")))
}

fn starts(program: &str) -> bool {
    let mut command = std::process::Command::new(program);
    command
        .arg("--version")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Where the tests and `scripts/python` keep what they fetch.
pub(crate) fn cache() -> PathBuf {
    let cache = std::env::var_os("MICRO_CACHE").map(PathBuf::from).or_else(|| {
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(Path::new(&std::env::var_os("HOME")?).join(".cache")));
        Some(cache?.join("micro"))
    });
    cache.unwrap_or_default()
}
