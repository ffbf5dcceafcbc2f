//! Messages as bytes, which are not decoded.

use bytes::{Bytes, BytesMut};

use super::Codec;
use super::message::{Message, Side};
use super::schema::Schema;
use crate::error::Result;

/// The bytes of a message, whatever they mean: go-micro's raw frame. Speaks every codec by not
/// reading it, which suits proxies, files and other languages' bindings.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Raw(pub Bytes);

impl Message for Raw {
    fn encode(&self, _codec: Codec, _side: Side, buffer: &mut BytesMut) -> Result<()> {
        buffer.extend_from_slice(&self.0);
        Ok(())
    }

    fn decode(_codec: Codec, bytes: Bytes) -> Result<Self> {
        Ok(Self(bytes))
    }

    fn into_bytes(self, _codec: Codec, _side: Side) -> Result<Bytes> {
        Ok(self.0)
    }

    fn carve(self, _codec: Codec, _side: Side, _arena: &mut BytesMut) -> Result<Bytes> {
        Ok(self.0)
    }

    fn schema() -> Schema {
        Schema::named("bytes")
    }
}

impl<T: Into<Bytes>> From<T> for Raw {
    fn from(bytes: T) -> Self {
        Self(bytes.into())
    }
}
