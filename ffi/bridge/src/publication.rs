//! What a host wants published, and on which terms.

use bytes::Bytes;

use crate::id::Id;

/// A message to be published.
#[derive(Debug, Clone, Default)]
pub struct Publication<'a> {
    /// What it is about.
    pub topic: &'a str,
    /// The message.
    pub payload: Bytes,
    /// Headers to send: a block of [`crate::pack`], or nothing.
    pub meta: &'a [u8],
    /// Nanoseconds to wait until the broker has it; 0 for 10 s, [`NO_TIMEOUT`](crate::NO_TIMEOUT) for ever. A shorter deadline
    /// of the parent wins.
    pub timeout_ns: u64,
    /// The call or message that came in of which this is part: trace and metadata go on, and it ends when that one ends.
    pub parent: Id,
    /// Everything else: a JSON document of [`micro::settings::PublishSettings`], or nothing.
    pub options: &'a str,
    /// [`request_flags::WAIT`](crate::request_flags::WAIT), and a codec.
    pub flags: u32,
}
