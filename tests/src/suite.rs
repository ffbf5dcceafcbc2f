//! What suites that others wrote say of us, kept so that the documentation can repeat it.
//!
//! A test that runs a suite records a [`Report`]; `cargo xtask conformance` writes `docs/conformance.md` from the reports of a
//! run, and with `--check` fails when a run says something else than the page.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

/// The outcome of one suite against one side of the framework.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The suite as its authors call it, such as `gRPC interop (grpc-go)`.
    pub suite: String,
    /// Its pinned version, such as `v1.85.0`.
    pub version: String,
    /// What of ours it tested, such as `server`, `client` or `server, gRPC-Web`.
    pub tested: String,
    /// Cases that passed.
    pub passed: usize,
    /// Cases that failed and are not among [`Self::known`]; the test that records them must fail too.
    pub failed: usize,
    /// Cases left out or allowed to fail, each with a reason its authors would accept.
    pub known: Vec<(String, String)>,
}

impl Report {
    /// Keeps the report for the documentation; a second one for the same suite and side takes the first one's place.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn record(&self) {
        self.record_in(&folder());
    }

    fn record_in(&self, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        let name: String = format!("{} {}", self.suite, self.tested)
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' })
            .collect();
        let known: Vec<_> = self
            .known
            .iter()
            .map(|(case, reason)| json!({ "case": case, "reason": reason }))
            .collect();
        let report = json!({
            "suite": self.suite,
            "version": self.version,
            "tested": self.tested,
            "passed": self.passed,
            "failed": self.failed,
            "known": known,
        });
        fs::write(folder.join(name + ".json"), format!("{report:#}\n")).unwrap();
    }
}

/// `MICRO_REPORTS`, else `conformance` in the target folder of the running test.
fn folder() -> PathBuf {
    if let Some(folder) = env::var_os("MICRO_REPORTS") {
        return folder.into();
    }
    // The test binary is target/<profile>/deps/<name>.
    env::current_exe().unwrap().ancestors().nth(3).unwrap().join("conformance")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_report_of_the_same_suite_takes_the_place_of_the_earlier() {
        let folder = tempfile::tempdir().unwrap();
        let mut report = Report {
            suite: "h2spec".into(),
            version: "v2".into(),
            tested: "server".into(),
            passed: 1,
            ..Report::default()
        };
        report.record_in(folder.path());
        report.passed = 2;
        report.known.push(("a".into(), "b".into()));
        report.record_in(folder.path());
        let files: Vec<_> = fs::read_dir(folder.path()).unwrap().map(Result::unwrap).collect();
        assert_eq!(files.len(), 1);
        let text = fs::read_to_string(files[0].path()).unwrap();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["passed"], 2);
        assert_eq!(read["known"][0], json!({ "case": "a", "reason": "b" }));
    }
}
