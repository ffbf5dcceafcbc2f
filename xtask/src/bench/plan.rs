//! How a run is carried out: which programs, how many rounds, how long each.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tempfile::TempDir;
use tokio::process::Command;

use super::options::Options;
use super::row::{Round, Row, Sample, Spec};
use crate::Outcome;

/// The side that is being measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Ours,
    Peer,
}

/// Where a program runs. Left to itself the scheduler now and then puts both ends of a connection
/// on one core, and a round tells more about that than about the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    /// The upper half of the cores, for the program being measured.
    Measured,
    /// The lower half, for whatever calls it or is called by it.
    OtherEnd,
}

/// What every row needs to know.
pub(crate) struct Plan {
    programs: PathBuf,
    scratch: TempDir,
    rows: Vec<String>,
    rounds: usize,
    slice: Duration,
    slices: usize,
    noise: bool,
    quick: bool,
}

impl Plan {
    pub(crate) fn new(root: &Path, options: &Options) -> Outcome<Self> {
        let quick = options.quick;
        Ok(Self {
            programs: build(root, quick)?,
            scratch: tempfile::tempdir()?,
            rows: options.rows.clone(),
            rounds: if quick { 1 } else { options.rounds.clamp(1, 50) },
            slice: Duration::from_millis(if quick { 50 } else { 150 }),
            slices: if quick { 1 } else { 10 },
            noise: options.noise,
            quick,
        })
    }

    /// How long one side works before it is the other's turn.
    pub(crate) fn slice(&self) -> Duration {
        self.slice
    }

    /// Slices of each side in one round.
    pub(crate) fn slices(&self) -> usize {
        self.slices
    }

    /// Whether the run only proves that every row works.
    pub(crate) fn is_quick(&self) -> bool {
        self.quick
    }

    /// A folder for files of this run.
    pub(crate) fn scratch(&self) -> &Path {
        self.scratch.path()
    }

    /// The folder of what cargo has built.
    pub(crate) fn programs(&self) -> &Path {
        &self.programs
    }

    /// A program of `bench-peers`.
    pub(crate) fn program(&self, name: &str) -> Command {
        Command::new(self.programs.join(format!("{name}{}", std::env::consts::EXE_SUFFIX)))
    }

    /// The `kind` of program (`server` or `client`) of `side`.
    pub(crate) fn side(&self, side: Side, kind: &str) -> Command {
        let family = if self.is_ours(side) { "micro" } else { "tonic" };
        self.program(&format!("{family}-{kind}"))
    }

    /// The same, on one half of the cores and with as many worker threads.
    pub(crate) fn side_on(&self, half: Half, side: Side, kind: &str) -> Command {
        half.run(&self.side(side, kind))
    }

    /// Whether `side` runs our program; in a noise run neither does.
    pub(crate) fn is_ours(&self, side: Side) -> bool {
        side == Side::Ours && !self.noise
    }

    /// Measures each side once per round, by turns.
    pub(crate) async fn pair(
        &self,
        spec: &Spec,
        measure: impl AsyncFn(Side) -> Outcome<Sample>,
    ) -> Option<Row> {
        self.row(spec, async |number| {
            // The side that goes second finds a warmer, and perhaps slower, machine: take turns.
            let (ours, peer) = if number % 2 == 0 {
                let ours = measure(Side::Ours).await?;
                (ours, measure(Side::Peer).await?)
            } else {
                let peer = measure(Side::Peer).await?;
                (measure(Side::Ours).await?, peer)
            };
            Ok(Round { ours, peer: Some(peer) })
        })
        .await
    }

    /// Whether our programs run at all.
    pub(crate) fn has_ours(&self) -> bool {
        !self.noise
    }

    /// Measures our side alone.
    pub(crate) async fn alone(
        &self,
        spec: &Spec,
        measure: impl AsyncFn() -> Outcome<Sample>,
    ) -> Option<Row> {
        self.row(spec, async |_| Ok(Round { ours: measure().await?, peer: None })).await
    }

    /// Measures every round of a row and sums up; `None` if the row was not asked for.
    pub(crate) async fn row(
        &self,
        spec: &Spec,
        round: impl AsyncFn(usize) -> Outcome<Round>,
    ) -> Option<Row> {
        if !self.is_asked_for(spec.id) {
            return None;
        }
        let mut rounds = Vec::new();
        for number in 0..self.rounds {
            match round(number).await {
                Ok(measured) => rounds.push(measured),
                Err(error) => {
                    println!("{}: {error}", spec.id);
                    return Some(Row::failed(spec, error.to_string()));
                }
            }
        }
        let row = Row::measured(spec, &rounds, !self.quick && !self.noise);
        println!("{}", super::report::line(&row));
        Some(row)
    }

    /// Whether the options name `id` or a dotted beginning of it.
    pub(crate) fn is_asked_for(&self, id: &str) -> bool {
        self.rows.is_empty()
            || self.rows.iter().any(|name| {
                id.strip_prefix(name.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
    }
}

impl Half {
    /// `command` on this half of the cores, with as many worker threads.
    pub(crate) fn run(self, command: &Command) -> Command {
        let mut pinned = self.pin(command);
        pinned.args(["--workers", &half_of_cores().to_string()]);
        pinned
    }

    /// `command` without its arguments, on this half of the cores; anywhere if there is only one,
    /// or no `taskset`.
    pub(crate) fn pin(self, command: &Command) -> Command {
        let program = command.as_std().get_program();
        let half = half_of_cores();
        let last = match self {
            Self::OtherEnd => half - 1,
            Self::Measured => 2 * half - 1,
        };
        let list = format!("{}-{last}", last + 1 - half);
        let works = std::process::Command::new("taskset").args(["-c", &list, "true"]).status();
        if !works.is_ok_and(|status| status.success()) {
            return Command::new(program);
        }
        let mut pinned = Command::new("taskset");
        pinned.args(["-c", &list]).arg(program);
        pinned
    }
}

fn half_of_cores() -> usize {
    (std::thread::available_parallelism().map_or(1, usize::from) / 2).max(1)
}

/// A line of `cargo build --message-format=json`.
#[derive(Deserialize)]
struct Built {
    executable: Option<PathBuf>,
}

/// Beginnings of the variables that cargo sets for the program it runs.
const OWN_VARIABLES: [&str; 2] = ["CARGO_PKG_", "CARGO_MANIFEST_"];

/// Builds the programs and returns their folder. Debug builds are enough to see that they work.
fn build(root: &Path, debug: bool) -> Outcome<PathBuf> {
    let mut cargo = std::process::Command::new(env!("CARGO"));
    // What cargo told this program about itself makes some build scripts run anew.
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|name| OWN_VARIABLES.iter().any(|own| name.starts_with(own))) {
            cargo.env_remove(name);
        }
    }
    let output = cargo
        .args(["build", "--package", "bench-peers", "--bins", "--locked"])
        .args((!debug).then_some("--release"))
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err("the peers of the benchmark do not build".into());
    }
    String::from_utf8(output.stdout)?
        .lines()
        .filter_map(|line| serde_json::from_str::<Built>(line).ok()?.executable)
        .find_map(|program| program.parent().map(Path::to_path_buf))
        .ok_or_else(|| io::Error::other("cargo built no program of bench-peers").into())
}
