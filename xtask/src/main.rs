//! Project tasks, one verifier with one job each: `cargo xtask --help` lists them.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command talks to its terminal")]

mod abi;
mod bench;
mod circles;
mod conformance;
mod outcome;
mod parity;
mod policy;
mod promises;
mod proto;
mod settings;
mod surface;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use outcome::Outcome;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Tasks of the micro project", version)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Write the C header and what programs rely on, or compare them; check the built library.
    Abi(abi::Options),
    /// Measure the framework next to bare tonic; writes `docs/benchmarks.md`.
    Bench(bench::Options),
    /// Check that no files of a crate import each other in a circle.
    Circles,
    /// Write `docs/conformance.md` from the reports of the last run, or compare them.
    Conformance(conformance::Options),
    /// Write the tables of `docs/go-micro.md` from its rows, or compare them; check that their tests exist, and ran.
    Parity(parity::Options),
    /// Check licences, sources and banned crates of every dependency against `deny.toml`.
    Policy,
    /// Check that every promise of `docs/promises.md` has its tests.
    Promises,
    /// Generate the Rust types and descriptors of `core/proto`.
    Proto(proto::Options),
    /// Write the table of settings into `docs/configuration.md`, or compare it.
    Settings(settings::Options),
    /// Check that every language has every operation of the bridge; write `docs/matrix.md`, or compare it.
    Surface(surface::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Abi(options) => abi::run(&root(), &options),
        Task::Bench(options) => bench::run(&root(), &options),
        Task::Circles => circles::run(&root()),
        Task::Conformance(options) => conformance::run(&root(), &options),
        Task::Parity(options) => parity::run(&root(), &options),
        Task::Policy => policy::run(&root()),
        Task::Promises => promises::run(&root()),
        Task::Proto(options) => proto::run(&root(), &options),
        Task::Settings(options) => settings::run(&root(), &options),
        Task::Surface(options) => surface::run(&root(), &options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the workspace, wherever the task is started from.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
