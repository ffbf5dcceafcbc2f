//! What came of every scenario in every cell.

use std::path::Path;

use serde::Serialize;

use super::Outcome;

/// What came of one scenario in one cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything was as it must be.
    Passed,
    /// What was not.
    Failed(String),
    /// Why it was left out.
    Skipped(String),
}

/// The cells that were played.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Matrix {
    /// Scenarios of each cell.
    pub scenarios: usize,
    /// By client, then by server.
    pub cells: Vec<CellReport>,
    /// By language.
    pub registries: Vec<RegistryReport>,
}

/// How a registry that is written in a language keeps the contract of registries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RegistryReport {
    /// The language.
    pub language: String,
    /// Promises that it keeps.
    pub passed: usize,
    /// Promises that it breaks.
    pub failed: usize,
}

impl RegistryReport {
    /// Counts verdicts.
    pub fn of(language: &str, verdicts: &[Verdict]) -> Self {
        let passed = verdicts.iter().filter(|verdict| **verdict == Verdict::Passed).count();
        Self { language: language.to_owned(), passed, failed: verdicts.len() - passed }
    }
}

/// The counts of one cell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CellReport {
    /// Language of the client.
    pub client: String,
    /// Language of the server.
    pub server: String,
    /// Scenarios that passed.
    pub passed: usize,
    /// Scenarios that failed.
    pub failed: usize,
    /// Scenarios that one of the two leaves out.
    pub skipped: usize,
}

impl CellReport {
    /// Counts verdicts.
    pub fn of(client: &str, server: &str, verdicts: &[Verdict]) -> Self {
        let count = |wanted: fn(&Verdict) -> bool| verdicts.iter().filter(|v| wanted(v)).count();
        Self {
            client: client.to_owned(),
            server: server.to_owned(),
            passed: count(|verdict| matches!(verdict, Verdict::Passed)),
            failed: count(|verdict| matches!(verdict, Verdict::Failed(_))),
            skipped: count(|verdict| matches!(verdict, Verdict::Skipped(_))),
        }
    }
}

impl Matrix {
    /// Leaves it in the folder of reports, where `cargo xtask conformance` looks for it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn record(&self, folder: &Path) -> Outcome {
        std::fs::create_dir_all(folder)?;
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(folder.join("matrix.json"), text + "\n")?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_counted_by_kind() {
        let failed = Verdict::Failed("late".into());
        let verdicts = [Verdict::Passed, failed, Verdict::Passed, Verdict::Skipped("no".into())];
        let cell = CellReport::of("a", "b", &verdicts);
        assert_eq!((cell.passed, cell.failed, cell.skipped), (2, 1, 1));
    }
}
