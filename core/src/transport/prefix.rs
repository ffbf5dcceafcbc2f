//! gRPC's message framing: one byte of flags, four of length, then the message.

use bytes::{Bytes, BytesMut};

use super::compression::Compression;
use crate::error::{Error, Result};

/// Bytes before each message.
pub(super) const PREFIX: usize = 5;

/// The prefix of a message of `length` bytes.
fn prefix(compressed: bool, length: usize) -> Result<[u8; PREFIX]> {
    let length = u32::try_from(length).map_err(|_| {
        Error::resource_exhausted(format!(
            "a message of {length} bytes does not fit gRPC's framing"
        ))
    })?;
    let [a, b, c, d] = length.to_be_bytes();
    Ok([u8::from(compressed), a, b, c, d])
}

/// Appends `message` with its prefix, compressed if asked.
pub(crate) fn frame_into(
    buffer: &mut BytesMut,
    message: &[u8],
    compression: Option<Compression>,
) -> Result<()> {
    match compression {
        Some(compression) => {
            let message = compression.compress(message)?;
            buffer.reserve(PREFIX + message.len());
            buffer.extend_from_slice(&prefix(true, message.len())?);
            buffer.extend_from_slice(&message);
        }
        None => {
            buffer.reserve(PREFIX + message.len());
            buffer.extend_from_slice(&prefix(false, message.len())?);
            buffer.extend_from_slice(message);
        }
    }
    Ok(())
}

/// Makes room in `buffer` for the prefix of a message that is about to be written to it; returns where.
pub(crate) fn begin_frame(buffer: &mut BytesMut) -> usize {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; PREFIX]);
    start
}

/// Ends the message that [`begin_frame`] began at `start`, compressed if asked.
pub(crate) fn end_frame(
    buffer: &mut BytesMut,
    start: usize,
    compression: Option<Compression>,
) -> Result<()> {
    if compression.is_some() {
        let message = buffer.split_off(start);
        return frame_into(buffer, &message[PREFIX..], compression);
    }
    let length = buffer.len() - start - PREFIX;
    buffer[start..start + PREFIX].copy_from_slice(&prefix(false, length)?);
    Ok(())
}

/// One framed message on its own.
pub(crate) fn frame(message: &[u8], compression: Option<Compression>) -> Result<Bytes> {
    let mut buffer = BytesMut::new();
    frame_into(&mut buffer, message, compression)?;
    Ok(buffer.freeze())
}

/// What is in one message of [`frame`], and whether it is compressed.
pub(crate) fn unframe(framed: &Bytes) -> (bool, Bytes) {
    (framed.first() == Some(&1), framed.slice(PREFIX.min(framed.len())..))
}
