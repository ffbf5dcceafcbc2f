//! What a service says about the types of its endpoints.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};

use crate::registry::Value;

/// go-micro walks a type three levels deep (wire reference 1.10): the type, its fields, theirs.
const DEPTH: usize = 3;
/// Fields described per level; a type with more is described by its first ones.
const MAX_FIELDS: usize = 64;

/// Shape of a message type, for the registry and for reflection.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    value: Value,
    descriptor: Option<MessageDescriptor>,
}

impl Schema {
    /// A type of which only the name is known.
    pub fn named(name: &str) -> Self {
        Self {
            value: Value { name: name.into(), kind: name.into(), values: Vec::new() },
            descriptor: None,
        }
    }

    /// A protobuf type.
    pub fn of_protobuf(descriptor: MessageDescriptor) -> Self {
        let value = Value {
            name: descriptor.name().into(),
            kind: descriptor.name().into(),
            values: fields(&descriptor, 1),
        };
        Self { value, descriptor: Some(descriptor) }
    }

    /// Name and type tree as the registry stores it.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Descriptor of a protobuf type.
    pub fn descriptor(&self) -> Option<&MessageDescriptor> {
        self.descriptor.as_ref()
    }
}

fn fields(message: &MessageDescriptor, level: usize) -> Vec<Value> {
    if level >= DEPTH {
        return Vec::new();
    }
    message.fields().take(MAX_FIELDS).map(|field| describe(&field, level)).collect()
}

/// Type names are those Go's `reflect` gives the generated structs.
fn describe(field: &FieldDescriptor, level: usize) -> Value {
    if field.is_map() {
        return Value { name: field.name().into(), ..Value::default() };
    }
    let kind = match field.kind() {
        Kind::Double => "float64".to_owned(),
        Kind::Float => "float32".to_owned(),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => "int32".to_owned(),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => "int64".to_owned(),
        Kind::Uint32 | Kind::Fixed32 => "uint32".to_owned(),
        Kind::Uint64 | Kind::Fixed64 => "uint64".to_owned(),
        Kind::Bool => "bool".to_owned(),
        Kind::String => "string".to_owned(),
        Kind::Bytes => "[]uint8".to_owned(),
        Kind::Message(message) => message.name().to_owned(),
        Kind::Enum(kind) => kind.name().to_owned(),
    };
    let values = match field.kind() {
        Kind::Message(message) if !field.is_list() => fields(&message, level + 1),
        _ => Vec::new(),
    };
    let kind = if field.is_list() { format!("[]{kind}") } else { kind };
    Value { name: field.name().into(), kind, values }
}

/// Last part of a type's path: `HelloRequest` of `greeter::HelloRequest`.
pub(super) fn short_name(name: &str) -> &str {
    let bare = name.split('<').next().unwrap_or(name);
    bare.rsplit("::").next().unwrap_or(bare)
}
