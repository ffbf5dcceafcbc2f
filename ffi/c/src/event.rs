//! Events.

use micro_bridge::Event;

use crate::error::{self, micro_error, micro_error_free};
use crate::{micro_bytes, micro_bytes_release, micro_id, micro_status};

/// *Terminal.* A unary call or another operation with one answer is over. `payload`: the answer. `meta`: headers, then
/// trailers.
pub const MICRO_EVENT_REPLY: u16 = 1;
/// A stream's headers came (`meta`), a watch runs, or a server listens (`payload`: its registry record as JSON).
pub const MICRO_EVENT_OPENED: u16 = 2;
/// A message of a stream (`payload`).
pub const MICRO_EVENT_MESSAGE: u16 = 3;
/// *Terminal* for what this side opened: streams (`meta`: headers, then trailers), watches, servers. Of a call that came in:
/// the caller has sent its last message.
pub const MICRO_EVENT_END: u16 = 4;
/// A call came in: `id` names it, `method` is the endpoint's number, or the operation of a question to what is provided. `payload`: its one message, unless it streams. `meta`:
/// headers. `timeout_ns`: how long the caller still waits. Answer it with micro_reply or micro_reply_error.
pub const MICRO_EVENT_CALL: u16 = 5;
/// The caller no longer waits for a call that came in: it was cancelled (MICRO_CANCELLED) or its deadline passed
/// (MICRO_DEADLINE_EXCEEDED). The last event of its id.
pub const MICRO_EVENT_CALL_CANCELLED: u16 = 6;
/// A message of a topic (`payload`), lent to the program until it says by micro_settle what became of `id`. `meta`: headers, then a
/// block of what is known beside them, as text: topic, type (the content type), attempt, sequence (its number, where the broker keeps
/// messages), published (milliseconds since 1970), key. `method`: the attempt, from 1.
pub const MICRO_EVENT_DELIVERY: u16 = 7;
/// A watch saw a change (`payload`: JSON).
pub const MICRO_EVENT_CHANGE: u16 = 8;
/// A stream that was full takes messages again.
pub const MICRO_EVENT_WRITABLE: u16 = 9;
/// Memory that was lent is no longer used.
pub const MICRO_EVENT_RELEASE: u16 = 10;
/// Log records (`payload`: a JSON array of objects with time_ms, level, target and message).
pub const MICRO_EVENT_LOG: u16 = 11;
/// *Terminal.* The last event of the queue.
pub const MICRO_EVENT_CLOSED: u16 = 12;

/// Protobuf messages, or whatever bytes.
pub const MICRO_CODEC_PROTO: u16 = 0;
/// JSON messages.
pub const MICRO_CODEC_JSON: u16 = 1;
/// Bytes as they are.
pub const MICRO_CODEC_BYTES: u16 = 2;
/// UTF-8 text.
pub const MICRO_CODEC_TEXT: u16 = 3;
/// The bits of a codec in the flags of an event or a request; numbers from 4 on are those of micro_codec.
pub const MICRO_CODEC_MASK: u16 = 0xf;
/// The message came compressed.
pub const MICRO_COMPRESSED: u16 = 0x10;

/// Something a queue tells. Fields that the kind does not mention are 0 or NULL. The caller owns what it holds: release it
/// with micro_event_release, or piece by piece. Kinds are only ever added: release and skip one you do not know.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct micro_event {
    /// One of MICRO_EVENT_*.
    pub kind: u16,
    /// MICRO_CODEC_* and MICRO_COMPRESSED of the message.
    pub flags: u16,
    /// How a terminal event ended.
    pub status: micro_status,
    /// The call, stream, watch or message.
    pub id: micro_id,
    /// The number given when the operation was begun or the server started.
    pub token: u64,
    /// The endpoint of a call, as micro_server_method numbered it.
    pub method: u32,
    /// 0.
    pub reserved: u32,
    /// How long the caller of a call still waits, in nanoseconds; MICRO_NO_TIMEOUT when for ever.
    pub timeout_ns: u64,
    /// The message, or JSON.
    pub payload: micro_bytes,
    /// Blocks of metadata, see micro_meta_next.
    pub meta: micro_bytes,
    /// Why a terminal event has a status other than MICRO_OK.
    pub error: *mut micro_error,
}

impl From<Event> for micro_event {
    fn from(event: Event) -> Self {
        Self {
            kind: event.kind as u16,
            flags: event.flags,
            status: event.status.0,
            id: event.id.to_raw(),
            token: event.token,
            method: event.method,
            reserved: 0,
            timeout_ns: event.timeout_ns,
            payload: micro_bytes::give(event.payload),
            meta: micro_bytes::give(event.meta),
            error: error::give(event.failure.map(|failure| *failure)),
        }
    }
}

/// Releases what an event holds, and empties it. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_event_release(event: *mut micro_event) {
    // SAFETY: the caller promises NULL or an event and that it owns its parts; they are emptied so that nothing is released twice.
    unsafe {
        let Some(parts) = event.as_mut() else { return };
        micro_bytes_release(std::mem::replace(&mut parts.payload, micro_bytes::EMPTY));
        micro_bytes_release(std::mem::replace(&mut parts.meta, micro_bytes::EMPTY));
        micro_error_free(std::mem::replace(&mut parts.error, std::ptr::null_mut()));
    }
}

#[cfg(test)]
mod tests {
    use micro_bridge::{EventKind, flags};

    use super::*;

    #[test]
    fn numbers_are_the_bridges_and_the_size_is_promised() {
        let kinds = [
            (MICRO_EVENT_REPLY, EventKind::Reply),
            (MICRO_EVENT_OPENED, EventKind::Opened),
            (MICRO_EVENT_MESSAGE, EventKind::Message),
            (MICRO_EVENT_END, EventKind::End),
            (MICRO_EVENT_CALL, EventKind::Call),
            (MICRO_EVENT_CALL_CANCELLED, EventKind::CallCancelled),
            (MICRO_EVENT_DELIVERY, EventKind::Delivery),
            (MICRO_EVENT_CHANGE, EventKind::Change),
            (MICRO_EVENT_WRITABLE, EventKind::Writable),
            (MICRO_EVENT_RELEASE, EventKind::Release),
            (MICRO_EVENT_LOG, EventKind::Log),
            (MICRO_EVENT_CLOSED, EventKind::Closed),
        ];
        assert!(kinds.iter().all(|(number, kind)| *number == *kind as u16));
        assert_eq!(
            [MICRO_CODEC_PROTO, MICRO_CODEC_JSON, MICRO_CODEC_BYTES, MICRO_CODEC_TEXT],
            [flags::PROTO, flags::JSON, flags::BYTES, flags::TEXT]
        );
        assert_eq!([MICRO_CODEC_MASK, MICRO_COMPRESSED], [flags::CODEC, flags::COMPRESSED]);
        #[cfg(target_pointer_width = "64")]
        assert_eq!(size_of::<micro_event>(), 96);
    }
}
