//! `micro health`: whether each node of a service wants calls.

use std::time::Duration;

use micro::Reason;
use micro::client::NodeHealth;
use serde::Serialize;

use super::{duration, header};
use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::output::{Format, Output, Tone};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Name of the service; with --address it may be empty: "" asks for the whole server.
    service: String,
    /// Node to ask (host:port), instead of all in the registry.
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
    /// Header to send along, several if repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = header)]
    metadata: Vec<(String, String)>,
    /// Longest wait for a node.
    #[arg(long, value_parser = duration, default_value = "5s")]
    timeout: Duration,
}

#[derive(Serialize)]
struct Row {
    node: String,
    address: String,
    version: String,
    serving: bool,
    detail: String,
}

pub(crate) async fn run(
    options: &Options,
    fleet: &Fleet,
    output: &mut Output,
) -> Result<(), Failure> {
    let mut client = fleet.client_builder().timeout(options.timeout);
    for (key, value) in &options.metadata {
        client = client.metadata(key, value);
    }
    let client = client.build()?;
    let nodes = match &options.address {
        Some(address) => vec![client.health_at(&options.service, address).await],
        None => match client.health(&options.service).await {
            Err(error) if error.reason() == Some(Reason::NoNodes) => {
                return Err(fleet.unknown(&options.service).await);
            }
            nodes => nodes?,
        },
    };
    let row = |health: NodeHealth| Row {
        serving: health.is_serving(),
        node: health.node.id,
        address: health.node.address,
        version: health.version,
        detail: match health.answer {
            Ok(true) => "serving".to_owned(),
            Ok(false) => "not serving".to_owned(),
            Err(error) => format!("{}: {}", error.code(), error.detail()),
        },
    };
    let rows: Vec<Row> = nodes.into_iter().map(row).collect();
    let ill = rows.iter().filter(|row| !row.serving).count();
    let total = rows.len();
    match output.format() {
        Format::Json => output.json(&rows)?,
        Format::Table => {
            let rows = rows.into_iter().map(|row| {
                let tone = if row.serving { Tone::Good } else { Tone::Bad };
                [
                    (row.node, Tone::Plain),
                    (row.address, Tone::Plain),
                    (row.version, Tone::Plain),
                    (row.detail, tone),
                ]
            });
            output.table(["NODE", "ADDRESS", "VERSION", "HEALTH"], rows)?;
        }
    }
    match ill {
        0 => Ok(()),
        _ => Err(Failure::refused(format!("{ill} of {total} nodes are not serving"))),
    }
}
