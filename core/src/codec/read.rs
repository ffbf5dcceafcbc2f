//! Messages read by either side, and whose fault it is if one cannot be read.

use bytes::Bytes;

use super::Codec;
use super::message::Message;
use crate::error::{Code, Error, Result};

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
            (r#"{"fileContainingExtension":{"nope":1,"extensionNumber":[]}}"#, "extensionNumber"),
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
}
