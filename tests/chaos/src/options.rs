//! What a run of chaos is asked for.

use std::path::PathBuf;

use crate::scenario::Name;

/// What to run, and how hard.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Options {
    /// Scenarios to run: rolling, overload, processor, slow, mayhem, messages. All unless given.
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<Name>,
    /// Seconds of all scenarios together, at least 20.
    #[arg(long, default_value_t = 120)]
    pub(crate) seconds: u64,
    /// Seed of the faults; one is drawn unless given.
    #[arg(long)]
    pub(crate) seed: Option<u64>,
    /// A short run at low rates that judges only what does not depend on the machine's speed.
    #[arg(long)]
    pub(crate) bounded: bool,
    /// Folder to write `chaos.md` and `chaos.json` to.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) out: Option<PathBuf>,
    /// File to write the report to, as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}
