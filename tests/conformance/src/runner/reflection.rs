//! Asks a server by gRPC reflection what it serves.

use futures_util::stream;
use micro::{Client, Proto, Streaming};
use prost::Message as _;

const METHOD: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";

/// Messages of `grpc.reflection.v1`, as far as they are used.
#[derive(Clone, PartialEq, prost::Message)]
struct Request {
    #[prost(string, tag = "4")]
    file_containing_symbol: String,
    #[prost(string, optional, tag = "7")]
    list_services: Option<String>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Response {
    #[prost(message, optional, tag = "4")]
    files: Option<Files>,
    #[prost(message, optional, tag = "6")]
    services: Option<Services>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Files {
    #[prost(bytes = "vec", repeated, tag = "1")]
    files: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Services {
    #[prost(message, repeated, tag = "1")]
    services: Vec<ServiceName>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ServiceName {
    #[prost(string, tag = "1")]
    name: String,
}

/// A file's descriptor, as far as it is used.
#[derive(Clone, PartialEq, prost::Message)]
struct File {
    #[prost(string, tag = "2")]
    package: String,
    #[prost(message, repeated, tag = "6")]
    services: Vec<Service>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    methods: Vec<Method>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Method {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(bool, tag = "5")]
    client_streams: bool,
    #[prost(bool, tag = "6")]
    server_streams: bool,
}

impl Method {
    /// Its name and kind, as scenarios write them.
    fn told(self) -> String {
        let kind = match (self.client_streams, self.server_streams) {
            (false, false) => "unary",
            (true, false) => "client",
            (false, true) => "server",
            (true, true) => "bidi",
        };
        format!("{} {kind}", self.name)
    }
}

/// Looks for services, and for the methods of the first of them.
pub(super) async fn check(
    address: &str,
    services: &[String],
    methods: &[String],
) -> Result<(), String> {
    let list = Request { list_services: Some("*".into()), ..Request::default() };
    let answer = ask(address, list).await?;
    let listed: Vec<String> =
        answer.services.unwrap_or_default().services.into_iter().map(|it| it.name).collect();
    if let Some(missing) = services.iter().find(|service| !listed.contains(service)) {
        return Err(format!("reflection lists {listed:?}, not {missing}"));
    }
    let Some(first) = services.first() else { return Ok(()) };
    let symbol = Request { file_containing_symbol: first.clone(), ..Request::default() };
    let mut found = Vec::new();
    for file in ask(address, symbol).await?.files.unwrap_or_default().files {
        let file = File::decode(&file[..]).map_err(|error| error.to_string())?;
        for service in file.services {
            found.extend(service.methods.into_iter().map(Method::told));
        }
    }
    match methods.iter().find(|method| !found.contains(method)) {
        Some(missing) => Err(format!("reflection knows {found:?} of {first}, not {missing}")),
        None => Ok(()),
    }
}

async fn ask(address: &str, request: Request) -> Result<Response, String> {
    let asked = async {
        let client = Client::builder()
            .registry(std::sync::Arc::new(micro::registry::Memory::new()))
            .build()?;
        let requests = stream::iter([Proto(request)]);
        let mut replies: Streaming<Proto<Response>> =
            client.bidi_stream("", METHOD, requests).address(address).await?;
        replies.message().await
    };
    match asked.await {
        Ok(Some(Proto(response))) => Ok(response),
        Ok(None) => Err("reflection answered nothing".to_owned()),
        Err(error) => Err(format!("reflection: {error}")),
    }
}
