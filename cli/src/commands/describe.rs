//! `micro describe`: one service, node by node and endpoint by endpoint.

use std::time::Duration;

use micro::Shape;
use micro::client::CallOptions;
use micro::codec::Schema;
use micro::registry::{Endpoint, Labels, Node, Service, Value};
use prost_reflect::MethodDescriptor;

use super::{duration, header};
use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::output::{Format, Output, Tone};
use crate::reflection::Reflection;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Name of the service; with --address only what it is called here.
    service: String,
    /// Node to ask for its reflection (host:port), instead of asking the registry.
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
    /// Header to send along to that node, several if repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = header, requires = "address")]
    metadata: Vec<(String, String)>,
    /// Longest wait for that node.
    #[arg(long, value_parser = duration, default_value = "5s")]
    timeout: Duration,
}

pub(crate) async fn run(
    options: &Options,
    fleet: &Fleet,
    output: &mut Output,
) -> Result<(), Failure> {
    let versions = match &options.address {
        Some(address) => vec![reflected(options, address, fleet).await?],
        None => fleet.get(&options.service).await?,
    };
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
    output.line(format!("{} {}", service.name, service.version).trim_end())?;
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
            labels(&untold(&endpoint.metadata)),
        ]
        .map(|text| (text, Tone::Plain))
    });
    Ok(output.table(["ENDPOINT", "KIND", "REQUEST", "RESPONSE", "LABELS"], endpoints)?)
}

/// A stream whose service does not say which kind it is may be any.
fn kind(endpoint: &Endpoint) -> &'static str {
    match endpoint.shape() {
        Some(Shape::Unary) => "unary",
        Some(Shape::ClientStream) => "client stream",
        Some(Shape::ServerStream) => "server stream",
        Some(Shape::BidiStream) => "bidi stream",
        None => "stream",
    }
}

/// What a node says of itself, as a registry would have it.
async fn reflected(options: &Options, address: &str, fleet: &Fleet) -> Result<Service, Failure> {
    let client = fleet.client()?;
    let mut terms = CallOptions::new().address(address).timeout(options.timeout);
    for (key, value) in &options.metadata {
        terms = terms.metadata(key, value);
    }
    let asked = Reflection::begin(&client, &terms).await?;
    let mut reflection = asked.ok_or_else(|| {
        Failure::refused(format!(
            "{address} has no reflection: ask the registry, without --address"
        ))
    })?;
    let names: Vec<String> = reflection.services().map(str::to_owned).collect();
    let mut service = Service::new(&options.service, "");
    for name in names {
        let described = reflection.service(&name).await?;
        service.endpoints.extend(described.methods().map(|method| endpoint(&method)));
    }
    let (id, address) = (address.to_owned(), address.to_owned());
    service.nodes.push(Node { id, address, metadata: Labels::new() });
    Ok(service)
}

fn endpoint(method: &MethodDescriptor) -> Endpoint {
    let shape = match (method.is_client_streaming(), method.is_server_streaming()) {
        (false, false) => Shape::Unary,
        (true, false) => Shape::ClientStream,
        (false, true) => Shape::ServerStream,
        (true, true) => Shape::BidiStream,
    };
    let mut metadata = Labels::new();
    if shape.streams() {
        metadata.insert("stream".into(), "true".into());
        metadata.insert("shape".into(), shape.name().into());
    }
    Endpoint {
        name: method.full_name().to_owned(),
        request: Some(Schema::of_protobuf(method.input()).value().clone()),
        response: Some(Schema::of_protobuf(method.output()).value().clone()),
        metadata,
    }
}

/// The labels but for those that the kind tells.
fn untold(labels: &Labels) -> Labels {
    let told = |key: &str| matches!(key, "stream" | "shape");
    labels.iter().filter(|(key, _)| !told(key)).map(|(k, v)| (k.clone(), v.clone())).collect()
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
