//! The greeters as processes, and the `micro` command beside them.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use micro::Code;
use micro::registry::Registry;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::Outcome;
use crate::{narrator, native};

/// Longest wait for a process to come, to go or to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// Greeters that run. They are killed when this is dropped, however the demo ends.
pub(crate) struct Fleet {
    registry: Arc<dyn Registry>,
    url: String,
    /// Oldest first.
    greeters: Vec<Child>,
    programs: PathBuf,
    /// An interpreter that has the package, if there is one.
    python: Option<PathBuf>,
    /// A Node that finds the package, if there is one.
    node: Option<PathBuf>,
    /// The greeter in C, or why there is none.
    c: Result<PathBuf, String>,
    /// The greeter in Go, or why there is none.
    go: Result<PathBuf, String>,
    started: usize,
}

/// The greeter in Python.
const PYTHON_GREETER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/greeter/service.py");

/// The greeter in Node.
const NODE_GREETER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/greeter/service.mjs");
/// How many there are at first.
pub(crate) const GREETERS: usize = 4;
/// The one that joins the others under load.
const NEWCOMER: usize = GREETERS + 1;

impl Fleet {
    pub(crate) fn new(registry: Arc<dyn Registry>, url: String) -> Outcome<Self> {
        let programs = std::env::current_exe()?.parent().map(PathBuf::from).unwrap_or_default();
        for program in ["micro", "greeter-service"] {
            if !programs.join(program).exists() {
                return Err(format!("{program} is not built: run `make demo`").into());
            }
        }
        let named = |variable| std::env::var_os(variable).filter(|path| !path.is_empty());
        let python = named("MICRO_DEMO_PYTHON").map(PathBuf::from);
        let node = named("MICRO_DEMO_NODE").map(PathBuf::from);
        let c = native::build(&programs);
        let go = native::build_go(&programs);
        Ok(Self { registry, url, greeters: Vec::new(), programs, python, node, c, go, started: 0 })
    }

    /// Why no greeter is written in C, if none is.
    pub(crate) fn lacks_c(&self) -> Option<&str> {
        self.c.as_ref().err().map(String::as_str)
    }

    /// Why no greeter is written in Go, if none is.
    pub(crate) fn lacks_go(&self) -> Option<&str> {
        self.go.as_ref().err().map(String::as_str)
    }

    /// True when greeters are written in Python, too.
    pub(crate) fn speaks_python(&self) -> bool {
        self.python.is_some()
    }

    /// True when the newcomer is written in JavaScript.
    pub(crate) fn speaks_node(&self) -> bool {
        self.node.is_some()
    }

    /// A command that meets the others in the demo's registry.
    fn program(&self, name: &str) -> Command {
        self.joined(Command::new(self.programs.join(name)))
    }

    fn joined(&self, mut command: Command) -> Command {
        command
            .env("MICRO_REGISTRY", &self.url)
            .env("MICRO_SERVER_ADDRESS", "127.0.0.1:0")
            // The narrator tells who has started.
            .env("MICRO_SERVER_QUIET", "true")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Starts another greeter, and says in which language it is written.
    pub(crate) fn start(&mut self) -> Outcome<(u32, &'static str)> {
        self.started += 1;
        let (mut command, language) = match (&self.python, &self.c, &self.go) {
            _ if self.started == NEWCOMER && self.node.is_some() => {
                let mut command = Command::new(self.node.clone().unwrap_or_default());
                command.arg(NODE_GREETER);
                (self.joined(command), "JavaScript")
            }
            (Some(python), _, _) if self.started == 2 => {
                let mut command = Command::new(python);
                command.arg(PYTHON_GREETER);
                (self.joined(command), "Python")
            }
            (_, Ok(program), _) if self.started == 3 => (self.joined(Command::new(program)), "C"),
            (_, _, Ok(program)) if self.started == 4 => (self.joined(Command::new(program)), "Go"),
            _ => (self.program("greeter-service"), "Rust"),
        };
        let child = command.spawn()?;
        let process = child.id().ok_or("a greeter ended at once")?;
        self.greeters.push(child);
        Ok((process, language))
    }

    /// Process ids of the greeters that run, oldest first.
    pub(crate) fn processes(&self) -> Vec<u32> {
        self.greeters.iter().filter_map(Child::id).collect()
    }

    /// Kills the oldest greeter without a warning, and waits until it is gone.
    pub(crate) async fn kill(&mut self) -> Outcome<u32> {
        let (mut child, process) = self.oldest()?;
        child.kill().await?;
        Ok(process)
    }

    /// Asks the oldest greeter to stop, and waits until it has.
    pub(crate) async fn terminate(&mut self) -> Outcome<u32> {
        let (mut child, process) = self.oldest()?;
        // Every shell has `kill` built in; not every machine has it as a program.
        let asked = Command::new("sh")
            .args(["-c", "kill -TERM \"$1\"", "sh", &process.to_string()])
            .status()
            .await?;
        if !asked.success() {
            return Err(format!("process {process} could not be asked to stop").into());
        }
        let status = timeout(PATIENCE, child.wait())
            .await
            .map_err(|_| format!("process {process} did not stop within {PATIENCE:?}"))??;
        if !status.success() {
            return Err(format!("process {process} ended with {status}").into());
        }
        Ok(process)
    }

    fn oldest(&mut self) -> Outcome<(Child, u32)> {
        if self.greeters.is_empty() {
            return Err("no greeter is left".into());
        }
        let child = self.greeters.remove(0);
        let process = child.id().ok_or("a greeter ended by itself")?;
        Ok((child, process))
    }

    /// Makes sure that the demo will see its own greeters only.
    pub(crate) async fn expect_none(&self) -> Outcome {
        match self.nodes().await? {
            0 => Ok(()),
            _ => Err(format!("a greeter runs in {} already: stop it first", self.url).into()),
        }
    }

    /// Waits until the registry knows so many greeters, no more and no fewer.
    pub(crate) async fn expect_nodes(&self, expected: usize) -> Outcome {
        let mut watcher = self.registry.watch(Some("greeter")).await?;
        let known = async {
            while self.nodes().await? != expected {
                watcher.next().await?;
            }
            Ok::<(), micro::Error>(())
        };
        timeout(PATIENCE, known)
            .await
            .map_err(|_| format!("{expected} nodes were not to be seen within {PATIENCE:?}"))??;
        Ok(())
    }

    async fn nodes(&self) -> micro::Result<usize> {
        match self.registry.get("greeter").await {
            Ok(versions) => Ok(versions.iter().map(|version| version.nodes.len()).sum()),
            Err(error) if error.code() == Code::NotFound => Ok(0),
            Err(error) => Err(error),
        }
    }

    /// Runs the `micro` command, shows it, and returns what it printed.
    pub(crate) async fn micro(&self, arguments: &[&str]) -> Outcome<String> {
        let (printed, succeeded) = self.run(arguments).await?;
        if succeeded { Ok(printed) } else { Err("this command should succeed".into()) }
    }

    /// Starts a process that owns a data folder, and waits until it does.
    pub(crate) async fn own(&self, folder: &str) -> Outcome<Child> {
        let mut command = self.program("micro");
        command.args(["data", "serve", folder]).stderr(Stdio::piped());
        let mut owner = command.spawn()?;
        let said = owner.stderr.take().ok_or("no standard error")?;
        let line = timeout(PATIENCE, BufReader::new(said).lines().next_line()).await;
        let line = line.map_err(|_| "the folder was not owned in time")??.unwrap_or_default();
        narrator::command(&format!("micro data serve {folder} &"), &line);
        if line.contains(" owns ") { Ok(owner) } else { Err("the folder should be owned".into()) }
    }

    /// As [`Fleet::micro`], for a command that is meant to fail.
    pub(crate) async fn micro_fails(&self, arguments: &[&str]) -> Outcome<String> {
        let (printed, succeeded) = self.run(arguments).await?;
        if succeeded { Err("this command should fail".into()) } else { Ok(printed) }
    }

    async fn run(&self, arguments: &[&str]) -> Outcome<(String, bool)> {
        let output = timeout(PATIENCE, self.program("micro").args(arguments).output())
            .await
            .map_err(|_| format!("micro {} took too long", arguments.join(" ")))??;
        let mut printed = String::from_utf8_lossy(&output.stdout).into_owned();
        printed.push_str(&String::from_utf8_lossy(&output.stderr));
        let shown: Vec<String> = arguments.iter().map(|argument| quoted(argument)).collect();
        narrator::command(&format!("micro {}", shown.join(" ")), &printed);
        Ok((printed, output.status.success()))
    }
}

/// An argument as one types it into a shell.
fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./:".contains(c);
    if argument.chars().all(plain) { argument.to_owned() } else { format!("'{argument}'") }
}
