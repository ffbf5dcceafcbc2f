//! `micro health`: whether each node of a service wants calls.

use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use micro::registry::Node;
use micro::{Client, Code, Json, Proto, Result};
use serde::Serialize;

use super::{AT_ONCE, duration};
use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::output::{Format, Output, Tone};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Name of the service.
    service: String,
    /// Longest wait for a node.
    #[arg(long, value_parser = duration, default_value = "5s")]
    timeout: Duration,
}

/// Messages of `grpc.health.v1`.
#[derive(Clone, PartialEq, prost::Message)]
struct Request {
    #[prost(string, tag = "1")]
    service: String,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Response {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// `SERVING` of `grpc.health.v1`.
const SERVING: i32 = 1;

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
) -> std::result::Result<(), Failure> {
    let versions = fleet.get(&options.service).await?;
    let client = fleet.client()?;
    let nodes =
        versions.iter().flat_map(|service| service.nodes.iter().map(move |node| (service, node)));
    let checks = nodes.map(|(service, node)| {
        let client = &client;
        async move {
            let health = check(client, &options.service, node, options.timeout).await;
            Row {
                node: node.id.clone(),
                address: node.address.clone(),
                version: service.version.clone(),
                serving: matches!(health, Ok(true)),
                detail: match health {
                    Ok(true) => "serving".to_owned(),
                    Ok(false) => "not serving".to_owned(),
                    Err(error) => format!("{}: {}", error.code(), error.detail()),
                },
            }
        }
    });
    let rows: Vec<Row> = stream::iter(checks).buffered(AT_ONCE).collect().await;
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

/// Asks the way gRPC has it, and go-micro's way where a node does not know that.
async fn check(client: &Client, service: &str, node: &Node, timeout: Duration) -> Result<bool> {
    match ask(client, service, node, timeout).await {
        // A server that keeps no book on single services still has one on itself.
        Err(error) if error.code() == Code::NotFound => ask(client, "", node, timeout).await,
        Err(error) if error.code() == Code::Unimplemented => {
            let answer: Json<serde_json::Value> = client
                .call(service, "Debug.Health", Json(serde_json::json!({})))
                .address(&node.address)
                .timeout(timeout)
                .await?;
            Ok(answer.0["status"] == "ok")
        }
        answer => answer,
    }
}

async fn ask(client: &Client, service: &str, node: &Node, timeout: Duration) -> Result<bool> {
    let request = Proto(Request { service: service.to_owned() });
    let Proto(response): Proto<Response> = client
        .call("", "/grpc.health.v1.Health/Check", request)
        .address(&node.address)
        .timeout(timeout)
        .await?;
    Ok(response.status == SERVING)
}
