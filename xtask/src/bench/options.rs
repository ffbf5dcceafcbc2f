//! What a run of the benchmarks is asked for.

use std::path::PathBuf;

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rows to measure, by id or by the first words of one: `server,client.latency`.
    #[arg(long, value_delimiter = ',')]
    pub(super) rows: Vec<String>,
    /// Rounds per row; each measures both sides once.
    #[arg(long, default_value_t = 7)]
    pub(super) rounds: usize,
    /// Few requests and one round on a debug build: proves that every row works, judges none.
    #[arg(long)]
    pub(super) quick: bool,
    /// Measure the peer against itself, to see how far apart noise alone takes two equal sides.
    #[arg(long, conflicts_with = "quick")]
    pub(super) noise: bool,
    /// Folder of `benchmarks.md` and `benchmarks.json`; `docs` for a full run, else none.
    #[arg(long)]
    pub(super) out: Option<PathBuf>,
}

impl Options {
    /// Whether nothing was left out, so that the result may replace the published one.
    pub(super) fn is_full(&self) -> bool {
        self.rows.is_empty() && !self.quick && !self.noise
    }
}
