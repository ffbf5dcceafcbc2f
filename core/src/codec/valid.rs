//! Messages that are checked as they are read.

use bytes::{Bytes, BytesMut};

use super::Codec;
use super::json::Json;
use super::message::{Message, Proto, Side};
use super::schema::Schema;
use crate::error::{Code, Error, Result};

/// A message that knows whether it makes sense.
pub trait Validate {
    /// Says what is wrong with the message, for its sender to read. Whatever code the error has, the sender is told
    /// `INVALID_ARGUMENT`, 400; what is [attached](Error::with_attached) to it goes along.
    ///
    /// # Errors
    /// What is wrong.
    fn validate(&self) -> Result<()>;
}

impl<T: Validate> Validate for Json<T> {
    fn validate(&self) -> Result<()> {
        self.0.validate()
    }
}

impl<T: Validate> Validate for Proto<T> {
    fn validate(&self) -> Result<()> {
        self.0.validate()
    }
}

/// A message that makes sense. One that does not cannot be read: a handler that takes a `Valid` does not run for it, and its
/// caller is told why with `INVALID_ARGUMENT`, 400. In a stream each message is checked as it is read.
///
/// ```
/// use micro::codec::{Valid, Validate};
/// use micro::server::Endpoint;
/// use micro::{Context, Error, Json, Result};
///
/// #[derive(serde::Deserialize, serde::Serialize)]
/// struct Order {
///     pieces: u32,
/// }
///
/// impl Validate for Order {
///     fn validate(&self) -> Result<()> {
///         if self.pieces == 0 {
///             return Err(Error::invalid_argument("pieces: order at least one"));
///         }
///         Ok(())
///     }
/// }
///
/// let endpoint = Endpoint::unary("Shop.Buy", |_: Context, Valid(Json(order)): Valid<Json<Order>>| async move {
///     Ok(Json(order.pieces))
/// });
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Valid<T>(pub T);

impl<T: Message + Validate> Message for Valid<T> {
    fn encode(&self, codec: Codec, side: Side, buffer: &mut BytesMut) -> Result<()> {
        self.0.encode(codec, side, buffer)
    }

    fn decode(codec: Codec, bytes: Bytes) -> Result<Self> {
        let message = T::decode(codec, bytes)?;
        message.validate().map_err(wrong)?;
        Ok(Self(message))
    }

    fn into_bytes(self, codec: Codec, side: Side) -> Result<Bytes> {
        self.0.into_bytes(codec, side)
    }

    fn carve(self, codec: Codec, side: Side, arena: &mut BytesMut) -> Result<Bytes> {
        self.0.carve(codec, side, arena)
    }

    fn preferred() -> Codec {
        T::preferred()
    }

    fn schema() -> Schema {
        T::schema()
    }
}

fn wrong(error: Error) -> Error {
    let error = error.with_code(Code::InvalidArgument).with_http_code(400);
    if error.id().is_empty() { error.with_id("go.micro.validator") } else { error }
}
