//! JSON of the command line and the bytes of messages, one from the other.

use bytes::Bytes;
use micro::Raw;
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor, SerializeOptions};

use crate::failure::Failure;
use crate::json;

/// How the messages of an endpoint are written on the wire.
pub(super) enum Wire {
    /// As JSON, which services of this framework and of go-micro take.
    Json,
    /// As protobuf of the types that the server's reflection tells.
    Proto { request: MessageDescriptor, reply: MessageDescriptor },
}

impl Wire {
    pub(super) fn of(method: &MethodDescriptor) -> Self {
        Self::Proto { request: method.input(), reply: method.output() }
    }

    pub(super) fn content_type(&self) -> &'static str {
        match self {
            Self::Json => "application/grpc+json",
            Self::Proto { .. } => "application/grpc+proto",
        }
    }

    /// The message that a text in JSON means: a typing error is found before anything is sent.
    ///
    /// # Errors
    /// One of usage, for what is no JSON, or not of the request's type.
    pub(super) fn request(&self, text: &str) -> Result<Raw, Failure> {
        json::check(text)
            .map_err(|error| Failure::usage(format!("the request is not JSON: {error}")))?;
        let Self::Proto { request, .. } = self else {
            return Ok(Raw(Bytes::copy_from_slice(text.as_bytes())));
        };
        let mut json = serde_json::Deserializer::from_str(text);
        let message = DynamicMessage::deserialize(request.clone(), &mut json).map_err(|error| {
            Failure::usage(format!("the request is no {}: {error}", request.full_name()))
        })?;
        Ok(Raw(message.encode_to_vec().into()))
    }

    /// The text in JSON of a message that came back.
    ///
    /// # Errors
    /// For bytes that are no message of the reply's type.
    pub(super) fn reply(&self, message: &Raw) -> Result<String, Failure> {
        match self {
            Self::Json => {
                let text = std::str::from_utf8(&message.0).ok();
                let text = text.filter(|text| json::check(text).is_ok()).map(str::to_owned);
                text.ok_or_else(|| {
                    Failure::refused("the reply is not JSON, though JSON was asked for")
                })
            }
            Self::Proto { reply, .. } => {
                let unreadable = |error: String| {
                    Failure::refused(format!("the reply is no {}: {error}", reply.full_name()))
                };
                let message = DynamicMessage::decode(reply.clone(), message.0.clone())
                    .map_err(|error| unreadable(error.to_string()))?;
                let mut text = Vec::new();
                let mut json = serde_json::Serializer::new(&mut text);
                message
                    .serialize_with_options(
                        &mut json,
                        &SerializeOptions::new().skip_default_fields(false),
                    )
                    .map_err(|error| unreadable(error.to_string()))?;
                String::from_utf8(text).map_err(|error| unreadable(error.to_string()))
            }
        }
    }
}
