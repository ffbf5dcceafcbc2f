//! What a run of `scripts/test` printed, and what became of a test in it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::cited::{self, contract_of};
use crate::Outcome;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Passed,
    Failed,
    /// It did not run, and nothing says why.
    Absent,
    /// It did not run because this machine lacks a toolchain, which the run has said.
    Unable,
}

/// A run: the tests that it told of, and what it left out.
#[derive(Debug, Default)]
pub(super) struct Run {
    /// Tests of Rust and C, and scenarios: the program that ran them, their name, and whether they passed each time.
    told: BTreeMap<(String, String), bool>,
    /// Tests of Python by file and name, without parameters.
    python: BTreeMap<(String, String), bool>,
    /// Files of Python with tests that skipped themselves.
    skipped_files: Vec<String>,
    /// Names of tests that skipped themselves.
    skips: Vec<String>,
    /// Steps that were left out.
    steps: Vec<String>,
}

/// Whether a scenario that was played is that of a name, in which `$word` stands for any text.
fn is_of(name: &str, played: &str) -> bool {
    let mut parts = name.split('$');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = played.strip_prefix(first) else { return false };
    for part in parts {
        let text =
            part.trim_start_matches(|letter: char| letter.is_alphanumeric() || letter == '_');
        // The last one ends the name.
        let Some(at) = rest.rfind(text) else { return false };
        rest = &rest[at + text.len()..];
    }
    rest.is_empty()
}

impl Run {
    /// # Errors
    /// When the folder has no transcript.
    pub(super) fn read(folder: &Path) -> Outcome<Self> {
        let text = |name: &str| fs::read_to_string(folder.join(name));
        let transcript = text("transcript").map_err(|error| {
            format!("{} has no transcript of `scripts/test`: {error}", folder.display())
        })?;
        // Nothing was skipped where these are not there.
        let (skips, steps) =
            (text("skips").unwrap_or_default(), text("skipped").unwrap_or_default());
        Ok(Self::parse(&transcript, &skips, &steps))
    }

    pub(super) fn parse(transcript: &str, skips: &str, steps: &str) -> Self {
        let mut run = Self {
            skips: skips.lines().filter_map(|line| Some(line.split_once(": ")?.0.into())).collect(),
            steps: steps.lines().map(str::to_owned).collect(),
            ..Self::default()
        };
        let mut program = String::new();
        for line in transcript.lines().map(str::trim) {
            if let Some(running) = line.strip_prefix("Running ") {
                running.strip_prefix("unittests ").unwrap_or(running).clone_into(&mut program);
                program.truncate(program.find(" (").unwrap_or(program.len()));
            } else if line.starts_with("==> ") {
                program.clear();
            } else if let Some((name, verdict)) =
                line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... "))
            {
                let passed = match verdict.split([' ', ',']).next() {
                    Some("ok") => true,
                    Some("FAILED") => false,
                    // Ignored, or left out.
                    _ => continue,
                };
                let name = name.strip_suffix(" - should panic").unwrap_or(name);
                let key = (program.clone(), name.to_owned());
                run.told.entry(key).and_modify(|before| *before &= passed).or_insert(passed);
            } else {
                run.python_line(line);
            }
        }
        run
    }

    /// A line of pytest's summary: `PASSED tests/test_a.py::test_b[c]`.
    fn python_line(&mut self, line: &str) {
        let Some((word, rest)) = line.split_once(' ') else { return };
        let passed = match word {
            "PASSED" => true,
            "FAILED" | "ERROR" => false,
            "SKIPPED" => {
                let file = rest.split(' ').find_map(|part| part.split_once(".py:"));
                self.skipped_files.extend(file.map(|(file, _)| format!("{}.py", last(file, "/"))));
                return;
            }
            _ => return,
        };
        let Some((file, name)) = rest.split(' ').next().and_then(|test| test.split_once("::"))
        else {
            return;
        };
        let key = (last(file, "/").into(), name.split('[').next().unwrap_or(name).to_owned());
        self.python.entry(key).and_modify(|before| *before &= passed).or_insert(passed);
    }

    /// What became of the test `path/of/the/file::name`.
    pub(super) fn verdict(&self, test: &str, read: impl Fn(&str) -> Option<String>) -> Verdict {
        let Some((path, name)) = cited::parts(test) else { return Verdict::Absent };
        match path.rsplit_once('.').map(|(_, kind)| kind) {
            _ if contract_of(path).is_some() => {
                self.all(|_, told| told.ends_with(&format!("contract_suite::{name}")))
            }
            Some("py") => self.of_python(path, name),
            Some("c") => {
                // After the way it was built and, where they are many, the file.
                let parts = |told: &str| told.matches("::").count();
                self.all(|_, told| last(told, "::") == name && (1..=2).contains(&parts(told)))
            }
            Some("toml") => {
                let scenario = format!("{}/{name}", last(path, "/").trim_end_matches(".toml"));
                self.all(|program, told| {
                    let played = told.split_once('/').map(|(_, played)| played);
                    program.is_empty() && played.is_some_and(|played| is_of(&scenario, played))
                })
            }
            _ => {
                let inside = read(path).and_then(|source| cited::path_in_file(&source, name));
                let Some((program, module)) = program_of(path) else { return Verdict::Absent };
                let full = [module, inside.unwrap_or_else(|| name.to_owned())]
                    .into_iter()
                    .filter(|part| !part.is_empty())
                    .collect::<Vec<_>>()
                    .join("::");
                // cargo says that a test has passed which skipped itself.
                if self.skips.iter().any(|skipped| *skipped == full || last(skipped, "::") == name)
                {
                    return Verdict::Unable;
                }
                self.all(|ran, told| ran.starts_with(&program) && told == full)
            }
        }
    }

    fn of_python(&self, path: &str, name: &str) -> Verdict {
        let file = last(path, "/");
        match self.python.get(&(file.to_owned(), name.to_owned())) {
            Some(true) => Verdict::Passed,
            Some(false) => Verdict::Failed,
            None if self.steps.iter().any(|step| step.starts_with("Python")) => Verdict::Unable,
            None if self.skipped_files.iter().any(|skipped| skipped == file) => Verdict::Unable,
            None => Verdict::Absent,
        }
    }

    /// The verdict over all tests that are meant.
    fn all(&self, is_meant: impl Fn(&str, &str) -> bool) -> Verdict {
        let meant = self.told.iter().filter(|((program, name), _)| is_meant(program, name));
        match meant.map(|(_, passed)| *passed).reduce(|all, passed| all && passed) {
            Some(true) => Verdict::Passed,
            Some(false) => Verdict::Failed,
            None => Verdict::Absent,
        }
    }
}

/// What follows the last `separator`.
fn last<'a>(text: &'a str, separator: &str) -> &'a str {
    text.rsplit(separator).next().unwrap_or(text)
}

/// How the program begins that has the tests of a file, as cargo prints it, and the module they are in.
fn program_of(path: &str) -> Option<(String, String)> {
    let path = path.strip_suffix(".rs")?;
    if let Some((_, test)) = path.rsplit_once("/tests/").filter(|_| !path.contains("/src/")) {
        return Some(match test.split_once('/') {
            None => (format!("tests/{test}.rs"), String::new()),
            // A module that one of the files beside it has.
            Some((folder, "mod")) => ("tests/".to_owned(), folder.to_owned()),
            Some((folder, module)) => (format!("tests/{folder}/main.rs"), module_of(module)),
        });
    }
    let (_, source) = path.split_once("/src/")?;
    Some(("src/".into(), module_of(source)))
}

/// `a/b/mod` and `a/b` are `a::b`; the files in which a crate begins are no module.
fn module_of(path: &str) -> String {
    let path = path.strip_suffix("/mod").unwrap_or(path);
    if matches!(path, "main" | "lib" | "mod") { String::new() } else { path.replace('/', "::") }
}
