//! Types that can be requests and replies.

use bytes::{BufMut, Bytes, BytesMut};
use prost_reflect::{
    DeserializeOptions, DynamicMessage, MessageDescriptor, ReflectMessage, SerializeOptions,
};
use serde::de::{DeserializeSeed, Deserializer};
use serde::{Serialize, Serializer};

use super::Codec;
use super::added::Added;
use super::schema::{Schema, short_name};
use super::unreadable::{from_json_by, undecodable};
use crate::error::{Error, Result};

/// The side that writes a message. go-micro's two sides write different JSON (wire reference 7): a client
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
/// ([`ReflectMessage`], derived by `prost-reflect`), and for the wrappers [`Json`](super::Json),
/// [`Proto`] and [`Raw`](super::Raw).
#[diagnostic::on_unimplemented(
    message = "`{Self}` can be no request and no reply",
    label = "not a message",
    note = "`Json<T>` carries a `T` that is `serde::Serialize`, `serde::Deserialize` (for requests *and* replies, on both sides), `Send` and without borrowed data",
    note = "protobuf types need no wrapper where they derive `prost_reflect::ReflectMessage`; `Proto<T>` carries those that do not, and `Raw` any bytes"
)]
pub trait Message: Sized + Send + 'static {
    /// Appends the message to `buffer`.
    ///
    /// # Errors
    /// `UNIMPLEMENTED` when this type does not speak `codec`, `INTERNAL` when it cannot be written.
    fn encode(&self, codec: Codec, side: Side, buffer: &mut BytesMut) -> Result<()>;

    /// Reads a message.
    ///
    /// # Errors
    /// `UNIMPLEMENTED` when this type does not speak `codec`, `INVALID_ARGUMENT` when the bytes are not
    /// such a message. A caller gets `INTERNAL` for a reply that is not: it can do nothing about it.
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

    /// The message as bytes cut from `arena`, so that the messages of a stream share their memory.
    ///
    /// # Errors
    /// As [`Message::encode`].
    fn carve(self, codec: Codec, side: Side, arena: &mut BytesMut) -> Result<Bytes> {
        self.encode(codec, side, arena)?;
        Ok(arena.split().freeze())
    }

    /// The codec a client speaks unless it is asked for another.
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

/// Appends a value in a codec that the program has added. `T` is what it is called.
///
/// # Errors
/// `INVALID_ARGUMENT` to a client, `INTERNAL` to a server, where the format cannot say it. `UNIMPLEMENTED` without one.
pub(super) fn write_added<T>(
    codec: Added,
    value: &dyn erased_serde::Serialize,
    side: Side,
    buffer: &mut BytesMut,
) -> Result<()> {
    let written = codec.write(value, buffer).ok_or_else(|| mute::<T>(codec))?;
    written.map_err(|error| {
        let name = std::any::type_name::<T>();
        let why = format!("cannot write {name} as {}: {error}", codec.name());
        match side {
            Side::Client => Error::invalid_argument(why),
            Side::Server => Error::unexpected(why),
        }
    })
}

/// Reads what `seed` knows how to read. `T` is what it is called.
///
/// # Errors
/// `INVALID_ARGUMENT` for bytes that are no such value, `UNIMPLEMENTED` without a format.
pub(super) fn read_added<'de, T, S: DeserializeSeed<'de>>(
    codec: Added,
    bytes: &'de [u8],
    seed: S,
) -> Result<S::Value> {
    codec.read(bytes, seed).ok_or_else(|| mute::<T>(codec))?.map_err(undecodable::<T>)
}

fn mute<T>(codec: Added) -> Error {
    let hint = "it was declared without a format, and is spoken by `Raw` alone";
    unsupported::<T>(Codec::Added(codec), hint)
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
            Codec::Json => write_json(&self.transcode_to_dynamic(), side, buffer),
            Codec::Added(added) => {
                let message = Mapped { message: &self.transcode_to_dynamic(), side };
                write_added::<T>(added, &message, side, buffer)
            }
            Codec::Bytes | Codec::Text => {
                Err(unsupported::<T>(codec, "send `proto` or `json` to a protobuf endpoint"))
            }
        }
    }

    fn decode(codec: Codec, bytes: Bytes) -> Result<Self> {
        match codec {
            Codec::Proto => <T as prost::Message>::decode(bytes).map_err(undecodable::<T>),
            Codec::Json => {
                // Go reads nothing and `null` as the default message.
                let text = bytes.trim_ascii();
                if text.is_empty() || text == b"null" {
                    return Ok(T::default());
                }
                let seed = || Described(T::default().descriptor());
                from_json_by::<T, _>(seed, text)?.transcode_to().map_err(undecodable::<T>)
            }
            Codec::Added(added) => {
                let message =
                    read_added::<T, _>(added, &bytes, Described(T::default().descriptor()))?;
                message.transcode_to().map_err(undecodable::<T>)
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

/// Appends protobuf's JSON, as `side` writes it.
pub(super) fn write_json(
    message: &DynamicMessage,
    side: Side,
    buffer: &mut BytesMut,
) -> Result<()> {
    serde_json::to_writer(buffer.writer(), &Mapped { message, side })
        .map_err(|e| Error::unexpected(format!("cannot write the message as JSON: {e}")))
}

/// A message as protobuf maps it to JSON, and `side` writes it.
struct Mapped<'a> {
    message: &'a DynamicMessage,
    side: Side,
}

impl Serialize for Mapped<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let server = self.side == Side::Server;
        let options = SerializeOptions::new()
            .use_proto_field_name(server)
            .skip_default_fields(!server)
            .stringify_64_bit_integers(true);
        self.message.serialize_with_options(serializer, &options)
    }
}

/// Reads protobuf's JSON of a type that is known by its descriptor.
pub(super) struct Described(pub(super) MessageDescriptor);

impl<'de> DeserializeSeed<'de> for Described {
    type Value = DynamicMessage;

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<DynamicMessage, D::Error> {
        let options = DeserializeOptions::new().deny_unknown_fields(false);
        DynamicMessage::deserialize_with_options(self.0, deserializer, &options)
    }
}

const NO_DESCRIPTOR: &str =
    "for JSON, give the server the `descriptors`, or derive prost_reflect::ReflectMessage";

/// A protobuf type without a descriptor, as plain `prost-build` makes them: speaks `proto` only. An endpoint of a server that was
/// given the [descriptors](crate::server::ServerBuilder::descriptors) speaks JSON too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Proto<T>(pub T);

impl<T: prost::Message + Default + 'static> Message for Proto<T> {
    fn encode(&self, codec: Codec, _side: Side, buffer: &mut BytesMut) -> Result<()> {
        if codec != Codec::Proto {
            return Err(unsupported::<T>(codec, NO_DESCRIPTOR));
        }
        buffer.reserve(self.0.encoded_len());
        self.0.encode_raw(buffer);
        Ok(())
    }

    fn decode(codec: Codec, bytes: Bytes) -> Result<Self> {
        if codec != Codec::Proto {
            return Err(unsupported::<T>(codec, NO_DESCRIPTOR));
        }
        T::decode(bytes).map(Self).map_err(undecodable::<T>)
    }

    fn schema() -> Schema {
        Schema::undescribed(short_name(std::any::type_name::<T>()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;
    use crate::proto::debug::{HealthRequest, StatsResponse};
    use crate::proto::health::HealthCheckResponse;

    fn text(message: impl Message, side: Side) -> String {
        let bytes = message.into_bytes(Codec::Json, side).expect("writes");
        String::from_utf8(bytes.to_vec()).expect("is text")
    }

    fn read<T: Message>(json: &'static str) -> Result<T> {
        T::decode(Codec::Json, Bytes::from_static(json.as_bytes()))
    }

    fn stats() -> StatsResponse {
        StatsResponse { started: 1_234_567_890_123, uptime: 5, ..Default::default() }
    }

    #[test]
    fn each_side_writes_the_json_captured_from_go() {
        assert_eq!(
            text(stats(), Side::Server),
            r#"{"timestamp":"0","started":"1234567890123","uptime":"5","memory":"0","threads":"0","gc":"0","requests":"0","errors":"0"}"#
        );
        assert_eq!(text(stats(), Side::Client), r#"{"started":"1234567890123","uptime":"5"}"#);
        let bytes = stats().into_bytes(Codec::Proto, Side::Client).expect("writes");
        assert_eq!(bytes[..], [0x10, 0xcb, 0x89, 0xec, 0x8f, 0xf7, 0x23, 0x18, 0x05]);
    }

    #[test]
    fn both_styles_of_json_are_read() {
        for json in [
            r#"{"started":"1234567890123","uptime":"5"}"#,
            r#"{"started":1234567890123,"uptime":5,"gc":null,"errors":"0"}"#,
        ] {
            assert_eq!(read::<StatsResponse>(json), Ok(stats()), "{json}");
        }
        let schema = Schema::of_protobuf(crate::proto::errors::Error::default().descriptor());
        assert_eq!(schema.value().values.len(), 4);
        for json in [r#"{"status":"SERVING"}"#, r#"{"status":1}"#] {
            assert_eq!(read::<HealthCheckResponse>(json).map(|m| m.status), Ok(1), "{json}");
        }
    }

    #[test]
    fn names_are_read_in_camel_and_in_snake_case() {
        use crate::proto::reflection::ServerReflectionRequest;
        let camel = read::<ServerReflectionRequest>(r#"{"listServices":"x"}"#);
        let snake = read::<ServerReflectionRequest>(r#"{"list_services":"x"}"#);
        assert!(camel.is_ok() && camel == snake);
        let message = camel.expect("reads");
        assert_eq!(text(message.clone(), Side::Client), r#"{"listServices":"x"}"#);
        assert_eq!(text(message, Side::Server), r#"{"host":"","list_services":"x"}"#);
    }

    #[test]
    fn nothing_and_null_are_the_default_message() {
        for json in ["", "null", "{}", "  "] {
            assert_eq!(read::<HealthRequest>(json), Ok(HealthRequest::default()), "{json:?}");
        }
    }

    #[test]
    fn fields_that_are_not_known_are_ignored_and_broken_bytes_are_bad_requests() {
        use crate::proto::reflection::ServerReflectionRequest;
        for json in [r#"{"nope":1}"#, r#"{"nope":{"deep":[{"er":null}]}}"#] {
            assert_eq!(read::<HealthRequest>(json), Ok(HealthRequest::default()), "{json}");
        }
        let within = r#"{"host":"a","fileContainingExtension":{"extensionNumber":1,"nope":2}}"#;
        let message = read::<ServerReflectionRequest>(within).expect("a message");
        assert_eq!(message.host, "a");
        let error = HealthRequest::decode(Codec::Proto, Bytes::from_static(b"\x0a\xff"));
        assert_eq!(error.expect_err("cut short").code(), Code::InvalidArgument);
    }

    #[test]
    fn a_codec_a_type_does_not_speak_is_named() {
        let error = stats().into_bytes(Codec::Bytes, Side::Client).expect_err("no bytes");
        assert_eq!(error.code(), Code::Unimplemented);
        assert!(error.detail().starts_with("StatsResponse does not speak `bytes`"), "{error}");
        let error = super::super::Json(1).into_bytes(Codec::Proto, Side::Client);
        assert!(error.expect_err("no proto").detail().contains("application/grpc+json"));
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            for codec in [Codec::Proto, Codec::Json] {
                let _ = StatsResponse::decode(codec, Bytes::from(bytes.clone()));
                let _ = crate::proto::reflection::ServerReflectionRequest::decode(codec, Bytes::from(bytes.clone()));
            }
        }

        #[test]
        fn json_round_trips_on_either_side(started in proptest::prelude::any::<u64>(), gc in proptest::prelude::any::<u64>()) {
            let stats = StatsResponse { started, gc, ..Default::default() };
            for side in [Side::Client, Side::Server] {
                let bytes = stats.into_bytes(Codec::Json, side).expect("writes");
                proptest::prop_assert_eq!(StatsResponse::decode(Codec::Json, bytes), Ok(stats));
            }
        }
    }
}
