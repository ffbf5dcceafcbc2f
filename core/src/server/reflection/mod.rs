//! `grpc.reflection.v1` and `v1alpha`: what a generic client needs to call a service it has never
//! seen. Both versions have the same messages, so one endpoint answers both.
//!
//! A handler is registered under `Type.Method`, with or without a package and a `.proto` service of that name.
//! Where the message types' own files declare the service, that declaration is served; otherwise
//! one is made up in the package named after the micro service, out of the real message types.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use prost::Message as _;
use prost_reflect::{
    DescriptorPool, ExtensionDescriptor, FileDescriptor, MessageDescriptor, ServiceDescriptor,
};
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

/// Services that every server has.
const OURS: [&str; 2] = ["grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"];

/// Everything reflection knows of a server.
#[derive(Debug, Default)]
struct Index {
    services: BTreeSet<String>,
    files: BTreeMap<String, File>,
    /// File that declares a symbol.
    symbols: BTreeMap<String, String>,
    /// File that declares an extension, by the message it extends and its number.
    extensions: BTreeMap<(String, i32), String>,
}

/// A file as reflection hands it out.
#[derive(Debug)]
struct File {
    /// As it was compiled, with the options of others that this program knows nothing of.
    bytes: Bytes,
    imports: Vec<String>,
}

impl File {
    fn given(file: &FileDescriptor) -> Self {
        let imports = file.dependencies().map(|import| import.name().to_owned());
        Self { bytes: file.encode_to_vec().into(), imports: imports.collect() }
    }

    fn made_up(file: &FileDescriptorProto) -> Self {
        Self { bytes: file.encode_to_vec().into(), imports: file.dependency.clone() }
    }
}

/// The reflection endpoint over `endpoints` of the micro service `service`, and the full names of the services it lists:
/// also those that are `undescribed`, of which it knows no more.
pub(super) fn endpoint(
    service: &str,
    endpoints: &[&Arc<Endpoint>],
    undescribed: &[&str],
) -> (Endpoint, Vec<String>) {
    let mut index = Index::new(service, endpoints);
    index.services.extend(undescribed.iter().map(|name| (*name).to_owned()));
    let index = Arc::new(index);
    let names =
        index.services.iter().filter(|name| !OURS.contains(&name.as_str())).cloned().collect();
    let endpoint = Endpoint::bidi_stream(
        "ServerReflection.ServerReflectionInfo",
        move |_, requests: Streaming<ServerReflectionRequest>| {
            let index = index.clone();
            async move { Ok(requests.map(move |request| Ok(index.answer(request?)))) }
        },
    )
    .internal();
    (endpoint, names)
}

impl Index {
    fn new(service: &str, endpoints: &[&Arc<Endpoint>]) -> Self {
        let mut index = Self::default();
        for name in OURS {
            index.declare(name);
        }
        let mut types: BTreeMap<(Option<&str>, &str), Vec<&Arc<Endpoint>>> = BTreeMap::new();
        for endpoint in endpoints.iter().filter(|endpoint| !endpoint.internal) {
            let (kind, _) = endpoint.type_and_method();
            types.entry((endpoint.package.as_deref(), kind)).or_default().push(endpoint);
        }
        for ((package, kind), endpoints) in types {
            match declared(package, kind, &endpoints) {
                Some(service) => {
                    index.services.insert(service.full_name().to_owned());
                    index.add(&service.parent_file());
                }
                None => index.make_up(package.unwrap_or(service), kind, &endpoints),
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
        self.files.insert(name.clone(), File::given(file));
        let mut symbols = Vec::new();
        for service in file.services() {
            symbols.push(service.full_name().to_owned());
            symbols.extend(service.methods().map(|method| method.full_name().to_owned()));
        }
        for message in file.messages() {
            collect(&message, &mut symbols);
        }
        symbols.extend(file.enums().map(|kind| kind.full_name().to_owned()));
        let mut extensions: Vec<_> = file.extensions().collect();
        for message in file.messages() {
            nested(&message, &mut extensions);
        }
        for extension in extensions {
            symbols.push(extension.full_name().to_owned());
            let extended = extension.containing_message().full_name().to_owned();
            #[allow(clippy::cast_possible_wrap, reason = "protobuf's numbers have 29 bits")]
            let number = extension.number() as i32;
            self.extensions.insert((extended, number), name.clone());
        }
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
                name: Some(endpoint.type_and_method().1.to_owned()),
                input_type: Some(format!(".{}", request.full_name())),
                output_type: Some(format!(".{}", response.full_name())),
                client_streaming: Some(endpoint.shape.client_streams()),
                server_streaming: Some(endpoint.shape.server_streams()),
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
            File::made_up(&FileDescriptorProto {
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
            }),
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
            Some(MessageRequest::AllExtensionNumbersOfType(name)) => {
                let name = name.trim_start_matches('.');
                let numbers: Vec<_> = self
                    .extensions
                    .keys()
                    .filter(|(extended, _)| extended == name)
                    .map(|(_, number)| *number)
                    .collect();
                if numbers.is_empty() && !self.symbols.contains_key(name) {
                    unknown(name)
                } else {
                    MessageResponse::AllExtensionNumbersResponse(ExtensionNumberResponse {
                        base_type_name: name.to_owned(),
                        extension_number: numbers,
                    })
                }
            }
            Some(MessageRequest::FileContainingExtension(asked)) => {
                let name = asked.containing_type.trim_start_matches('.').to_owned();
                let shown = format!("extension {} of {name}", asked.extension_number);
                let file = self.extensions.get(&(name, asked.extension_number));
                self.file(file.map_or("", String::as_str), &shown)
            }
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
                found.push(file.bytes.clone());
                waiting.extend(file.imports.iter().map(String::as_str));
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

/// The `.proto` service called `kind`, of `package` where there is one, that declares all of `endpoints` with their types.
fn declared(
    package: Option<&str>,
    kind: &str,
    endpoints: &[&Arc<Endpoint>],
) -> Option<ServiceDescriptor> {
    let pool: &DescriptorPool = endpoints.first()?.request.descriptor()?.parent_pool();
    let same = |message: &MessageDescriptor, endpoint: Option<&MessageDescriptor>| {
        endpoint.is_some_and(|endpoint| endpoint.full_name() == message.full_name())
    };
    let called = |service: &ServiceDescriptor| {
        service.name() == kind && package.is_none_or(|package| service.package_name() == package)
    };
    pool.services().filter(called).find(|service| {
        endpoints.iter().all(|endpoint| {
            service.methods().any(|method| {
                endpoint.type_and_method().1 == method.name()
                    && same(&method.input(), endpoint.request.descriptor())
                    && same(&method.output(), endpoint.response.descriptor())
            })
        })
    })
}

/// Extensions that are declared inside of a message.
fn nested(message: &MessageDescriptor, extensions: &mut Vec<ExtensionDescriptor>) {
    extensions.extend(message.child_extensions());
    for child in message.child_messages() {
        nested(&child, extensions);
    }
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
mod tests;
