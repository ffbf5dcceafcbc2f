//! The matrix of languages that `tests/conformance` leaves.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::Outcome;

/// Its file among the reports.
pub(super) const FILE: &str = "matrix.json";

/// Every client against every server, as `tests/conformance` counts it.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Matrix {
    /// Scenarios of each cell.
    pub(super) scenarios: usize,
    pub(super) cells: Vec<Cell>,
    /// Registries that programs wrote in their own language, against the contract of registries.
    #[serde(default)]
    pub(super) registries: Vec<Registry>,
}

/// How the registry of one language keeps the contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Registry {
    language: String,
    passed: usize,
    failed: usize,
}

/// A client of one language against a server of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cell {
    client: String,
    server: String,
    passed: usize,
    failed: usize,
    skipped: usize,
}

impl Matrix {
    /// The matrix of the folder; one without cells where it was not played.
    pub(super) fn read(folder: &Path) -> Outcome<Self> {
        let path = folder.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(serde_json::from_str(&text)
                .map_err(|error| format!("{} is no matrix: {error}", path.display()))?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(format!("cannot read {}: {error}", path.display()).into()),
        }
    }

    /// What this, the page, says and the run does not, a line each.
    pub(super) fn differences(&self, ran: &Self, complete: bool) -> Vec<String> {
        let find = |matrix: &Matrix, like: &Cell| {
            let same = |cell: &&Cell| cell.client == like.client && cell.server == like.server;
            matrix.cells.iter().find(same).cloned()
        };
        let name = |cell: &Cell| format!("{} client, {} server", cell.client, cell.server);
        let mut lines = Vec::new();
        if self.registries != ran.registries && !ran.cells.is_empty() {
            let list = |matrix: &Matrix| match contract(&matrix.registries) {
                kept if kept.is_empty() => "nothing".to_owned(),
                kept => kept,
            };
            lines.push(format!(
                "registries: the page says {}, the run says {}",
                list(self),
                list(ran)
            ));
        }
        if self.scenarios != ran.scenarios && !ran.cells.is_empty() {
            lines.push(format!(
                "the page says {} scenarios, the run says {}",
                self.scenarios, ran.scenarios
            ));
        }
        for cell in &ran.cells {
            match find(self, cell) {
                None => lines.push(format!("{} ran and is not on the page", name(cell))),
                Some(before) if before != *cell => lines.push(format!(
                    "{}: the page says {}, the run says {}",
                    name(cell),
                    counts(&before),
                    counts(cell)
                )),
                Some(_) => {}
            }
        }
        for cell in self.cells.iter().filter(|cell| find(ran, cell).is_none()) {
            let line = format!("{} is on the page and did not run", name(cell));
            if complete {
                lines.push(line);
            } else {
                println!("{line}");
            }
        }
        lines
    }

    /// A row for each client, a column for each server.
    pub(super) fn render(&self) -> String {
        let Self { scenarios, cells, registries } = self;
        if cells.is_empty() {
            return String::new();
        }
        let mut servers: Vec<&str> = Vec::new();
        let mut rows: Vec<(&str, Vec<String>)> = Vec::new();
        for cell in cells {
            if !servers.contains(&cell.server.as_str()) {
                servers.push(&cell.server);
            }
            if rows.last().is_none_or(|(client, _)| *client != cell.client) {
                rows.push((&cell.client, Vec::new()));
            }
            let mut text = format!("{} / {}", cell.passed, cell.passed + cell.failed);
            if cell.failed > 0 {
                text = format!("**{text}**");
            }
            if cell.skipped > 0 {
                let _ = write!(text, ", {} left out", cell.skipped);
            }
            if let Some((_, texts)) = rows.last_mut() {
                texts.push(text);
            }
        }
        let mut part = format!(
            "\n## Languages\n\n\
             Every language does the same: {scenarios} scenarios, played with every client against every server. A cell says how many \
             passed of those that were played; what is left out makes no sense in a language, and `tests/conformance/adapters.toml` says \
             why.\n\n\
             | client ↓ server → |"
        );
        for server in &servers {
            let _ = write!(part, " {server} |");
        }
        let _ = writeln!(part, "\n|---|{}", "---:|".repeat(servers.len()));
        for (client, texts) in rows {
            let _ = writeln!(part, "| {client} | {} |", texts.join(" | "));
        }
        if !registries.is_empty() {
            let _ = writeln!(
                part,
                "\nA registry can be written in each of them. One that is keeps the contract of registries \
                 (`core/src/registry/contract`), asked by a client of its own language: {}.",
                contract(registries)
            );
        }
        part
    }
}

/// How many promises each keeps of those there are.
fn contract(registries: &[Registry]) -> String {
    let kept = |Registry { language, passed, failed }: &Registry| {
        let text = format!("{language} {passed} / {}", passed + failed);
        if *failed > 0 { format!("**{text}**") } else { text }
    };
    registries.iter().map(kept).collect::<Vec<_>>().join(", ")
}

fn counts(cell: &Cell) -> String {
    let Cell { passed, failed, skipped, .. } = cell;
    format!("{passed} passed, {failed} failed, {skipped} left out")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(client: &str, server: &str, failed: usize) -> Cell {
        let (client, server) = (client.into(), server.into());
        Cell { client, server, passed: 9 - failed, failed, skipped: 1 }
    }

    fn matrix() -> Matrix {
        let pairs = [("c", "c"), ("c", "go"), ("go", "c"), ("go", "go")];
        let cells = pairs.map(|(client, server)| cell(client, server, 0));
        let registry = Registry { language: "c".into(), passed: 16, failed: 0 };
        Matrix { scenarios: 10, cells: cells.into(), registries: vec![registry] }
    }

    #[test]
    fn the_page_opens_with_a_row_for_each_client_and_a_column_for_each_server() {
        let mut matrix = matrix();
        matrix.cells[1] = cell("c", "go", 2);
        let page = matrix.render();
        assert!(page.contains("| client ↓ server → | c | go |\n|---|---:|---:|\n"), "{page}");
        let row = "| c | 9 / 9, 1 left out | **7 / 9**, 1 left out |\n";
        assert!(page.contains(row), "{page}");
        assert!(page.contains("10 scenarios"), "{page}");
        assert!(page.contains("language: c 16 / 16.\n"), "{page}");
    }

    #[test]
    fn other_counts_of_a_cell_and_new_cells_are_differences() {
        let mut ran = matrix();
        assert!(matrix().differences(&ran, true).is_empty());
        ran.registries[0].failed = 1;
        let lines = matrix().differences(&ran, true);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].contains("c 16 / 16") && lines[0].contains("**c 16 / 17**"), "{lines:?}");
        ran.registries = matrix().registries;
        ran.scenarios = 11;
        ran.cells[0].skipped = 2;
        ran.cells.push(cell("c", "swift", 0));
        let lines = matrix().differences(&ran, false);
        assert_eq!(lines.len(), 3, "{lines:?}");
        assert!(lines[0].contains("10") && lines[0].contains("11"), "{lines:?}");
        assert!(lines[1].contains("c client, c server") && lines[1].contains("2 left out"));
        assert!(lines[2].contains("not on the page"), "{lines:?}");
    }

    #[test]
    fn a_matrix_that_was_not_played_matters_only_where_everything_must_run() {
        assert!(matrix().differences(&Matrix::default(), false).is_empty());
        assert_eq!(matrix().differences(&Matrix::default(), true).len(), 4);
    }

    #[test]
    fn a_matrix_that_was_left_is_read() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(Matrix::read(folder.path()).unwrap(), Matrix::default());
        let text = serde_json::to_string(&matrix()).unwrap();
        fs::write(folder.path().join(FILE), text).unwrap();
        assert_eq!(Matrix::read(folder.path()).unwrap(), matrix());
    }
}
