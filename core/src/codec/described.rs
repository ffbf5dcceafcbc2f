//! Messages that are known by their descriptors alone, from JSON and to JSON.

use bytes::{Bytes, BytesMut};
use prost::Message as _;
use prost_reflect::{DynamicMessage, MessageDescriptor};

use super::message::{Described, Side, write_json};
use super::unreadable::{read_by, undecodable_as};
use crate::error::{Error, Result};

/// A request in protobuf that came as JSON.
///
/// # Errors
/// `INVALID_ARGUMENT` for what is no such message.
pub(crate) fn request_from_json(kind: &MessageDescriptor, json: &[u8]) -> Result<Bytes> {
    let wrong = |cause: String| undecodable_as(kind.name(), cause);
    let text = std::str::from_utf8(json.trim_ascii());
    let text = text.map_err(|error| wrong(format!("it is no UTF-8: {error}")))?;
    // Go reads nothing and `null` as the default message.
    if text.is_empty() || text == "null" {
        return Ok(Bytes::new());
    }
    let message = read_by(|| Described(kind.clone()), text).map_err(wrong)?;
    Ok(message.encode_to_vec().into())
}

/// A reply in JSON that came as protobuf.
///
/// # Errors
/// `INTERNAL` for what is no such message.
pub(crate) fn reply_to_json(kind: &MessageDescriptor, reply: Bytes) -> Result<Bytes> {
    let message = DynamicMessage::decode(kind.clone(), reply).map_err(|error| {
        Error::internal(format!("the reply is no {}: do the descriptors fit? {error}", kind.name()))
    })?;
    let mut buffer = BytesMut::new();
    write_json(&message, Side::Server, &mut buffer)?;
    Ok(buffer.freeze())
}
