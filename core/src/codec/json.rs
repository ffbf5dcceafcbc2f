//! Plain JSON of any serde type, for services that have no `.proto` file.

use std::marker::PhantomData;

use bytes::{BufMut, Bytes, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Codec;
use super::finite::Finite;
use super::message::{Message, Side, read_added, unsupported, write_added};
use super::schema::Schema;
use super::unreadable::from_json;
use crate::error::{Error, Result};

/// A serde type, sent and received as JSON, or in a codec that the program has [added](super::provide). NaN and infinities, which JSON does not have, are refused: `INVALID_ARGUMENT` to the
/// caller whose request has one, `INTERNAL` where a reply has.
///
/// go-micro's gateways send `null`, or no bytes, for a request without fields. A type that is not read from `null`, as an `Option`
/// is, is then read from an object without fields: a struct takes it when all its fields are optional or `#[serde(default)]`.
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

/// What no bytes and `null` stand for.
fn nothing<T: DeserializeOwned>() -> Result<T> {
    from_json(b"null").or_else(|null| from_json(b"{}").map_err(|_| null))
}

impl<T: Serialize + DeserializeOwned + Send + 'static> Message for Json<T> {
    fn encode(&self, codec: Codec, side: Side, buffer: &mut BytesMut) -> Result<()> {
        match codec {
            Codec::Json => {}
            Codec::Added(added) => return write_added::<T>(added, &self.0, side, buffer),
            _ => return Err(unsupported::<T>(codec, "send content-type application/grpc+json")),
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
        match codec {
            Codec::Json => {}
            Codec::Added(added) => {
                return read_added::<T, _>(added, &bytes, PhantomData::<T>).map(Self);
            }
            _ => return Err(unsupported::<T>(codec, "send content-type application/grpc+json")),
        }
        let text = bytes.trim_ascii();
        let read = if text.is_empty() || text == b"null" { nothing() } else { from_json(&bytes) };
        read.map(Self)
    }

    fn preferred() -> Codec {
        Codec::Json
    }

    fn schema() -> Schema {
        Schema::of_json::<T>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use serde::Deserialize;

    use super::*;
    use crate::Code;

    #[derive(Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
    #[serde(default)]
    struct Page {
        from: u32,
        filter: Option<String>,
    }

    #[derive(Debug, Serialize, Deserialize)]
    struct Person {
        name: String,
    }

    fn read<T: Serialize + DeserializeOwned + Send + 'static>(text: &'static str) -> Result<T> {
        Json::decode(Codec::Json, Bytes::from_static(text.as_bytes())).map(|Json(value)| value)
    }

    #[test]
    fn null_and_nothing_are_a_value_without_fields() {
        for text in ["null", "", " \n", " null "] {
            assert_eq!(read::<Page>(text), Ok(Page::default()), "{text:?}");
            assert_eq!(read::<HashMap<String, u32>>(text), Ok(HashMap::new()), "{text:?}");
            assert_eq!(read::<Option<Page>>(text), Ok(None), "{text:?}");
            assert_eq!(read::<()>(text), Ok(()), "{text:?}");
            let error = read::<Person>(text).expect_err("it has a name");
            assert_eq!(error.code(), Code::InvalidArgument, "{text:?}");
            assert!(
                error.detail().contains("null") && error.detail().contains("Person"),
                "{error}"
            );
            assert!(read::<String>(text).is_err(), "{text:?}");
        }
    }
}
