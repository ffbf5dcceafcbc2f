//! The suite itself: built from its Go module, run, and read.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::suite::Report;
use crate::toolchain::{Missing, Need, exists, interop, lock, run as run_to_end};

/// In seconds: less than a test may take.
const LONGEST_RUN: &str = "55";
const MODULE: &str = "connectrpc.com/conformance";

/// Builds the suite next to the test binaries, once per process; Go's own cache makes it quick after that.
pub(crate) fn build() -> Result<PathBuf, Missing> {
    static BUILT: OnceLock<Result<PathBuf, Missing>> = OnceLock::new();
    let build = || {
        if !exists("go", "version") {
            return Err(Missing("no go toolchain".into()));
        }
        let folder = std::env::current_exe().unwrap().with_file_name("connectconformance");
        let _lock = lock(&folder);
        let suite = folder.join("connectconformance");
        run_to_end(
            Command::new("go")
                .args(["build", "-o"])
                .arg(&suite)
                .arg(format!("{MODULE}/cmd/connectconformance"))
                .current_dir(sources()),
        );
        Ok(suite)
    };
    BUILT.get_or_init(build).clone()
}

fn sources() -> PathBuf {
    interop().join("connectconformance")
}

/// One run of the suite.
#[derive(Debug, Clone, Copy)]
pub struct Run {
    /// What of ours is tested, for the report.
    pub tested: &'static str,
    /// Name of its features, `interop/connectconformance/<features>.yaml`. Cases it is allowed to fail are in
    /// `<features>-known-failing.txt`, each under a comment with the reason, if there is such a file.
    pub features: &'static str,
    /// `server` or `client`.
    pub mode: &'static str,
    /// The program under test.
    pub program: &'static str,
}

impl Run {
    /// Runs the suite to its end and keeps its report.
    ///
    /// # Panics
    /// When a case fails that is not known to, or one passes that is.
    pub async fn record(self) {
        // A suite that hangs must not outlive the test.
        let mut command = Command::new("timeout");
        command.arg(LONGEST_RUN).arg(Need::ConnectConformance.path());
        let features = sources().join(self.features).with_extension("yaml");
        command.args(["--mode", self.mode, "--conf"]).arg(features);
        let failing = sources().join(format!("{}-known-failing.txt", self.features));
        let known = if failing.exists() { known_failing(&failing) } else { Vec::new() };
        for (pattern, _) in &known {
            command.args(["--known-failing", pattern]);
        }
        command.args(["--", self.program]).stdin(Stdio::null());
        let run = tokio::task::spawn_blocking(move || command.output());
        let output = run.await.unwrap().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let complaints = String::from_utf8_lossy(&output.stderr).into_owned();
        let (passed, failed) = counts(&said)
            .or_else(|| counts(&complaints))
            .unwrap_or_else(|| panic!("the suite said no counts:\n{said}{complaints}"));
        let report = Report {
            suite: "connectconformance".into(),
            version: version(),
            tested: self.tested.into(),
            passed,
            failed,
            known,
        };
        report.record();
        assert!(output.status.success() && failed == 0, "{said}{complaints}");
        assert!(passed > 0, "the suite ran nothing:\n{said}{complaints}");
    }
}

/// The counts in the suite's last words, `1206 passed, 0 failed`.
fn counts(said: &str) -> Option<(usize, usize)> {
    said.lines().rev().find_map(|line| {
        let (passed, failed) = line.split_once(" passed, ")?;
        let failed = failed.split_once(" failed")?.0;
        Some((passed.trim().parse().ok()?, failed.trim().parse().ok()?))
    })
}

/// Patterns of cases and the comment each stands under.
fn known_failing(file: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(file).unwrap();
    let mut known = Vec::new();
    let mut reason = String::new();
    let mut told = false;
    for line in text.lines().map(str::trim) {
        match line.strip_prefix('#') {
            Some(comment) => {
                if std::mem::take(&mut told) {
                    reason.clear();
                }
                reason = format!("{reason} {}", comment.trim()).trim().to_owned();
            }
            None if line.is_empty() => {}
            None => {
                assert!(!reason.is_empty(), "{line} stands under no reason");
                told = true;
                known.push((line.to_owned(), reason.clone()));
            }
        }
    }
    known
}

/// The version that `go.mod` pins.
fn version() -> String {
    let text = fs::read_to_string(sources().join("go.mod")).unwrap();
    let pinned = text.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip_while(|word| *word == "require");
        (words.next()? == MODULE).then(|| words.next())?
    });
    pinned.expect("go.mod pins the suite").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_the_last_words() {
        let said = "Total cases: 8\n5 passed, 1 failed\n(Another 2 failed as expected due to being known failures/flakes.)\n";
        assert_eq!(counts(said), Some((5, 1)));
        assert_eq!(counts("server process terminated unexpectedly"), None);
    }

    #[test]
    fn each_known_failure_has_the_reason_above_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("known");
        fs::write(&file, "# one\n# two\na/**\nb\n\n# three\nc\n").unwrap();
        let read = known_failing(&file);
        let expected = [("a/**", "one two"), ("b", "one two"), ("c", "three")];
        assert_eq!(read, expected.map(|(case, reason)| (case.to_owned(), reason.to_owned())));
    }

    #[test]
    fn the_version_is_the_pinned_one() {
        assert!(version().starts_with('v'), "{}", version());
    }
}
