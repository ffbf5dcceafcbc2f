//! Streams, whichever side opened them.

use micro_bridge::{Id, flags};

use crate::object::{act, at, done};
use crate::{micro_bytes, micro_id, micro_runtime, micro_status};

/// This message is the last; of streams that this side opened.
pub const MICRO_SEND_LAST: u32 = 1;

/// Sends a message on a stream that this side opened, or on a call that came in and whose endpoint sends many. The message is
/// taken, also when this fails; a message that may have to be sent again is lent (`own` is NULL).
///
/// MICRO_FULL when the far side is slow: MICRO_EVENT_WRITABLE tells when to send it again. MICRO_CLOSED after the last
/// message, MICRO_STALE when the stream is over, MICRO_ARG for what sends no messages.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_stream_send(
    runtime: *mut micro_runtime,
    stream: micro_id,
    message: micro_bytes,
    flags: u32,
) -> micro_status {
    // SAFETY: the caller promises a live runtime or NULL, and bytes that are what they say.
    unsafe {
        done(|| {
            let (message, runtime) = (message.take("message")?, at(runtime)?);
            flags::check(flags, MICRO_SEND_LAST, "message")?;
            runtime.send(Id::from_raw(stream), message, flags & MICRO_SEND_LAST != 0)
        })
    }
}

/// This side of a stream that it opened sends no more; it goes on receiving. What is followed comes to its end, which is MICRO_OK.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_stream_close(
    runtime: *mut micro_runtime,
    stream: micro_id,
) -> micro_status {
    // SAFETY: the caller promises a live runtime or NULL.
    unsafe { act(runtime, |runtime| runtime.close(Id::from_raw(stream))) }
}

/// Makes room for `messages` more messages of a stream, or changes of a watch. Without it none is told.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_stream_grant(
    runtime: *mut micro_runtime,
    stream: micro_id,
    messages: u32,
) -> micro_status {
    // SAFETY: the caller promises a live runtime or NULL.
    unsafe { act(runtime, |runtime| runtime.grant(Id::from_raw(stream), messages)) }
}
