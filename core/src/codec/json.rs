//! Plain JSON of any serde type, for services that have no `.proto` file.

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Codec;
use super::finite::Finite;
use super::message::{Message, Side, unsupported};
use super::schema::{Schema, short_name};
use super::unreadable::from_json;
use crate::error::{Error, Result};

/// A serde type, sent and received as JSON. NaN and infinities, which JSON does not have, are refused: `INVALID_ARGUMENT` to the
/// caller whose request has one, `INTERNAL` where a reply has.
///
/// ```
/// use micro::{Codec, Json, Message, Side};
///
/// let json = Json(vec![1, 2]).into_bytes(Codec::Json, Side::Client)?;
/// assert_eq!(Json::<Vec<u8>>::decode(Codec::Json, json)?.0, [1, 2]);
/// # Ok::<(), micro::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Json<T>(pub T);

impl<T: Serialize + DeserializeOwned + Send + 'static> Message for Json<T> {
    fn encode(&self, codec: Codec, side: Side, buffer: &mut BytesMut) -> Result<()> {
        if codec != Codec::Json {
            return Err(unsupported::<T>(codec, "send content-type application/grpc+json"));
        }
        serde_json::to_writer(buffer.writer(), &Finite(&self.0)).map_err(|e| {
            let why = format!("cannot write {} as JSON: {e}", std::any::type_name::<T>());
            match side {
                Side::Client => Error::invalid_argument(why),
                Side::Server => Error::unexpected(why),
            }
        })
    }

    fn decode(codec: Codec, bytes: Bytes) -> Result<Self> {
        if codec != Codec::Json {
            return Err(unsupported::<T>(codec, "send content-type application/grpc+json"));
        }
        // An empty body is Go's way to send nothing; serde's word for that is `null`.
        let text = if bytes.trim_ascii().is_empty() { b"null".as_slice() } else { &bytes };
        from_json(text).map(Self)
    }

    fn preferred() -> Codec {
        Codec::Json
    }

    fn schema() -> Schema {
        Schema::named(short_name(std::any::type_name::<T>()))
    }
}
