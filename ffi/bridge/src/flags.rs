//! Bits of [`Event::flags`](crate::Event::flags).

use micro::Codec;
use micro::codec::{self, Added};

use crate::failure::{Failure, Result};

/// Protobuf, or whatever bytes.
pub const PROTO: u16 = 0;
/// JSON.
pub const JSON: u16 = 1;
/// Bytes as they are.
pub const BYTES: u16 = 2;
/// UTF-8 text.
pub const TEXT: u16 = 3;
/// The first codec that a program has added; those above follow in the order of the process.
pub const ADDED: u16 = 4;
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
        Codec::Added(added) => ADDED + u16::from(added.number()),
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
        bits => Codec::Added(Added::numbered(u8::try_from(bits - ADDED).ok()?)?),
    })
}

/// The bits of the codec `name`, which is added to those of the process unless it is there. Hosts read and write its messages.
///
/// # Errors
/// `INVALID_ARGUMENT` for what cannot be a name, `RESOURCE_EXHAUSTED` for the thirteenth.
pub fn declare(name: &str) -> Result<u16> {
    Ok(of(codec::declare(name)?))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_codec_has_bits_of_its_own() {
        let added = declare("x.bits").expect("a name");
        assert_eq!(declare("x.bits").ok(), Some(added));
        assert!((ADDED..=CODEC).contains(&added));
        for bits in [PROTO, JSON, BYTES, TEXT, added] {
            assert_eq!(codec(bits | COMPRESSED).map(of), Some(bits));
        }
        assert_eq!(codec(CODEC), None);
        assert!(declare("json").is_err());
    }
}
