//! Types that can be requests and replies.

use bytes::{BufMut, Bytes, BytesMut};
use prost_reflect::{DeserializeOptions, DynamicMessage, ReflectMessage, SerializeOptions};

use super::Codec;
use super::schema::Schema;
use crate::error::{Error, Result};

/// Who writes a message. go-micro's two sides write different JSON (wire reference 7): a client
/// writes `camelCase` names and leaves out defaults, a server writes the names of the `.proto` file
/// and every field. Both read either.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Requests.
    Client,
    /// Replies.
    Server,
}

/// A type that can be sent and received.
///
/// Implemented for every protobuf type that knows its descriptor
/// ([`ReflectMessage`], derived by `prost-reflect`), and for the wrappers [`Json`], [`Proto`] and
/// [`Raw`].
pub trait Message: Sized + Send + 'static {
    /// Appends the message to `buffer`.
    ///
    /// # Errors
    /// `UNIMPLEMENTED` when this type does not speak `codec`, `INTERNAL` when it cannot be written.
    fn encode(&self, codec: Codec, side: Side, buffer: &mut BytesMut) -> Result<()>;

    /// Reads a message.
    ///
    /// # Errors
    /// `UNIMPLEMENTED` when this type does not speak `codec`, `INTERNAL` when the bytes are not
    /// such a message, as gRPC prescribes.
    fn decode(codec: Codec, bytes: Bytes) -> Result<Self>;

    /// The message as bytes, without a copy where it is bytes already.
    ///
    /// # Errors
    /// As [`Message::encode`].
    fn into_bytes(self, codec: Codec, side: Side) -> Result<Bytes> {
        let mut buffer = BytesMut::new();
        self.encode(codec, side, &mut buffer)?;
        Ok(buffer.freeze())
    }

    /// The codec a client speaks when nobody asks for another.
    fn preferred() -> Codec {
        Codec::Proto
    }

    /// What the registry and reflection say about this type.
    fn schema() -> Schema;
}

pub(super) fn unsupported<T>(codec: Codec, hint: &str) -> Error {
    Error::unimplemented(format!(
        "{} does not speak `{codec}`: {hint}",
        short_name(std::any::type_name::<T>())
    ))
}

pub(super) fn undecodable(cause: impl std::fmt::Display) -> Error {
    Error::internal(format!("grpc: failed to unmarshal the received message {cause}"))
}

/// Last part of a type's path: `HelloRequest` of `greeter::HelloRequest`.
pub(super) fn short_name(name: &str) -> &str {
    let bare = name.split('<').next().unwrap_or(name);
    bare.rsplit("::").next().unwrap_or(bare)
}

impl<T: ReflectMessage + Default + 'static> Message for T {
    fn encode(&self, codec: Codec, side: Side, buffer: &mut BytesMut) -> Result<()> {
        match codec {
            Codec::Proto => {
                // Growing once beats growing as fields arrive.
                buffer.reserve(self.encoded_len());
                self.encode_raw(buffer);
                Ok(())
            }
            Codec::Json => {
                let server = side == Side::Server;
                let options = SerializeOptions::new()
                    .use_proto_field_name(server)
                    .skip_default_fields(!server)
                    .stringify_64_bit_integers(true);
                let mut serializer = serde_json::Serializer::new(buffer.writer());
                self.transcode_to_dynamic()
                    .serialize_with_options(&mut serializer, &options)
                    .map_err(|e| Error::internal(format!("cannot write the reply as JSON: {e}")))
            }
            Codec::Bytes | Codec::Text => {
                Err(unsupported::<T>(codec, "send `proto` or `json` to a protobuf endpoint"))
            }
        }
    }

    fn decode(codec: Codec, bytes: Bytes) -> Result<Self> {
        match codec {
            Codec::Proto => <T as prost::Message>::decode(bytes).map_err(undecodable),
            Codec::Json => {
                // Go reads nothing and `null` as the default message, and only the first value.
                let text = bytes.trim_ascii();
                if text.is_empty() || text == b"null" {
                    return Ok(T::default());
                }
                let mut deserializer = serde_json::Deserializer::from_slice(text);
                let options = DeserializeOptions::new().deny_unknown_fields(true);
                DynamicMessage::deserialize_with_options(
                    T::default().descriptor(),
                    &mut deserializer,
                    &options,
                )
                .map_err(undecodable)?
                .transcode_to()
                .map_err(undecodable)
            }
            Codec::Bytes | Codec::Text => {
                Err(unsupported::<T>(codec, "send `proto` or `json` to a protobuf endpoint"))
            }
        }
    }

    fn schema() -> Schema {
        Schema::of_protobuf(T::default().descriptor())
    }
}

/// A protobuf type without a descriptor, as plain `prost-build` makes them: speaks `proto` only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Proto<T>(pub T);

impl<T: prost::Message + Default + 'static> Message for Proto<T> {
    fn encode(&self, codec: Codec, _side: Side, buffer: &mut BytesMut) -> Result<()> {
        if codec != Codec::Proto {
            return Err(unsupported::<T>(codec, "derive prost_reflect::ReflectMessage for JSON"));
        }
        buffer.reserve(self.0.encoded_len());
        self.0.encode_raw(buffer);
        Ok(())
    }

    fn decode(codec: Codec, bytes: Bytes) -> Result<Self> {
        if codec != Codec::Proto {
            return Err(unsupported::<T>(codec, "derive prost_reflect::ReflectMessage for JSON"));
        }
        T::decode(bytes).map(Self).map_err(undecodable)
    }

    fn schema() -> Schema {
        Schema::named(short_name(std::any::type_name::<T>()))
    }
}
