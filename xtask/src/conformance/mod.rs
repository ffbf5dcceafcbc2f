//! `docs/conformance.md`: what every language does alike, and what suites that others wrote say of us, as the last run heard it.
//!
//! `tests/conformance` leaves the matrix of languages, and tests that run a suite leave a report each (see `tests/src/suite.rs`).
//! Without options this task writes the page and its data from them; with `--check` it fails when they and the page disagree.

mod matrix;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Outcome;
use matrix::Matrix;

const PAGE: &str = "docs/conformance.md";
const DATA: &str = "docs/conformance.json";

/// Options of `cargo xtask conformance`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Compare the run with the page instead of writing it; with CI=true a suite that did not run is a difference too.
    #[arg(long)]
    check: bool,
    /// Folder of the reports.
    #[arg(long, env = "MICRO_REPORTS")]
    reports: Option<PathBuf>,
}

/// One suite against one side of the framework.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Report {
    suite: String,
    version: String,
    tested: String,
    passed: usize,
    failed: usize,
    known: Vec<Known>,
}

/// A case that is left out or may fail.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    case: String,
    reason: String,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Data {
    #[serde(flatten)]
    matrix: Matrix,
    suites: Vec<Report>,
}

/// Writes the page from the reports of the last run, or compares it with them.
pub(crate) fn run(root: &Path, options: &Options) -> Outcome {
    let folder = match &options.reports {
        Some(folder) => folder.clone(),
        None => target(root).join("conformance"),
    };
    let ran = Data { matrix: Matrix::read(&folder)?, suites: read(&folder)? };
    if options.check {
        let published = serde_json::from_str(&fs::read_to_string(root.join(DATA))?)?;
        let ci = std::env::var("CI").as_deref() == Ok("true");
        let different = differences(&published, &ran, ci);
        let page = fs::read_to_string(root.join(PAGE))?;
        if page != render(&published) {
            return Err(format!(
                "{PAGE} was not written from {DATA}: run `cargo xtask conformance`"
            )
            .into());
        }
        return match different.as_slice() {
            [] => Ok(()),
            lines => Err(format!(
                "{}\nwhen the run is right, `cargo xtask conformance` writes it to {PAGE}",
                lines.join("\n")
            )
            .into()),
        };
    }
    if ran.suites.is_empty() && ran.matrix.cells.is_empty() {
        return Err(format!("no reports in {}: run `make test` first", folder.display()).into());
    }
    fs::write(root.join(DATA), format!("{}\n", serde_json::to_string_pretty(&ran)?))?;
    fs::write(root.join(PAGE), render(&ran))?;
    let (cells, suites) = (ran.matrix.cells.len(), ran.suites.len());
    println!("wrote {PAGE} and {DATA} from {cells} cells and {suites} reports");
    Ok(())
}

fn target(root: &Path) -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), Into::into)
}

/// Every report of the folder, by suite and side.
fn read(folder: &Path) -> Outcome<Vec<Report>> {
    let mut reports = BTreeMap::new();
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("cannot read {}: {error}", folder.display()).into()),
    };
    for entry in entries {
        let path = entry?.path();
        if path.ends_with(matrix::FILE) {
            continue;
        }
        let report: Report = serde_json::from_str(&fs::read_to_string(&path)?)
            .map_err(|error| format!("{} is no report: {error}", path.display()))?;
        reports.insert((report.suite.clone(), report.tested.clone()), report);
    }
    Ok(reports.into_values().collect())
}

/// What the page says and the run does not, a line each.
fn differences(published: &Data, ran: &Data, complete: bool) -> Vec<String> {
    let find = |data: &Data, like: &Report| {
        data.suites
            .iter()
            .find(|report| report.suite == like.suite && report.tested == like.tested)
            .cloned()
    };
    let mut lines = published.matrix.differences(&ran.matrix, complete);
    for report in &ran.suites {
        let name = format!("{} ({})", report.suite, report.tested);
        match find(published, report) {
            None => lines.push(format!("{name} ran and is not on the page")),
            Some(before) if before != *report => lines.push(format!(
                "{name}: the page says {}, the run says {}",
                summary(&before),
                summary(report)
            )),
            Some(_) => {}
        }
    }
    for report in &published.suites {
        if find(ran, report).is_none() {
            let line =
                format!("{} ({}) is on the page and did not run", report.suite, report.tested);
            if complete {
                lines.push(line);
            } else {
                println!("{line}");
            }
        }
    }
    lines
}

fn summary(report: &Report) -> String {
    let Report { version, passed, failed, known, .. } = report;
    let known = known.iter().map(|known| known.case.as_str()).collect::<Vec<_>>().join(", ");
    format!("{version}: {passed} passed, {failed} failed, known [{known}]")
}

fn render(data: &Data) -> String {
    let mut page = String::from(
        "# Conformance\n\n\
         <!-- Written by `cargo xtask conformance` from the reports of a run of `make test`; not by hand. -->\n",
    );
    page += &data.matrix.render();
    page += "\n## Suites\n\n\
         What suites say of this framework, most of them written by others. `make test` runs them all and fails when a \
         case fails or when this page says something else than the run. Foreign tools are fetched as pinned modules.\n\n\
         | suite | version | tested | passed | failed | known |\n\
         |---|---|---|---:|---:|---:|\n";
    let mut known = String::new();
    for Report { suite, version, tested, passed, failed, known: cases } in &data.suites {
        // Writing to a string cannot fail.
        let _ = writeln!(
            page,
            "| {suite} | {version} | {tested} | {passed} | {failed} | {} |",
            cases.len()
        );
        if !cases.is_empty() {
            let _ = write!(known, "\n### {suite}: {tested}\n\n");
            for Known { case, reason } in cases {
                let _ = writeln!(known, "- `{case}`: {reason}");
            }
        }
    }
    if !known.is_empty() {
        page += "\n## Known\n\nCases that are left out or may fail, and why.\n";
        page += &known;
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(suite: &str, passed: usize, known: &[&str]) -> Report {
        let known = known
            .iter()
            .map(|case| Known { case: (*case).into(), reason: "none".into() })
            .collect();
        let (version, tested) = ("v1".into(), "server".into());
        Report { suite: suite.into(), version, tested, passed, failed: 0, known }
    }

    #[test]
    fn a_run_that_says_the_same_has_no_differences() {
        let data =
            || Data { matrix: Matrix::default(), suites: vec![report("h2spec", 3, &["one"])] };
        assert_eq!(differences(&data(), &data(), true), Vec::<String>::new());
    }

    #[test]
    fn other_counts_other_known_cases_and_new_suites_are_differences() {
        let published = Data {
            matrix: Matrix::default(),
            suites: vec![report("a", 3, &[]), report("b", 3, &[])],
        };
        let ran = Data {
            matrix: Matrix::default(),
            suites: vec![report("a", 2, &[]), report("b", 3, &["x"]), report("c", 1, &[])],
        };
        let lines = differences(&published, &ran, false);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].contains("3 passed") && lines[0].contains("2 passed"), "{lines:?}");
        assert!(lines[1].contains("[x]"), "{lines:?}");
        assert!(lines[2].contains("not on the page"), "{lines:?}");
    }

    #[test]
    fn a_suite_that_did_not_run_matters_only_where_everything_must_run() {
        let published = Data { matrix: Matrix::default(), suites: vec![report("a", 3, &[])] };
        let ran = Data { matrix: Matrix::default(), suites: Vec::new() };
        assert!(differences(&published, &ran, false).is_empty());
        assert_eq!(differences(&published, &ran, true).len(), 1);
    }

    #[test]
    fn reports_are_read_by_suite_and_rendered_with_their_reasons() {
        let folder = tempfile::tempdir().unwrap();
        for (name, suite) in [("2", "b"), ("1", "c"), ("3", "a")] {
            let text = serde_json::to_string(&report(suite, 7, &["case"])).unwrap();
            fs::write(folder.path().join(name), text).unwrap();
        }
        let data = Data { matrix: Matrix::default(), suites: read(folder.path()).unwrap() };
        let names: Vec<_> = data.suites.iter().map(|report| report.suite.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        let page = render(&data);
        assert!(page.contains("| b | v1 | server | 7 | 0 | 1 |\n"), "{page}");
        assert!(page.contains("### b: server\n\n- `case`: none\n"), "{page}");
    }

    #[test]
    fn the_matrix_is_no_report_and_opens_the_page() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(matrix::FILE), "{}").unwrap();
        assert!(read(folder.path()).unwrap().is_empty());
        let text = r#"{ "scenarios": 1, "suites": [], "cells": [
            { "client": "c", "server": "go", "passed": 1, "failed": 0, "skipped": 0 }] }"#;
        let page = render(&serde_json::from_str(text).unwrap());
        let (languages, suites) = page.split_once("## Suites").unwrap();
        assert!(languages.contains("| c | 1 / 1 |") && !suites.contains("1 / 1"), "{page}");
    }

    #[test]
    fn a_file_that_is_no_report_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("broken.json"), "{}").unwrap();
        let error = read(folder.path()).unwrap_err().to_string();
        assert!(error.contains("broken.json"), "{error}");
    }
}
