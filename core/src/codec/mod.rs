//! How messages become bytes: chosen by content-type, per call.
//!
//! A handler is written once over its types; which [`Codec`] it speaks is the caller's choice. A
//! protobuf type speaks `proto` and `json`, [`Json`] wraps any serde type, [`Raw`] passes bytes
//! through untouched whatever they are. A program adds codecs of its own with [`provide`].
//!
//! The table of content types is go-micro's (wire reference 1.3).

mod added;
mod described;
mod finite;
mod fitting;
mod json;
mod message;
mod raw;
mod read;
mod schema;
#[cfg(test)]
mod tests;
mod traced;
mod unreadable;
mod valid;

pub use added::{Added, Format, FormatError};
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
    /// One that the program has added: see [`provide`].
    Added(Added),
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
            .or_else(|| Added::named(subtype(bare)?).map(Self::Added))
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
            Self::Added(added) => &added.content_types().grpc,
        }
    }

    /// Subtype, for example `json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Proto => "proto",
            Self::Json => "json",
            Self::Bytes => "bytes",
            Self::Text => "text",
            Self::Added(added) => added.name(),
        }
    }
}

/// The subtype of a content type of gRPC or Connect.
fn subtype(content_type: &str) -> Option<&str> {
    ["application/grpc+", "application/connect+", "application/"].iter().find_map(|prefix| {
        let (start, rest) = content_type.split_at_checked(prefix.len())?;
        start.eq_ignore_ascii_case(prefix).then_some(rest)
    })
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Adds a codec to the table of the process: from now on, servers and clients know `application/grpc+<name>`, and Connect's
/// `application/<name>` and `application/connect+<name>`. [`Json`] and protobuf types with a descriptor speak it, the latter
/// as in JSON; [`Raw`] passes its bytes through.
///
/// `name` is the subtype, such as `msgpack`.
///
/// # Errors
/// `INVALID_ARGUMENT` for what cannot be a name, `ALREADY_EXISTS` for one that has a format, `RESOURCE_EXHAUSTED` for the
/// thirteenth.
pub fn provide(name: &str, format: impl Format) -> Result<Codec> {
    Added::provide(name, format).map(Codec::Added)
}

/// Adds a codec whose messages only the program reads and writes, as bytes: handlers and callers of it use [`Raw`], or
/// a [`Message`] of their own. Declaring it again changes nothing.
///
/// # Errors
/// As [`provide`], but for a name that is there.
pub fn declare(name: &str) -> Result<Codec> {
    Added::declare(name).map(Codec::Added)
}
