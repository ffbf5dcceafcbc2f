//! The cases by name, how a run of them is counted, and what is said of those left out.

use std::time::Duration;

use crate::suite::Report;

/// Repetitions in each of the soak cases.
pub const SOAK_ITERATIONS: u32 = 100;
/// How long a single case may take.
pub const CASE_LIMIT: Duration = Duration::from_secs(60);

/// Cases that the client of this framework runs.
pub const OURS: [&str; 26] = [
    "empty_unary",
    "large_unary",
    "client_compressed_unary",
    "client_compressed_unary_noprobe",
    "server_compressed_unary",
    "client_streaming",
    "client_compressed_streaming",
    "client_compressed_streaming_noprobe",
    "server_streaming",
    "server_compressed_streaming",
    "ping_pong",
    "empty_stream",
    "half_duplex",
    "cancel_after_begin",
    "cancel_after_first_response",
    "timeout_on_sleeping_server",
    "custom_metadata",
    "status_code_and_message",
    "special_status_message",
    "unimplemented_method",
    "unimplemented_service",
    "very_large_request",
    "pick_first_unary",
    "concurrent_large_unary",
    "rpc_soak",
    "channel_soak",
];

/// A case that is left out, and why.
pub type Known = (&'static str, &'static str);

/// Runs of cases, counted as they end.
#[derive(Debug, Default)]
pub struct Tally {
    report: Report,
    failures: Vec<String>,
}

impl Tally {
    /// Nothing counted yet; the arguments are those of [`Report`].
    pub fn new(suite: &str, version: &str, tested: &str, known: &[Known]) -> Self {
        let report = Report {
            suite: suite.to_owned(),
            version: version.to_owned(),
            tested: tested.to_owned(),
            known: known.iter().map(|&(case, why)| (case.to_owned(), why.to_owned())).collect(),
            ..Report::default()
        };
        Self { report, failures: Vec::new() }
    }

    /// Whether a case is left out.
    pub fn leaves_out(&self, case: &str) -> bool {
        self.report.known.iter().any(|(known, _)| known == case)
    }

    /// Counts a case and prints a line about it.
    pub fn count(&mut self, case: &str, outcome: Result<(), String>) {
        let Report { suite, tested, .. } = &self.report;
        match outcome {
            Ok(()) => {
                eprintln!("{suite}, {tested}: {case}: passed");
                self.report.passed += 1;
            }
            Err(why) => {
                eprintln!("{suite}, {tested}: {case}: FAILED: {why}");
                self.report.failed += 1;
                self.failures.push(format!("{case}: {why}"));
            }
        }
    }

    /// Records the report.
    ///
    /// # Panics
    /// When a case failed, or when none ran.
    pub fn finish(self) {
        self.report.record();
        let Self { report, failures } = self;
        assert!(failures.is_empty(), "failed cases:\n{}", failures.join("\n"));
        assert!(report.passed > 0, "no case ran");
    }
}
