//! `grpc.reflection.v1` and `v1alpha`: what a generic client needs to call a service it has never
//! seen. Both versions have the same messages, so one endpoint answers both.
//!
//! A handler is registered under `Type.Method`, with or without a `.proto` service of that name.
//! Where the message types' own files declare the service, that declaration is served; otherwise
//! one is made up in the package named after the micro service, out of the real message types.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::StreamExt as _;
use prost::Message as _;
use prost_reflect::{DescriptorPool, FileDescriptor, MessageDescriptor, ServiceDescriptor};
use prost_types::{FileDescriptorProto, MethodDescriptorProto, ServiceDescriptorProto};

use super::endpoint::Endpoint;
use crate::error::Code;
use crate::proto::DESCRIPTORS;
use crate::proto::reflection::server_reflection_request::MessageRequest;
use crate::proto::reflection::server_reflection_response::MessageResponse;
use crate::proto::reflection::{
    ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse,
    ServerReflectionRequest, ServerReflectionResponse, ServiceResponse,
};
use crate::streaming::Streaming;

/// Everything reflection knows of a server.
#[derive(Debug, Default)]
struct Index {
    services: BTreeSet<String>,
    files: BTreeMap<String, FileDescriptorProto>,
    /// File that declares a symbol.
    symbols: BTreeMap<String, String>,
}

/// The reflection endpoint over `endpoints` of the micro service `service`.
pub(super) fn endpoint(service: &str, endpoints: &[&Arc<Endpoint>]) -> Endpoint {
    let index = Arc::new(Index::new(service, endpoints));
    Endpoint::bidi_stream(
        "ServerReflection.ServerReflectionInfo",
        move |_, requests: Streaming<ServerReflectionRequest>| {
            let index = index.clone();
            async move { Ok(requests.map(move |request| Ok(index.answer(request?)))) }
        },
    )
    .internal()
}

impl Index {
    fn new(service: &str, endpoints: &[&Arc<Endpoint>]) -> Self {
        let mut index = Self::default();
        index.declare("grpc.health.v1.Health");
        index.declare("grpc.reflection.v1.ServerReflection");
        let mut types: BTreeMap<&str, Vec<&Arc<Endpoint>>> = BTreeMap::new();
        for endpoint in endpoints.iter().filter(|endpoint| !endpoint.internal) {
            if let Some((kind, _)) = endpoint.name.split_once('.') {
                types.entry(kind).or_default().push(endpoint);
            }
        }
        for (kind, endpoints) in types {
            match declared(kind, &endpoints) {
                Some(service) => {
                    index.services.insert(service.full_name().to_owned());
                    index.add(&service.parent_file());
                }
                None => index.make_up(service, kind, &endpoints),
            }
        }
        index
    }

    /// Adds a service of this crate's own protocols.
    fn declare(&mut self, name: &str) {
        if let Some(service) = DESCRIPTORS.get_service_by_name(name) {
            self.services.insert(name.to_owned());
            self.add(&service.parent_file());
        }
    }

    /// Adds a file and all it imports.
    fn add(&mut self, file: &FileDescriptor) {
        if self.files.contains_key(file.name()) {
            return;
        }
        let name = file.name().to_owned();
        self.files.insert(name.clone(), file.file_descriptor_proto().clone());
        let mut symbols = Vec::new();
        for service in file.services() {
            symbols.push(service.full_name().to_owned());
            symbols.extend(service.methods().map(|method| method.full_name().to_owned()));
        }
        for message in file.messages() {
            collect(&message, &mut symbols);
        }
        symbols.extend(file.enums().map(|kind| kind.full_name().to_owned()));
        self.symbols.extend(symbols.into_iter().map(|symbol| (symbol, name.clone())));
        for import in file.dependencies() {
            self.add(&import);
        }
    }

    /// Declares `kind` in a file of its own. Endpoints whose types are no protobuf are left out:
    /// there is nothing to say about them.
    fn make_up(&mut self, service: &str, kind: &str, endpoints: &[&Arc<Endpoint>]) {
        let mut imports = BTreeSet::new();
        let mut methods = Vec::new();
        for endpoint in endpoints {
            let (Some(request), Some(response)) =
                (endpoint.request.descriptor(), endpoint.response.descriptor())
            else {
                continue;
            };
            for message in [request, response] {
                imports.insert(message.parent_file().name().to_owned());
                self.add(&message.parent_file());
            }
            methods.push(MethodDescriptorProto {
                name: endpoint.name.split_once('.').map(|(_, method)| method.to_owned()),
                input_type: Some(format!(".{}", request.full_name())),
                output_type: Some(format!(".{}", response.full_name())),
                client_streaming: Some(endpoint.kind.client_streams()),
                server_streaming: Some(endpoint.kind.server_streams()),
                ..Default::default()
            });
        }
        let package = if is_package(service) { service } else { "" };
        let name = if package.is_empty() { kind.to_owned() } else { format!("{package}.{kind}") };
        self.services.insert(name.clone());
        let file = format!("{name}.micro.proto");
        let methods_of =
            methods.iter().filter_map(|m| Some(format!("{name}.{}", m.name.as_ref()?)));
        let symbols: Vec<_> = std::iter::once(name.clone()).chain(methods_of).collect();
        self.symbols.extend(symbols.into_iter().map(|symbol| (symbol, file.clone())));
        self.files.insert(
            file.clone(),
            FileDescriptorProto {
                name: Some(file),
                package: (!package.is_empty()).then(|| package.to_owned()),
                dependency: imports.into_iter().collect(),
                service: vec![ServiceDescriptorProto {
                    name: Some(kind.to_owned()),
                    method: methods,
                    ..Default::default()
                }],
                syntax: Some("proto3".to_owned()),
                ..Default::default()
            },
        );
    }

    fn answer(&self, request: ServerReflectionRequest) -> ServerReflectionResponse {
        let response = match &request.message_request {
            Some(MessageRequest::ListServices(_)) => {
                MessageResponse::ListServicesResponse(ListServiceResponse {
                    service: self
                        .services
                        .iter()
                        .map(|name| ServiceResponse { name: name.clone() })
                        .collect(),
                })
            }
            Some(MessageRequest::FileByFilename(name)) => self.file(name, name),
            Some(MessageRequest::FileContainingSymbol(symbol)) => {
                let symbol = symbol.trim_start_matches('.');
                self.file(self.symbols.get(symbol).map_or("", String::as_str), symbol)
            }
            Some(MessageRequest::AllExtensionNumbersOfType(name))
                if self.symbols.contains_key(name) =>
            {
                MessageResponse::AllExtensionNumbersResponse(ExtensionNumberResponse {
                    base_type_name: name.clone(),
                    extension_number: Vec::new(),
                })
            }
            Some(
                MessageRequest::AllExtensionNumbersOfType(_)
                | MessageRequest::FileContainingExtension(_),
            ) => unknown("no such type or extension"),
            None => MessageResponse::ErrorResponse(ErrorResponse {
                error_code: Code::InvalidArgument.grpc(),
                error_message: "the request asks nothing".to_owned(),
            }),
        };
        ServerReflectionResponse {
            valid_host: request.host.clone(),
            original_request: Some(request),
            message_response: Some(response),
        }
    }

    /// The file and, so that one answer suffices, everything it imports.
    fn file(&self, name: &str, asked: &str) -> MessageResponse {
        let (mut found, mut waiting) = (Vec::new(), vec![name]);
        let mut seen = BTreeSet::new();
        while let Some(name) = waiting.pop() {
            if let Some(file) = self.files.get(name).filter(|_| seen.insert(name)) {
                found.push(file.encode_to_vec().into());
                waiting.extend(file.dependency.iter().map(String::as_str));
            }
        }
        if found.is_empty() {
            return unknown(asked);
        }
        MessageResponse::FileDescriptorResponse(FileDescriptorResponse {
            file_descriptor_proto: found,
        })
    }
}

fn unknown(what: &str) -> MessageResponse {
    MessageResponse::ErrorResponse(ErrorResponse {
        error_code: Code::NotFound.grpc(),
        error_message: format!("not found: {what}"),
    })
}

/// The `.proto` service called `kind` that declares all of `endpoints` with their types.
fn declared(kind: &str, endpoints: &[&Arc<Endpoint>]) -> Option<ServiceDescriptor> {
    let pool: &DescriptorPool = endpoints.first()?.request.descriptor()?.parent_pool();
    let same = |message: &MessageDescriptor, endpoint: Option<&MessageDescriptor>| {
        endpoint.is_some_and(|endpoint| endpoint.full_name() == message.full_name())
    };
    pool.services().filter(|service| service.name() == kind).find(|service| {
        endpoints.iter().all(|endpoint| {
            service.methods().any(|method| {
                endpoint.name.split_once('.').map(|(_, name)| name) == Some(method.name())
                    && same(&method.input(), endpoint.request.descriptor())
                    && same(&method.output(), endpoint.response.descriptor())
            })
        })
    })
}

fn collect(message: &MessageDescriptor, symbols: &mut Vec<String>) {
    symbols.push(message.full_name().to_owned());
    for child in message.child_messages() {
        collect(&child, symbols);
    }
    symbols.extend(message.child_enums().map(|kind| kind.full_name().to_owned()));
}

/// True when `name` can be a protobuf package.
fn is_package(name: &str) -> bool {
    name.split('.').all(|part| {
        part.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::debug::{HealthRequest, HealthResponse};
    use crate::{Json, Raw};

    fn index(service: &str, endpoints: Vec<Endpoint>) -> Index {
        let endpoints: Vec<_> = endpoints.into_iter().map(Arc::new).collect();
        Index::new(service, &endpoints.iter().collect::<Vec<_>>())
    }

    fn ask(index: &Index, request: MessageRequest) -> MessageResponse {
        let request =
            ServerReflectionRequest { host: String::new(), message_request: Some(request) };
        index.answer(request).message_response.expect("an answer")
    }

    fn health(name: &str) -> Endpoint {
        Endpoint::unary(name, |_, _: HealthRequest| async { Ok(HealthResponse::default()) })
    }

    #[test]
    fn a_made_up_service_resolves_with_all_it_imports() {
        let index = index("go.micro.srv.greeter", vec![health("Greeter.Hello")]);
        let symbol = "go.micro.srv.greeter.Greeter".to_owned();
        let MessageResponse::FileDescriptorResponse(files) =
            ask(&index, MessageRequest::FileContainingSymbol(symbol.clone()))
        else {
            panic!("no file");
        };
        let mut pool = DescriptorPool::new();
        let files = files
            .file_descriptor_proto
            .iter()
            .map(|file| FileDescriptorProto::decode(file.clone()).expect("a descriptor"));
        pool.add_file_descriptor_protos(files).expect("a closed set of files");
        let service = pool.get_service_by_name(&symbol).expect("the service");
        assert_eq!(
            service.methods().next().map(|m| m.input().name().to_owned()),
            Some("HealthRequest".into())
        );
    }

    #[test]
    fn a_service_declared_in_its_types_own_file_keeps_its_name() {
        let index = index("x", vec![health("Debug.Health")]);
        assert!(index.services.contains("Debug"), "{:?}", index.services);
    }

    #[test]
    fn every_service_is_listed_whatever_its_types() {
        let raw = Endpoint::unary("Files.Get", |_, r: Raw| async { Ok(r) });
        let json = Endpoint::unary("Notes.Add", |_, r: Json<String>| async { Ok(r) });
        let index = index("my-service", vec![raw, json, health("Hidden.Hello").internal()]);
        assert_eq!(
            index.services.iter().map(String::as_str).collect::<Vec<_>>(),
            ["Files", "Notes", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"]
        );
    }

    #[test]
    fn unknown_symbols_and_files_are_not_found() {
        let index = index("x", vec![]);
        for request in [
            MessageRequest::FileByFilename("../../etc/passwd".into()),
            MessageRequest::FileContainingSymbol("no.Such".into()),
            MessageRequest::AllExtensionNumbersOfType("no.Such".into()),
        ] {
            let MessageResponse::ErrorResponse(error) = ask(&index, request) else {
                panic!("found");
            };
            assert_eq!(error.error_code, 5);
        }
    }
}
