//! Messages that cannot be read: which type was expected, where it went wrong, and whose fault that is.

use std::fmt::Display;

use bytes::Bytes;
use serde::de::{DeserializeOwned, DeserializeSeed};

use super::Codec;
use super::message::{Message, short_name};
use crate::error::{Code, Error, Result};

/// Most that is told of a cause: it may repeat what was sent.
const MAX_CAUSE: usize = 512;

/// Reads a request: what cannot be read is the caller's fault, whatever the protocol.
pub(crate) fn read_request<T: Message>(codec: Codec, bytes: Bytes) -> Result<T> {
    T::decode(codec, bytes).map_err(|error| match error.code() {
        Code::Internal => error.with_code(Code::InvalidArgument).with_http_code(400),
        _ => error,
    })
}

/// Reads a reply: what cannot be read is the fault of its sender, and no caller can help it.
pub(crate) fn read_reply<T: Message>(codec: Codec, bytes: Bytes) -> Result<T> {
    T::decode(codec, bytes).map_err(|error| match error.code() {
        Code::InvalidArgument => unreadable_reply(&error),
        _ => error,
    })
}

/// The error of a reply whose bytes are no message.
pub(crate) fn unreadable_reply(error: &Error) -> Error {
    Error::internal(format!("the reply cannot be read: {}", error.detail()))
        .with_id("go.micro.client")
}

/// The error of bytes that are no `T`, in go-micro's words.
pub(super) fn undecodable<T>(cause: impl Display) -> Error {
    let mut cause = cause.to_string();
    if cause.len() > MAX_CAUSE {
        let end = (0..=MAX_CAUSE).rev().find(|end| cause.is_char_boundary(*end));
        cause.truncate(end.unwrap_or_default());
        cause.push('…');
    }
    let name = short_name(std::any::type_name::<T>());
    Error::invalid_argument(format!(
        "grpc: failed to unmarshal the received message as {name}: {cause}"
    ))
}

/// A value of JSON.
///
/// # Errors
/// `INVALID_ARGUMENT` with the path of the field and what was expected there.
pub(super) fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    let text = utf8::<T>(bytes)?;
    serde_json::from_str(text)
        .or_else(|_| seeded(text, std::marker::PhantomData))
        .map_err(undecodable::<T>)
}

/// As [`from_json`], for what `seed` knows how to read. `T` is what it is called.
pub(super) fn from_json_by<'a, T, S>(seed: impl Fn() -> S, bytes: &'a [u8]) -> Result<S::Value>
where
    S: DeserializeSeed<'a>,
{
    let text = utf8::<T>(bytes)?;
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = seed().deserialize(&mut deserializer);
    let read = read.and_then(|value| deserializer.end().map(|()| value));
    read.or_else(|_| seeded(text, seed())).map_err(undecodable::<T>)
}

fn utf8<T>(bytes: &[u8]) -> Result<&str> {
    std::str::from_utf8(bytes).map_err(|error| undecodable::<T>(format!("it is no UTF-8: {error}")))
}

/// Reads once more what could not be read, and keeps the path this time.
#[cold]
fn seeded<'a, S: DeserializeSeed<'a>>(text: &'a str, seed: S) -> Result<S::Value, String> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut track = serde_path_to_error::Track::new();
    let tracked = serde_path_to_error::Deserializer::new(&mut deserializer, &mut track);
    match seed.deserialize(tracked) {
        Ok(value) => match deserializer.end() {
            Ok(()) => Ok(value),
            Err(error) => Err(error.to_string()),
        },
        Err(error) => Err(match track.path().to_string().as_str() {
            "." => error.to_string(),
            path => format!("field `{path}`: {error}"),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::debug::StatsResponse;
    use crate::proto::reflection::ServerReflectionRequest;

    #[test]
    fn json_of_a_protobuf_type_names_the_field_and_what_was_expected() {
        let deep = format!("{{\"fileContainingExtension\":{}", "[".repeat(1_000_000));
        let digits =
            format!(r#"{{"fileContainingExtension":{{"extensionNumber":{}}}}}"#, "9".repeat(4300));
        for (json, named) in [
            (r#"{"host":7}"#, "field `host`: invalid type: integer `7`, expected a string"),
            (
                r#"{"fileContainingExtension":{"extensionNumber":"x"}}"#,
                "`fileContainingExtension.extensionNumber`",
            ),
            (r#"{"fileContainingExtension":{"nope":1}}"#, "nope"),
            (r#"{"host":"\udc00"}"#, "host"),
            (r#"{"host":"a"} {}"#, "trailing characters"),
            (r#"{"host":"a""#, "EOF"),
            (&digits, "extensionNumber"),
            (&deep, "fileContainingExtension"),
        ] {
            let bytes = Bytes::copy_from_slice(json.as_bytes());
            let error =
                read_request::<ServerReflectionRequest>(Codec::Json, bytes).expect_err(named);
            assert_eq!((error.code(), error.http_code()), (Code::InvalidArgument, 400));
            assert!(error.detail().contains("ServerReflectionRequest"), "{error}");
            assert!(error.detail().contains(named), "{named}: {error}");
        }
        let bytes = Bytes::from_static(b"{\"host\":\"\xff\"}");
        let error = read_request::<ServerReflectionRequest>(Codec::Json, bytes).expect_err("UTF-8");
        assert!(error.detail().contains("UTF-8"), "{error}");
    }

    #[test]
    fn protobuf_names_the_field_too() {
        let bytes = Bytes::from_static(b"\x0a\x02\xff\xff");
        let error =
            read_request::<ServerReflectionRequest>(Codec::Proto, bytes).expect_err("UTF-8");
        assert!(error.detail().contains("ServerReflectionRequest.host"), "{error}");
        let error = read_reply::<StatsResponse>(Codec::Proto, Bytes::from_static(&[0x08]));
        assert_eq!(error.expect_err("cut short").code(), Code::Internal);
    }

    #[test]
    fn what_a_cause_repeats_is_cut_between_characters() {
        let error = undecodable::<String>("é".repeat(100_000));
        assert!(error.detail().len() < MAX_CAUSE + 100 && error.detail().ends_with('…'));
    }
}
