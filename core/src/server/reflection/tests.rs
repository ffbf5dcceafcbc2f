//! What a generic client is told.

use super::*;
use crate::proto::debug::{HealthRequest, HealthResponse};
use crate::proto::reflection::ExtensionRequest;
use crate::{Json, Raw};

fn index(service: &str, endpoints: Vec<Endpoint>) -> Index {
    let endpoints: Vec<_> = endpoints.into_iter().map(Arc::new).collect();
    Index::new(service, &endpoints.iter().collect::<Vec<_>>())
}

fn ask(index: &Index, request: MessageRequest) -> MessageResponse {
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
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

/// A file with an option that this crate has never heard of.
fn with_option() -> DescriptorPool {
    use prost_types::field_descriptor_proto::{Label, Type};
    let file = |name: &str, package: &str| FileDescriptorProto {
        name: Some(name.to_owned()),
        package: Some(package.to_owned()),
        ..Default::default()
    };
    let mut options = file("options.proto", "opt");
    options.dependency = vec!["google/protobuf/descriptor.proto".to_owned()];
    options.extension = vec![prost_types::FieldDescriptorProto {
        name: Some("route".to_owned()),
        number: Some(50_001),
        label: Some(Label::Optional.into()),
        r#type: Some(Type::String.into()),
        extendee: Some(".google.protobuf.MethodOptions".to_owned()),
        ..Default::default()
    }];
    let mut shop = file("shop.proto", "shop.v1");
    shop.dependency = vec!["options.proto".to_owned()];
    shop.message_type =
        vec![prost_types::DescriptorProto { name: Some("Order".to_owned()), ..Default::default() }];
    // The option `route` of the method is written by hand: prost knows no such field.
    let text = b"/v1/orders";
    let option = [&[0x8a, 0xb5, 0x18, text.len() as u8][..], text].concat();
    let options_of_method = [&[0x22, option.len() as u8][..], &option].concat();
    let io = [&b"\x12\x0e.shop.v1.Order\x1a\x0e.shop.v1.Order"[..], &options_of_method].concat();
    let method = [&b"\x0a\x03Put"[..], &io].concat();
    let service = [&b"\x0a\x04Shop\x12"[..], &[method.len() as u8], &method].concat();
    let shop = [&shop.encode_to_vec()[..], &[0x32, service.len() as u8], &service].concat();
    let mut pool = DescriptorPool::global();
    pool.add_file_descriptor_proto(options).expect("the options");
    pool.decode_file_descriptor_proto(shop.as_slice()).expect("the file");
    pool
}

#[test]
fn options_that_are_unknown_here_are_handed_out_as_they_were_given() {
    let pool = with_option();
    let order = || {
        let message = pool.get_message_by_name("shop.v1.Order").expect("the message");
        crate::codec::Schema::of_protobuf(message)
    };
    let put = Endpoint::unary("shop.v1.Shop.Put", |_, r: Raw| async { Ok(r) });
    let mut routes = crate::server::routes::Routes::default();
    routes.add(put.schemas(order(), order())).expect("a good name");
    let index = Index::new("shop", &routes.sorted());
    assert!(index.services.contains("shop.v1.Shop"), "{:?}", index.services);
    let file = ask(&index, MessageRequest::FileContainingSymbol("shop.v1.Shop".into()));
    let MessageResponse::FileDescriptorResponse(files) = file else { panic!("no file") };
    let holds = |file: &Bytes| file.windows(10).any(|bytes| bytes == b"/v1/orders");
    assert!(files.file_descriptor_proto.iter().any(holds));
    let options = "google.protobuf.MethodOptions".to_owned();
    let numbers = ask(&index, MessageRequest::AllExtensionNumbersOfType(options.clone()));
    let MessageResponse::AllExtensionNumbersResponse(numbers) = numbers else { panic!("none") };
    assert_eq!(numbers.extension_number, [50_001]);
    let asked = |extension_number| {
        let containing_type = options.clone();
        let asked = ExtensionRequest { containing_type, extension_number };
        ask(&index, MessageRequest::FileContainingExtension(asked))
    };
    assert!(matches!(asked(50_001), MessageResponse::FileDescriptorResponse(_)));
    assert!(matches!(asked(50_002), MessageResponse::ErrorResponse(_)));
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
