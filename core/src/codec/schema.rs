//! What a service says about the types of its endpoints.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde::de::DeserializeOwned;

use super::traced::{DEPTH, MAX_FIELDS, trace};
use crate::registry::Value;

/// Shape of a message type, for the registry and for reflection.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    value: Value,
    descriptor: Option<MessageDescriptor>,
    /// Protobuf that would speak JSON if it had a descriptor.
    undescribed: bool,
}

impl Schema {
    /// A type of which only the name is known.
    pub fn named(name: &str) -> Self {
        Self {
            value: Value { name: name.into(), kind: name.into(), values: Vec::new() },
            ..Self::default()
        }
    }

    /// A protobuf type without a descriptor.
    pub(crate) fn undescribed(name: &str) -> Self {
        Self { undescribed: true, ..Self::named(name) }
    }

    /// Whether it is a protobuf type that lacks a descriptor.
    pub(crate) fn is_undescribed(&self) -> bool {
        self.undescribed
    }

    /// A type of serde that is read from JSON, with the fields that it asks for when it reads itself. It is asked for each of them
    /// once, and no value is made.
    pub fn of_json<T: DeserializeOwned>() -> Self {
        let name = short_name(std::any::type_name::<T>());
        let (kind, values) = trace::<T>();
        let kind = if kind.is_empty() { name.to_owned() } else { kind };
        Self { value: Value { name: name.into(), kind, values }, ..Self::default() }
    }

    /// A type as the registry is to have it: three levels, and 64 fields a level; what is more is left out.
    pub fn of_value(mut value: Value) -> Self {
        clip(&mut value, 1);
        Self { value, ..Self::default() }
    }

    /// A protobuf type.
    pub fn of_protobuf(descriptor: MessageDescriptor) -> Self {
        let value = Value {
            name: descriptor.name().into(),
            kind: descriptor.name().into(),
            values: fields(&descriptor, 1),
        };
        Self { value, descriptor: Some(descriptor), undescribed: false }
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

fn clip(value: &mut Value, level: usize) {
    value.values.truncate(if level < DEPTH { MAX_FIELDS } else { 0 });
    value.values.iter_mut().for_each(|field| clip(field, level + 1));
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
