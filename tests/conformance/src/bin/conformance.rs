//! Plays every scenario with every client against every server.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command talks to its terminal")]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use micro_conformance::runner::{
    Adapter, Adapters, Cell, CellReport, Matrix, Options, Outcome, RegistryReport, Scenario,
    Verdict, keeps_contract, load,
};

#[derive(Parser)]
#[command(about = "Plays every scenario with every client against every server")]
struct Arguments {
    /// Languages and how their adapters are started.
    #[arg(long, default_value_os_t = own_folder().join("adapters.toml"))]
    adapters: PathBuf,
    /// Folder of scenarios.
    #[arg(long, default_value_os_t = own_folder().join("scenarios"))]
    scenarios: PathBuf,
    /// Only clients of these languages.
    #[arg(long, value_delimiter = ',')]
    client: Vec<String>,
    /// Only servers of these languages.
    #[arg(long, value_delimiter = ',')]
    server: Vec<String>,
    /// Scenarios at once.
    #[arg(long, default_value_t = 6)]
    jobs: usize,
    /// Folder for the matrix, for `cargo xtask conformance`; written only when everything was played.
    #[arg(long, env = "MICRO_REPORTS")]
    reports: Option<PathBuf>,
    /// Print the names of scenarios and play nothing.
    #[arg(long)]
    list: bool,
    /// Only scenarios with one of these words in their names; `contract` is that of registries.
    words: Vec<String>,
}

/// Stands for the contract of registries among the names of scenarios.
const CONTRACT: &str = "contract";

fn own_folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// True when nothing failed.
async fn run(arguments: Arguments) -> Outcome<bool> {
    let begun = Instant::now();
    let all = load(&arguments.scenarios)?;
    let chosen = |scenario: &Scenario| {
        arguments.words.is_empty()
            || arguments.words.iter().any(|word| scenario.name.contains(word.as_str()))
    };
    let scenarios: Vec<Scenario> = all.iter().filter(|it| chosen(it)).cloned().collect();
    if arguments.list {
        scenarios.iter().for_each(|scenario| println!("{}", scenario.name));
        return Ok(true);
    }
    let contract =
        arguments.words.is_empty() || arguments.words.iter().any(|word| word == CONTRACT);
    if scenarios.is_empty() && !contract {
        return Err("no scenario has such a name: `--list` tells them all".into());
    }
    let root = own_folder().join("../..");
    let program = std::env::current_exe()?;
    let bin = program.parent().unwrap_or(Path::new("."));
    let adapters = Adapters::load(&arguments.adapters, &root, bin)?;
    let wanted =
        |names: &[String], adapter: &Adapter| names.is_empty() || names.contains(&adapter.name);
    let (mut there, mut missing) = (Vec::new(), 0);
    for adapter in &adapters.adapter {
        adapter.check(&all)?;
        if !wanted(&arguments.client, adapter) && !wanted(&arguments.server, adapter) {
            continue;
        }
        match adapter.missing() {
            // As cargo prints a test that it leaves out; `scripts/test` counts it.
            Some(program) => {
                println!("test {} ... ignored, {program} is missing", adapter.name);
                missing += 1;
            }
            None => {
                adapter.prepare(&root)?;
                there.push(adapter);
            }
        }
    }
    let mut matrix = Matrix { scenarios: scenarios.len(), ..Matrix::default() };
    let mut failures = Vec::new();
    for client in there.iter().filter(|adapter| wanted(&arguments.client, adapter)) {
        for server in there.iter().filter(|adapter| wanted(&arguments.server, adapter)) {
            let name = format!("{}->{}", client.name, server.name);
            let tell = |scenario: &Scenario, verdict: &Verdict| {
                let said = match verdict {
                    Verdict::Passed => "ok".to_owned(),
                    Verdict::Failed(_) => "FAILED".to_owned(),
                    Verdict::Skipped(reason) => format!("left out, {reason}"),
                };
                println!("test {name}/{} ... {said}", scenario.name);
            };
            let cell = Cell::new(client, server)?;
            let told = std::sync::Mutex::new(Vec::new());
            let verdicts = cell
                .play(&scenarios, Options { jobs: arguments.jobs }, |scenario, verdict| {
                    tell(scenario, verdict);
                    if let (Verdict::Failed(reason), Ok(mut told)) = (verdict, told.lock()) {
                        told.push(format!("---- {name}/{} ----\n{reason}", scenario.name));
                    }
                })
                .await;
            failures.extend(told.into_inner().unwrap_or_default());
            matrix.cells.push(CellReport::of(&client.name, &server.name, &verdicts));
        }
    }
    let providing: Vec<&Adapter> = there
        .iter()
        .filter(|adapter| contract && adapter.registry && wanted(&arguments.client, adapter))
        .copied()
        .collect();
    // At once: most of it is waiting for records to expire.
    let kept = futures_util::future::join_all(providing.iter().map(|adapter| {
        keeps_contract(adapter, |case, verdict| {
            let said = if *verdict == Verdict::Passed { "ok" } else { "FAILED" };
            println!("test {}/contract/{} ... {said}", adapter.name, case.name());
        })
    }));
    for (adapter, verdicts) in providing.iter().zip(kept.await) {
        let verdicts = verdicts?;
        for verdict in &verdicts {
            if let Verdict::Failed(reason) = verdict {
                failures.push(format!("---- {}/contract ----\n{reason}", adapter.name));
            }
        }
        matrix.registries.push(RegistryReport::of(&adapter.name, &verdicts));
    }
    for failure in &failures {
        println!("\n{failure}");
    }
    let sum = |count: fn(&CellReport) -> usize| matrix.cells.iter().map(count).sum::<usize>();
    let kept: usize = matrix.registries.iter().map(|registry| registry.passed).sum();
    let broken: usize = matrix.registries.iter().map(|registry| registry.failed).sum();
    let (passed, failed) = (sum(|cell| cell.passed) + kept, sum(|cell| cell.failed) + broken);
    let fine = failed == 0 && (missing == 0 || std::env::var("CI").as_deref() != Ok("true"));
    println!(
        "\ntest result: {}. {passed} passed; {failed} failed; {missing} ignored; {} left out; finished in {:.2}s",
        if fine { "ok" } else { "FAILED" },
        sum(|cell| cell.skipped),
        begun.elapsed().as_secs_f64(),
    );
    let whole =
        arguments.words.is_empty() && arguments.client.is_empty() && arguments.server.is_empty();
    if let (Some(folder), true) = (&arguments.reports, whole) {
        matrix.record(folder)?;
    }
    Ok(fine)
}
