//! What an error says to programs: any protobuf message, named by its type.

use bytes::Bytes;

/// Where the names of types begin that stand in no registry of their own.
const TYPE_URL: &str = "type.googleapis.com/";

/// A protobuf message attached to an error: one of gRPC's error details.
///
/// gRPC and Connect callers of any language read it. go-micro's cannot, and are not sent any.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Detail {
    /// Type of the message after a `/`, for example `type.googleapis.com/google.rpc.BadRequest`.
    pub type_url: String,
    /// The message.
    pub value: Bytes,
}

impl Detail {
    /// The encoded message `value` of the type `name`, for example `google.rpc.BadRequest`.
    pub fn new(name: &str, value: impl Into<Bytes>) -> Self {
        Self { type_url: format!("{TYPE_URL}{name}"), value: value.into() }
    }

    /// Full name of the type.
    pub fn name(&self) -> &str {
        self.type_url.rsplit('/').next().unwrap_or_default()
    }
}
