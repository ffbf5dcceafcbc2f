//! How messages become bytes: chosen by content-type, per call.
//!
//! A handler is written once over its types; which [`Codec`] it speaks is the caller's choice. A
//! protobuf type speaks `proto` and `json`, [`Json`] wraps any serde type, [`Raw`] passes bytes
//! through untouched whatever they are.
//!
//! The table of content types is go-micro's (wire reference 1.3).

#[cfg(feature = "tonic")]
mod described;
mod finite;
mod json;
mod message;
mod raw;
mod read;
mod schema;
mod unreadable;
mod valid;

#[cfg(feature = "tonic")]
pub(crate) use described::{reply_to_json, request_from_json};
pub use json::Json;
pub use message::{Message, Proto, Side};
pub use raw::Raw;
pub(crate) use read::{read_reply, read_request, unreadable_reply};
pub use schema::Schema;
pub use valid::{Valid, Validate};

use std::fmt;

use crate::error::{Error, Result};

/// A way to write messages, named by the subtype of `application/grpc+<subtype>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Codec {
    /// Protocol buffers, the default.
    #[default]
    Proto,
    /// Protobuf-JSON for protobuf types, plain JSON for the rest.
    Json,
    /// Bytes as they are.
    Bytes,
    /// UTF-8 text as it is.
    Text,
}

impl Codec {
    /// The codec of a content type such as `application/grpc+proto` or `application/json`.
    /// Parameters after `;` and case are ignored.
    ///
    /// # Errors
    /// `UNIMPLEMENTED` for anything outside the table, naming what is in it.
    pub fn from_content_type(content_type: &str) -> Result<Self> {
        let bare = content_type.split(';').next().unwrap_or_default().trim();
        let known = [
            ("application/grpc", Self::Proto),
            ("application/grpc+proto", Self::Proto),
            ("application/proto", Self::Proto),
            ("application/protobuf", Self::Proto),
            ("application/octet-stream", Self::Proto),
            ("application/grpc+json", Self::Json),
            ("application/json", Self::Json),
            ("application/grpc+bytes", Self::Bytes),
            ("application/grpc+text", Self::Text),
            ("text/plain", Self::Text),
        ];
        known
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(bare))
            .map(|(_, codec)| *codec)
            .ok_or_else(|| {
                Error::from_http("", format!("Unsupported Content-Type: {content_type}"), 500)
                    .with_code(crate::Code::Unimplemented)
            })
    }

    /// Content type of a gRPC request that carries messages of this codec.
    pub fn grpc_content_type(self) -> &'static str {
        match self {
            Self::Proto => "application/grpc+proto",
            Self::Json => "application/grpc+json",
            Self::Bytes => "application/grpc+bytes",
            Self::Text => "application/grpc+text",
        }
    }

    /// Subtype, for example `json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Proto => "proto",
            Self::Json => "json",
            Self::Bytes => "bytes",
            Self::Text => "text",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_follow_go_micros_table() {
        for (name, codec) in [
            ("application/json", Codec::Json),
            ("application/grpc+json", Codec::Json),
            ("application/grpc", Codec::Proto),
            ("application/grpc+proto; charset=x", Codec::Proto),
            ("Application/Protobuf", Codec::Proto),
            ("application/grpc+bytes", Codec::Bytes),
        ] {
            assert_eq!(Codec::from_content_type(name).ok(), Some(codec), "{name}");
        }
        let error = Codec::from_content_type("application/grpc+foo").expect_err("unknown");
        assert_eq!(error.detail(), "Unsupported Content-Type: application/grpc+foo");
    }
}
