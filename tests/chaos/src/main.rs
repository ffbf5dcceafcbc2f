//! A fleet of services as processes of their own, under load, while things go wrong: `make chaos`.
//!
//! Every run prints its seed; the same seed makes the same plan of faults. What is measured and what
//! is promised stands in [`scenario`], one file per scenario.
//!
//! * [`node`]: the process of one service
//! * [`fleet`]: starts, stops, kills and pauses them
//! * [`crew`]: the same of processes that share a durable broker, and a ledger of what they say
//! * [`link`]: the way from a caller to a node, which can be slow or stall
//! * [`load`]: calls at a steady rate, whether or not the ones before were answered
//! * [`report`]: what became of them
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command talks to its terminal")]

mod crew;
mod fleet;
mod link;
mod load;
mod network;
mod node;
mod options;
mod outcome;
mod report;
mod scenario;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use options::Options;
use outcome::Outcome;

#[derive(Parser)]
#[command(name = "chaos", about = "Breaks a fleet in every way and counts what its callers notice")]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Subcommand)]
enum Command {
    /// Runs one service; started by the others.
    #[command(hide = true)]
    Node(node::Options),
    /// Publishes or consumes; started by the others.
    #[command(hide = true)]
    Worker(crew::worker::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let ended = match arguments.command {
        Some(Command::Node(options)) => node::run(&options).map(|()| true),
        Some(Command::Worker(options)) => crew::worker::run(&options).map(|()| true),
        None => network::alone(|| run(&arguments.options)),
    };
    match ended {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the scenarios; true when all met their targets.
fn run(options: &Options) -> Outcome<bool> {
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    println!("seed {seed}");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let mut results = Vec::new();
    let names = if options.only.is_empty() { &scenario::Name::ALL[..] } else { &options.only };
    for name in names {
        let seconds = (options.seconds.max(20) as f64) * name.share(names);
        let plan = scenario::Plan {
            seed,
            time: Duration::from_secs_f64(seconds),
            bounded: options.bounded,
        };
        println!("\n{name}: {}", name.about());
        let result = match runtime.block_on(scenario::run(*name, &plan)) {
            Ok(result) => result,
            Err(error) => report::Scenario::broken(*name, &error.to_string()),
        };
        print!("{}", report::text(&result));
        results.push(result);
    }
    runtime.shutdown_timeout(Duration::from_secs(1));
    let met = results.iter().all(report::Scenario::met);
    report::write(options, seed, &results)?;
    println!("\n{}", if met { "every target was met" } else { "a target was missed" });
    Ok(met)
}
