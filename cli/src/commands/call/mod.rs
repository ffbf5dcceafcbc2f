//! `micro call`: requests in JSON, replies in JSON.

mod stdin;
mod text;

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use micro::client::{CallOptions, Seen};
use micro::directory::Snapshot;
use micro::selector::Filter;
use micro::{Client, Code, Error, Metadata, Raw, Reason, Streaming};

use self::text::Wire;
use super::{duration, header};
use crate::failure::Failure;
use crate::fleet::Fleet;
use crate::json;
use crate::output::{Format, Output};
use crate::reflection::Reflection;
use crate::spelling;

/// Longest wait for what a server says of itself, where the call has no shorter one.
const REFLECTION: Duration = Duration::from_secs(5);

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Name of the service; with --address any.
    service: String,
    /// Endpoint, for example Greeter.Hello, or a gRPC path such as /greeter.Greeter/Hello.
    endpoint: String,
    /// Request in JSON. `-` reads it from stdin: one for a call, one a line for a stream.
    #[arg(default_value = "{}")]
    request: String,
    /// Header to send along, several if repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = header)]
    metadata: Vec<(String, String)>,
    /// Longest wait, for example 500ms or 2s; 5s unless set, for ever for streams.
    #[arg(long, value_parser = duration)]
    timeout: Option<Duration>,
    /// Node to call (host:port) instead of asking the registry. One that is neither of this framework nor of go-micro is called
    /// as its reflection says.
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
    /// Call only nodes of this version.
    #[arg(long)]
    version: Option<String>,
    /// Expect a stream of replies even if neither registry nor reflection says so.
    #[arg(long)]
    stream: bool,
    /// Show headers and trailers of the answer, on stderr.
    #[arg(long)]
    headers: bool,
}

/// What is called, and how.
struct Plan {
    client: Client,
    endpoint: String,
    wire: Wire,
    streams: bool,
    /// What the registry knows of the service.
    known: Option<Arc<Snapshot>>,
    seen: Seen,
}

pub(crate) async fn run(
    options: Options,
    fleet: &Fleet,
    output: &mut Output,
) -> Result<(), Failure> {
    let plan = plan(&options, fleet).await?;
    let outcome = match plan.streams {
        true => stream(&plan, &options, output).await,
        false => unary(&plan, &options, output).await,
    };
    if options.headers {
        show(output, "header", &plan.seen.headers());
        show(output, "trailer", &plan.seen.trailers());
    }
    outcome
}

/// Finds out what the endpoint is: from the registry, or from the server at the address that was given.
async fn plan(options: &Options, fleet: &Fleet) -> Result<Plan, Failure> {
    let client = fleet.client()?;
    let mut plan = Plan {
        client,
        endpoint: options.endpoint.clone(),
        wire: Wire::Json,
        streams: options.stream,
        known: None,
        seen: Seen::new(),
    };
    if options.address.is_some() {
        let limit = options.timeout.unwrap_or(REFLECTION).min(REFLECTION);
        // A server that does not say is called as one of ours, and the call tells what is wrong with it.
        let _ = tokio::time::timeout(limit, reflect(&mut plan, options)).await;
        return Ok(plan);
    }
    match plan.client.cache().resolve(&options.service).await {
        Ok(known) => {
            let endpoint = known.endpoint(options.version.as_deref(), &options.endpoint);
            plan.streams |= endpoint.is_some_and(|endpoint| endpoint.is_stream());
            plan.known = Some(known);
            Ok(plan)
        }
        Err(error) if error.reason() == Some(Reason::NoNodes) => {
            Err(fleet.unknown(&options.service).await)
        }
        Err(error) => Err(error.into()),
    }
}

/// Takes over what the server's reflection says of the endpoint.
async fn reflect(plan: &mut Plan, options: &Options) -> Result<(), Failure> {
    let Some(mut reflection) = Reflection::begin(&plan.client, &terms(options)).await? else {
        return Ok(());
    };
    if let Some(method) = reflection.method(&options.endpoint).await? {
        plan.streams |= method.is_client_streaming() || method.is_server_streaming();
        plan.endpoint = format!("/{}/{}", method.parent_service().full_name(), method.name());
        plan.wire = Wire::of(&method);
    }
    Ok(())
}

async fn unary(plan: &Plan, options: &Options, output: &mut Output) -> Result<(), Failure> {
    let text = if options.request == "-" { stdin::whole()? } else { options.request.clone() };
    let request = plan.wire.request(&text)?;
    let call = plan.client.call::<Raw, Raw>(&options.service, &plan.endpoint, request);
    let reply = call.options(plan.terms(options)).await.map_err(|error| plan.explain(error))?;
    let text = plan.wire.reply(&reply)?;
    let shown = match output.format() {
        Format::Table => json::indented(&text),
        Format::Json => json::compact(&text),
    };
    Ok(output.line(&shown)?)
}

async fn stream(plan: &Plan, options: &Options, output: &mut Output) -> Result<(), Failure> {
    let (service, endpoint) = (&options.service, &plan.endpoint);
    let terms = plan.terms(options);
    if options.request != "-" {
        let request = plan.wire.request(&options.request)?;
        let call = plan.client.server_stream::<Raw, Raw>(service, endpoint, request).options(terms);
        let mut replies: Streaming<Raw> = call.await.map_err(|error| plan.explain(error))?;
        return print(plan, &mut replies, output).await;
    }
    let call = plan.client.open::<Raw, Raw>(service, endpoint).options(terms);
    let (outgoing, mut replies) = call.await.map_err(|error| plan.explain(error))?;
    // Requests go out while replies come in. A line that is no request ends the call, so that the server does not take what was
    // before it for all there is.
    let sending = async move {
        let mut lines = stdin::lines();
        while let Some(line) = lines.recv().await {
            // The replies end with the reason why it cannot be sent.
            if outgoing.send(plan.wire.request(&line?)?).await.is_err() {
                break;
            }
        }
        Ok::<(), Failure>(())
    };
    let printing = print(plan, &mut replies, output);
    let (mut sending, mut printing) = (pin!(sending), pin!(printing));
    let mut sent = false;
    loop {
        tokio::select! {
            outcome = &mut sending, if !sent => {
                outcome?;
                sent = true;
            }
            outcome = &mut printing => return outcome,
        }
    }
}

/// Prints replies, one to a line, as they come.
async fn print(
    plan: &Plan,
    replies: &mut Streaming<Raw>,
    output: &mut Output,
) -> Result<(), Failure> {
    while let Some(message) = replies.message().await.map_err(|error| plan.explain(error))? {
        output.line(&json::compact(&plan.wire.reply(&message)?))?;
    }
    Ok(())
}

/// What the command line says of the call.
fn terms(options: &Options) -> CallOptions {
    let mut terms = CallOptions::new();
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

impl Plan {
    fn terms(&self, options: &Options) -> CallOptions {
        terms(options).content_type(self.wire.content_type()).seen(&self.seen)
    }

    /// The error, with the endpoint that was probably meant.
    fn explain(&self, error: Error) -> Failure {
        let (known, endpoint) = (self.known.as_deref(), self.endpoint.as_str());
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
}

/// Shows what an answer says around its messages, but for gRPC's own.
fn show(output: &mut Output, what: &str, metadata: &Metadata) {
    for (name, value) in metadata.iter().filter(|(name, _)| !name.starts_with("grpc-")) {
        output.message(&format!("{what} {name}: {value}"));
    }
}
