//! What of go-micro is here: the rows of `docs/go-micro.toml`, each with the tests that prove it.
//!
//! A row is `yes`, `differs` or `no`. The first two name tests, as `` path/of/the/file::name_of_the_test ``; the last two say why.
//! Without options this task writes the tables of `docs/go-micro.md`, and with `--check` it compares them. Either way it refuses
//! rows that are missing, that are there twice, or that name a test which no file has. With `--ran` it reads what a run of
//! `scripts/test` printed, and refuses a test that is named and did not pass there.

mod cited;
mod page;
mod ran;
mod table;
#[cfg(test)]
mod tests;

use std::fs;
use std::path::{Path, PathBuf};

use self::ran::{Run, Verdict};
use self::table::Table;
use crate::Outcome;

const DATA: &str = "docs/go-micro.toml";
const PAGE: &str = "docs/go-micro.md";

/// Options of `cargo xtask parity`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Compare the page with the rows instead of writing it.
    #[arg(long)]
    check: bool,
    /// Look for the tests in what a run of `scripts/test` printed: the folder with its `transcript`, `skips` and `skipped`.
    #[arg(long, conflicts_with = "check")]
    ran: Option<PathBuf>,
}

pub(crate) fn run(root: &Path, options: &Options) -> Outcome {
    let table = Table::read(&fs::read_to_string(root.join(DATA))?)
        .map_err(|error| format!("{DATA}: {error}"))?;
    let read = |path: &str| fs::read_to_string(root.join(path)).ok();
    let mut breaches = table.breaches();
    breaches.extend(cited::breaches(&table, read));
    if !breaches.is_empty() {
        return Err(format!("{DATA}:\n  {}", breaches.join("\n  ")).into());
    }
    if let Some(folder) = &options.ran {
        return proven(&table, &Run::read(folder)?, read);
    }
    let before = fs::read_to_string(root.join(PAGE))?;
    let after = page::with_tables(&before, &table).map_err(|error| format!("{PAGE}: {error}"))?;
    if options.check {
        if before != after {
            return Err(
                format!("{PAGE} was not written from {DATA}: run `cargo xtask parity`").into()
            );
        }
    } else {
        fs::write(root.join(PAGE), after)?;
    }
    println!("{}", page::counts(&table));
    Ok(())
}

/// Whether every test that a row names has passed in the run.
fn proven(table: &Table, run: &Run, read: impl Fn(&str) -> Option<String>) -> Outcome {
    let (mut passed, mut unable, mut missing) = (0, 0, Vec::new());
    for (row, test) in table.cited() {
        match run.verdict(test, &read) {
            Verdict::Passed => passed += 1,
            Verdict::Unable => {
                unable += 1;
                println!("{}: not proven here, a toolchain is missing: {test}", row.id);
            }
            Verdict::Failed => missing.push(format!("{}: did not pass: {test}", row.id)),
            Verdict::Absent => missing.push(format!("{}: did not run: {test}", row.id)),
        }
    }
    if !missing.is_empty() {
        return Err(format!("{DATA}:\n  {}", missing.join("\n  ")).into());
    }
    println!("{passed} tests that rows name have passed, {unable} could not run here");
    Ok(())
}
