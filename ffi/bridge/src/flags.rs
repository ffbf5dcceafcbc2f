//! Bits of [`Event::flags`](crate::Event::flags).

use micro::Codec;

use crate::failure::{Failure, Result};

/// Protobuf, or whatever bytes.
pub const PROTO: u16 = 0;
/// JSON.
pub const JSON: u16 = 1;
/// Bytes as they are.
pub const BYTES: u16 = 2;
/// UTF-8 text.
pub const TEXT: u16 = 3;
/// The bits of the codec.
pub const CODEC: u16 = 0xf;
/// The message came compressed.
pub const COMPRESSED: u16 = 0x10;

/// The bits of a codec.
pub fn of(codec: Codec) -> u16 {
    match codec {
        Codec::Json => JSON,
        Codec::Bytes => BYTES,
        Codec::Text => TEXT,
        _ => PROTO,
    }
}

/// The codec of the bits; `None` for unknown bits.
pub fn codec(bits: u16) -> Option<Codec> {
    Some(match bits & CODEC {
        PROTO => Codec::Proto,
        JSON => Codec::Json,
        BYTES => Codec::Bytes,
        TEXT => Codec::Text,
        _ => return None,
    })
}

/// Refuses bits that are not `known` as flags of `what`.
///
/// # Errors
/// [`Status::ARG`](crate::Status::ARG) for them.
pub fn check(flags: u32, known: u32, what: &str) -> Result<()> {
    match flags & !known {
        0 => Ok(()),
        unknown => {
            Err(Failure::argument(format!("flags {unknown:#x} of the {what} are not known")))
        }
    }
}
