//! What the service `Conformance` says of its endpoints.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet};
use serde_json::{Map, Value};

use super::document::document;
use crate::Line;

/// The endpoints, and whether repeating a call of them is harmless.
const ENDPOINTS: [(&str, bool); 5] =
    [("Echo", true), ("Do", false), ("Count", false), ("Sum", false), ("Chat", false)];

/// Puts the settings of every endpoint on a line: the usual ones, with those of a scenario on top.
pub(super) fn onto(mut line: Line, own: &BTreeMap<String, toml::Table>) -> Result<Line, String> {
    let descriptors = STANDARD.encode(descriptors().encode_to_vec());
    for (name, idempotent) in ENDPOINTS {
        let mut settings = Map::new();
        settings.insert("idempotent".into(), idempotent.into());
        settings.insert("request".into(), "conformance.Text".into());
        settings.insert("response".into(), "conformance.Text".into());
        settings.insert("descriptors".into(), descriptors.clone().into());
        if let Some(own) = own.get(name) {
            settings.extend(document(own)?);
        }
        line = line.with(&format!("endpoint.{name}"), Value::from(settings));
    }
    Ok(line)
}

/// `package conformance; message Text { string text = 1; }`
fn descriptors() -> FileDescriptorSet {
    let field = FieldDescriptorProto {
        name: Some("text".into()),
        number: Some(1),
        label: Some(Label::Optional.into()),
        r#type: Some(Type::String.into()),
        ..FieldDescriptorProto::default()
    };
    let message = DescriptorProto {
        name: Some("Text".into()),
        field: vec![field],
        ..DescriptorProto::default()
    };
    let file = FileDescriptorProto {
        name: Some("conformance.proto".into()),
        package: Some("conformance".into()),
        message_type: vec![message],
        syntax: Some("proto3".into()),
        ..FileDescriptorProto::default()
    };
    FileDescriptorSet { file: vec![file] }
}
