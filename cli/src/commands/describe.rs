//! `micro describe`: one service, node by node and endpoint by endpoint.

use micro::registry::{Endpoint, Labels, Service, Value};

use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::output::{Format, Output, Tone};

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Name of the service.
    service: String,
}

pub(crate) async fn run(
    options: &Options,
    fleet: &Fleet,
    output: &mut Output,
) -> Result<(), Failure> {
    let versions = fleet.get(&options.service).await?;
    if output.format() == Format::Json {
        return Ok(output.json(&versions)?);
    }
    for (index, service) in versions.iter().enumerate() {
        if index > 0 {
            output.line("")?;
        }
        describe(service, output)?;
    }
    Ok(())
}

fn describe(service: &Service, output: &mut Output) -> Result<(), Failure> {
    output.line(&format!("{} {}", service.name, service.version))?;
    output.line("")?;
    let nodes = service.nodes.iter().map(|node| {
        [node.id.clone(), node.address.clone(), labels(&node.metadata)]
            .map(|text| (text, Tone::Plain))
    });
    output.table(["NODE", "ADDRESS", "LABELS"], nodes)?;
    if service.endpoints.is_empty() {
        return Ok(());
    }
    output.line("")?;
    let endpoints = service.endpoints.iter().map(|endpoint| {
        [
            endpoint.name.clone(),
            kind(endpoint).to_owned(),
            endpoint.request.as_ref().map(shape).unwrap_or_default(),
            endpoint.response.as_ref().map(shape).unwrap_or_default(),
            labels(&endpoint.metadata),
        ]
        .map(|text| (text, Tone::Plain))
    });
    Ok(output.table(["ENDPOINT", "KIND", "REQUEST", "RESPONSE", "LABELS"], endpoints)?)
}

fn kind(endpoint: &Endpoint) -> &'static str {
    if endpoint.is_stream() { "stream" } else { "unary" }
}

fn labels(labels: &Labels) -> String {
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(" ")
}

/// A type with its fields, as in `Request{name string}`.
fn shape(value: &Value) -> String {
    if value.values.is_empty() {
        return value.kind.clone();
    }
    let fields: Vec<String> =
        value.values.iter().map(|field| format!("{} {}", field.name, shape(field))).collect();
    format!("{}{{{}}}", value.kind, fields.join(", "))
}
