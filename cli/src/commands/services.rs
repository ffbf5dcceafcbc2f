//! `micro services`: what is running.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

use super::AT_ONCE;
use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::output::{Format, Output, Tone};

#[derive(Serialize)]
struct Row {
    name: String,
    version: String,
    nodes: usize,
    endpoints: usize,
}

pub(crate) async fn run(fleet: &Fleet, output: &mut Output) -> Result<(), Failure> {
    // A listing may leave out nodes and endpoints, so every service is read in full.
    let names = fleet.names().await?;
    let found: Vec<_> = stream::iter(names)
        .map(|name| async move { fleet.find(&name).await })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let rows: Vec<Row> = found
        .into_iter()
        .flatten()
        .map(|service| Row {
            nodes: service.nodes.len(),
            endpoints: service.endpoints.len(),
            name: service.name,
            version: service.version,
        })
        .collect();
    if output.format() == Format::Json {
        return Ok(output.json(&rows)?);
    }
    if rows.is_empty() {
        output.message(&format!("no services in {}", fleet.place()));
        return Ok(());
    }
    let rows = rows.into_iter().map(|row| {
        [row.name, row.version, row.nodes.to_string(), row.endpoints.to_string()]
            .map(|text| (text, Tone::Plain))
    });
    Ok(output.table(["SERVICE", "VERSION", "NODES", "ENDPOINTS"], rows)?)
}
