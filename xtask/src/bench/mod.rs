//! `cargo xtask bench`: what the framework costs, next to a peer that does the same without it.
//!
//! A number alone says more about the machine than about the code. Every row is therefore measured
//! against a peer in the same run, ours and the peer's by turns, and judged by the median of the
//! per-round ratios. Both sides are programs of `tests/bench-peers`, built alike, started and
//! stopped by the harness, with the same number of worker threads.

mod c;
mod client;
mod contest;
mod discovery;
mod footprint;
mod go;
mod h2load;
mod library;
mod messages;
mod node;
mod options;
mod plan;
mod process;
mod python;
mod report;
mod row;
mod server;
mod servers;
mod stream;
mod stubs;

use std::path::Path;

pub(crate) use options::Options;
use plan::Plan;
use row::Row;

use crate::Outcome;

/// Builds the peers, measures, prints the table and writes it. Fails if a row could not be
/// measured; a row that misses its target is a result, not a failure.
pub(crate) fn run(root: &Path, options: &Options) -> Outcome {
    let plan = Plan::new(root, options)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let rows = runtime.block_on(measure(&plan, root));
    if rows.is_empty() {
        return Err(format!("no row is called {}", options.rows.join(" or ")).into());
    }
    println!("\n{}", report::table(&rows));
    let folder = match &options.out {
        Some(folder) => Some(folder.clone()),
        None => options.is_full().then(|| root.join("docs")),
    };
    if let Some(folder) = folder {
        report::write(&folder, &rows)?;
    }
    let broken: Vec<&str> =
        rows.iter().filter(|row| row.error.is_some()).map(|row| row.id.as_str()).collect();
    if broken.is_empty() {
        return Ok(());
    }
    Err(format!("could not measure {}; the reason is in each row", broken.join(", ")).into())
}

async fn measure(plan: &Plan, root: &Path) -> Vec<Row> {
    let mut rows = Vec::new();
    rows.extend(server::rows(plan).await);
    rows.extend(client::rows(plan).await);
    rows.extend(stream::rows(plan).await);
    rows.extend(stubs::rows(plan).await);
    rows.extend(discovery::rows(plan).await);
    rows.extend(footprint::rows(plan).await);
    rows.extend(library::rows(plan, root).await);
    rows.extend(c::rows(plan, root).await);
    rows.extend(messages::rows(plan, root).await);
    rows.extend(python::rows(plan).await);
    rows.extend(node::rows(plan).await);
    rows.extend(go::rows(plan, root).await);
    rows
}
