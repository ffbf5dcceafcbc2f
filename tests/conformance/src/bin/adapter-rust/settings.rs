//! Settings as documents.

use std::time::Duration;

use micro::client::{Call, ClientBuilder, StreamCall};
use micro::service::ServiceBuilder;
use micro::{Client, Code, Error, Proto, Raw, Result, Service, registry};
use micro_conformance::Line;
use serde_json::{Map, Value};

type Fields = Map<String, Value>;

fn read(text: &str, known: &[&str]) -> Result<Fields> {
    let text = if text.is_empty() { "{}" } else { text };
    let fields: Fields =
        serde_json::from_str(text).map_err(|e| Error::invalid_argument(e.to_string()))?;
    match fields.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(Error::invalid_argument(format!("unknown field {key}"))),
        None => Ok(fields),
    }
}

fn duration(value: &Value) -> Result<Duration> {
    let text = value.as_str().unwrap_or_default();
    let parsed = match (text.strip_suffix("ms"), text.strip_suffix('s')) {
        (Some(millis), _) => millis.parse().map(Duration::from_millis).ok(),
        (None, Some(seconds)) => seconds.parse().map(Duration::from_secs).ok(),
        _ => None,
    };
    parsed.ok_or_else(|| Error::invalid_argument(format!("`{value}` is no duration")))
}

/// A service to be.
pub(crate) fn service(name: &str, text: &str) -> Result<ServiceBuilder> {
    let known =
        ["address", "registry", "grace", "propagation", "id", "version", "max_message_size"];
    let fields = read(text, &known)?;
    let mut builder = Service::builder(name);
    for (key, value) in &fields {
        let text = value.as_str().unwrap_or_default();
        builder = match key.as_str() {
            "address" => builder.address(text),
            "registry" => builder.registry(registry::connect(text)?),
            "grace" => builder.grace(duration(value)?),
            "propagation" => builder.propagation(duration(value)?),
            "id" => builder.id(text),
            "version" => builder.version(text),
            _ => builder.server(|s| s.max_message_size(value.as_u64().unwrap_or(0) as usize)),
        };
    }
    Ok(builder)
}

/// A client.
pub(crate) fn client(text: &str) -> Result<Client> {
    let fields = read(text, &["registry", "name", "max_message_size"])?;
    let mut builder: ClientBuilder = Client::builder();
    for (key, value) in &fields {
        let text = value.as_str().unwrap_or_default();
        builder = match key.as_str() {
            "registry" => builder.registry(registry::connect(text)?),
            "name" => builder.name(text),
            _ => builder.max_message_size(value.as_u64().unwrap_or(0) as usize),
        };
    }
    builder.build()
}

/// The terms of a call.
pub(crate) struct Terms(Fields);

/// Reads the terms of a call.
pub(crate) fn call(text: &str) -> Result<Terms> {
    let known = ["timeout", "metadata", "content_type", "retries", "idempotent", "addresses"];
    read(text, &known).map(Terms)
}

macro_rules! apply {
    ($fields:expr, $call:expr) => {{
        let mut call = $call;
        for (key, value) in $fields {
            let text = value.as_str().unwrap_or_default();
            call = match key.as_str() {
                "timeout" if text == "none" => call.no_timeout(),
                "timeout" => call.timeout(duration(value).unwrap_or_default()),
                "content_type" => call.content_type(text),
                "retries" => call.retries(value.as_u64().unwrap_or(0) as u32),
                "idempotent" => call.idempotent(value.as_bool().unwrap_or(false)),
                "addresses" => {
                    let list = value.as_array().into_iter().flatten().filter_map(Value::as_str);
                    list.fold(call, |call, address| call.address(address))
                }
                _ => {
                    for (name, value) in value.as_object().into_iter().flatten() {
                        let values = match value {
                            Value::Array(values) => values.clone(),
                            value => vec![value.clone()],
                        };
                        for value in values {
                            call = call.metadata(name, value.as_str().unwrap_or_default());
                        }
                    }
                    call
                }
            };
        }
        call
    }};
}

impl Terms {
    pub(crate) fn onto_call(&self, call: Call<Raw, Raw>) -> Call<Raw, Raw> {
        apply!(&self.0, call)
    }

    pub(crate) fn onto_stream<In, Out>(&self, call: StreamCall<In, Out>) -> StreamCall<In, Out> {
        apply!(&self.0, call)
    }
}

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

/// What each node of a service says of its health.
pub(crate) async fn health(client: &Client, service: &str, mut line: Line) -> Line {
    let Ok(snapshot) = client.cache().resolve(service).await else { return line };
    for node in snapshot.nodes() {
        let request = Proto(Request { service: service.to_owned() });
        let answer: Result<Proto<Response>> =
            client.call("", "/grpc.health.v1.Health/Check", request).address(node.address()).await;
        let said = match answer {
            Ok(Proto(Response { status: 1 })) => "serving".to_owned(),
            Ok(_) => "not_serving".to_owned(),
            Err(error) => Code::name(error.code()).to_owned(),
        };
        line = line.with(&format!("node.{}", node.id()), said);
    }
    line
}
