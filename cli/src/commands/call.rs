//! `micro call`: one request in JSON, one reply or a stream of them.

use std::io::Read as _;
use std::time::Duration;

use bytes::Bytes;
use micro::client::CallOptions;
use micro::directory::Snapshot;
use micro::selector::Filter;
use micro::{Code, Error, Raw, Reason, Streaming};

use super::duration;
use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::json;
use crate::output::{Format, Output};
use crate::spelling;

/// Longest request read from stdin.
const MAX_REQUEST: u64 = 64 << 20;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Name of the service.
    service: String,
    /// Endpoint, for example Greeter.Hello, or a gRPC path such as /greeter.Greeter/Hello.
    endpoint: String,
    /// Request in JSON; `-` reads it from stdin.
    #[arg(default_value = "{}")]
    request: String,
    /// Header to send along, several if repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = header)]
    metadata: Vec<(String, String)>,
    /// Longest wait, for example 500ms or 2s; 5s unless set, for ever for streams.
    #[arg(long, value_parser = duration)]
    timeout: Option<Duration>,
    /// Node to call (host:port) instead of asking the registry.
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
    /// Call only nodes of this version.
    #[arg(long)]
    version: Option<String>,
    /// Expect a stream of replies even if the registry does not say so.
    #[arg(long)]
    stream: bool,
}

fn header(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write it as key=value".to_owned()),
    }
}

pub(crate) async fn run(
    options: Options,
    fleet: &Fleet,
    output: &mut Output,
) -> Result<(), Failure> {
    let request = request(&options.request)?;
    let client = fleet.client()?;
    let known = match options.address {
        Some(_) => None,
        None => match client.cache().resolve(&options.service).await {
            Ok(snapshot) => Some(snapshot),
            Err(error) if error.reason() == Some(Reason::NoNodes) => {
                return Err(fleet.unknown(&options.service).await);
            }
            Err(error) => return Err(error.into()),
        },
    };
    let advertised = known
        .as_ref()
        .and_then(|known| known.endpoint(options.version.as_deref(), &options.endpoint));
    let streams = options.stream || advertised.is_some_and(|endpoint| endpoint.is_stream());

    let terms = terms(&options);
    let (service, endpoint) = (&options.service, &options.endpoint);
    let explain = |error: Error| explain(error, endpoint, known.as_deref());
    if !streams {
        let call = client.call::<Raw, Raw>(service, endpoint, request).options(terms);
        return reply(&call.await.map_err(explain)?, output);
    }
    let call = client.server_stream::<Raw, Raw>(service, endpoint, request).options(terms);
    let mut replies: Streaming<Raw> = call.await.map_err(explain)?;
    while let Some(message) = replies.message().await.map_err(explain)? {
        output.line(&json::compact(text(&message)?))?;
    }
    Ok(())
}

/// What the command line says of the call.
fn terms(options: &Options) -> CallOptions {
    let mut terms = CallOptions::new().content_type("application/grpc+json");
    for (key, value) in &options.metadata {
        terms = terms.metadata(key, value);
    }
    if let Some(timeout) = options.timeout {
        terms = terms.timeout(timeout);
    }
    if let Some(address) = &options.address {
        terms = terms.address(address);
    }
    match &options.version {
        Some(version) => terms.filter(Filter::version(version)),
        None => terms,
    }
}

/// The request's bytes, which are JSON for certain: a typing error is found before anything is sent.
fn request(argument: &str) -> Result<Raw, Failure> {
    let mut text = argument.to_owned();
    if argument == "-" {
        text.clear();
        let mut stdin = std::io::stdin().lock().take(MAX_REQUEST);
        stdin
            .read_to_string(&mut text)
            .map_err(|error| Failure::usage(format!("cannot read the request: {error}")))?;
    }
    json::check(&text)
        .map_err(|error| Failure::usage(format!("the request is not JSON: {error}")))?;
    Ok(Raw(Bytes::from(text)))
}

fn reply(message: &Raw, output: &mut Output) -> Result<(), Failure> {
    let text = text(message)?;
    let shown = match output.format() {
        Format::Table => json::indented(text),
        Format::Json => json::compact(text),
    };
    Ok(output.line(&shown)?)
}

fn text(message: &Raw) -> Result<&str, Failure> {
    let text = std::str::from_utf8(&message.0).ok().filter(|text| json::check(text).is_ok());
    text.ok_or_else(|| Failure::refused("the reply is not JSON, though JSON was asked for"))
}

/// The error, with the endpoint that was probably meant.
fn explain(error: Error, endpoint: &str, known: Option<&Snapshot>) -> Failure {
    let misspelt = matches!(error.code(), Code::Unimplemented | Code::InvalidArgument)
        && known.is_some_and(|known| known.endpoint(None, endpoint).is_none());
    let records = known.filter(|_| misspelt).map(Snapshot::records).unwrap_or_default();
    let names =
        records.iter().flat_map(|service| &service.endpoints).map(|known| known.name.as_str());
    let meant = spelling::nearest(endpoint, names).map(str::to_owned);
    let mut failure = Failure::from(error);
    if let Some(meant) = meant {
        failure.suggest(&format!("no endpoint `{endpoint}`; did you mean `{meant}`?"));
    }
    failure
}
