//! Peers that break HTTP/2's rules on purpose, and the process they attack.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::peer::Peer;
use crate::python::make_environment;
use crate::toolchain::{Missing, Need, interop};

/// How long a victim may take to get rid of what an attack left.
const SETTLE_LIMIT: Duration = Duration::from_secs(10);

/// The interpreter for the peers of `interop/hostile`.
pub(crate) fn environment() -> Result<PathBuf, Missing> {
    static MADE: OnceLock<Result<PathBuf, Missing>> = OnceLock::new();
    MADE.get_or_init(|| make_environment("hostile")).clone()
}

async fn start(program: &str) -> Peer {
    let mut command = Command::new(Need::Hostile.path());
    command.arg("-B").arg(interop().join("hostile").join(program));
    Peer::start(program, command).await
}

/// A client that attacks servers: ask for `attack` with `name` and `address`.
pub async fn client() -> Peer {
    start("client.py").await
}

/// A server that attacks its clients: ask it to `behave` in one of the ways of `servers.py`.
pub async fn server() -> Peer {
    start("server.py").await
}

/// The process under attack, as the system and itself see it.
#[derive(Debug)]
pub struct Victim {
    /// Its lines: `state` and `call`.
    pub peer: Peer,
    process: PathBuf,
}

/// What a process holds.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// Open sockets.
    pub sockets: usize,
    /// Tasks of its runtime.
    pub tasks: u64,
    /// Calls its server is running.
    pub calls: u64,
}

impl Victim {
    /// Starts `program`, the `victim` of this package.
    pub async fn start(program: &str) -> Self {
        let peer = Peer::start("victim", Command::new(program)).await;
        let process = Path::new("/proc").join(peer.fact("pid"));
        Self { peer, process }
    }

    /// Where its server listens.
    pub fn address(&self) -> &str {
        self.peer.fact("address")
    }

    /// What it holds now.
    ///
    /// # Panics
    /// When it has died.
    pub async fn held(&self) -> Held {
        let state = self.peer.ask("state", json!({})).await;
        let number = |key: &str| state[key].as_u64().expect("a number");
        let sockets = fs::read_dir(self.process.join("fd"))
            .expect("a living victim")
            .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
            .filter(|target| target.to_string_lossy().starts_with("socket:"))
            .count();
        Held { sockets, tasks: number("tasks"), calls: number("inFlight") }
    }

    /// Resident memory in bytes, from which [`Self::growth`] counts.
    ///
    /// # Panics
    /// When it has died.
    pub fn mark_memory(&self) -> u64 {
        // The peak starts anew.
        fs::write(self.process.join("clear_refs"), "5").expect("our own process");
        self.status("VmRSS:")
    }

    /// Bytes of memory it took at most since it held `before`.
    ///
    /// # Panics
    /// When it has died.
    pub fn growth(&self, before: u64) -> u64 {
        self.status("VmHWM:").saturating_sub(before)
    }

    fn status(&self, field: &str) -> u64 {
        let status = fs::read_to_string(self.process.join("status")).expect("a living victim");
        let line = status.lines().find_map(|line| line.strip_prefix(field)).expect("a field");
        let kib: u64 = line.split_whitespace().next().unwrap().parse().unwrap();
        kib * 1024
    }

    /// Waits until it holds no more than `before`, and no call at all.
    ///
    /// # Panics
    /// When that takes longer than ten seconds.
    pub async fn settles(&self, before: Held) {
        let until = Instant::now() + SETTLE_LIMIT;
        loop {
            let now = self.held().await;
            if now.calls == 0 && now.sockets <= before.sockets && now.tasks <= before.tasks {
                return;
            }
            assert!(Instant::now() < until, "left behind: {now:?}, before: {before:?}");
            tokio::task::yield_now().await;
        }
    }

    /// One call of its client; see `call` in `bin/victim.rs`.
    pub async fn call(&self, address: &str, timeout: Duration, size: usize) -> Value {
        let milliseconds = u64::try_from(timeout.as_millis()).unwrap();
        let fields = json!({ "address": address, "timeoutMs": milliseconds, "size": size });
        self.peer.ask("call", fields).await
    }
}
