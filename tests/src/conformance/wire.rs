//! Messages between the suite and a program under test: four bytes of length, then the message.

use std::io::{self, Read, Write};

use prost::Message;

/// Longest message the suite sends; its own limit is the same.
const MAX_LENGTH: u32 = 16 * 1024 * 1024;

/// The next message; `None` when the suite has closed the pipe.
///
/// # Errors
/// When the pipe breaks inside a message, or what came is not a message.
pub fn read<T: Message + Default>(mut from: impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = u32::from_be_bytes(length);
    if length > MAX_LENGTH {
        return Err(io::Error::other(format!("a message of {length} bytes")));
    }
    let mut bytes = vec![0; length as usize];
    from.read_exact(&mut bytes)?;
    T::decode(bytes.as_slice()).map(Some).map_err(io::Error::other)
}

/// Writes a message.
///
/// # Errors
/// When the pipe is closed.
pub fn write(mut to: impl Write, message: &impl Message) -> io::Result<()> {
    let bytes = message.encode_to_vec();
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    to.write_all(&length.to_be_bytes())?;
    to.write_all(&bytes)?;
    to.flush()
}
