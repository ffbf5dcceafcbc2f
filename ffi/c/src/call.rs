//! Calls that came in.

use micro_bridge::{Failure, Id, Status};

use crate::error::micro_error;
use crate::object::{act, at, done, place, put};
use crate::{micro_bytes, micro_id, micro_runtime, micro_slice, micro_status};

/// Answers a call that came in, once. With MICRO_OK, `payload` is the reply; of an endpoint that sends many messages, the last
/// one unless it is empty. With another status (1 to 16), `payload` is the error's message, UTF-8; micro_reply_error says more.
/// `trailers` is a block made by micro_meta_add, or nothing. The payload is taken, also when this fails.
///
/// MICRO_STALE when the caller no longer waits: answered, cancelled, or too late.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_reply(
    runtime: *mut micro_runtime,
    call: micro_id,
    status: micro_status,
    payload: micro_bytes,
    trailers: micro_slice,
) -> micro_status {
    // SAFETY: the caller promises a live runtime or NULL, and bytes that are what they say.
    unsafe {
        done(|| {
            let payload = payload.take("payload")?;
            let answer = Failure::answer(Status(status), payload)?;
            at(runtime)?.reply(Id::from_raw(call), answer, trailers.bytes("trailers")?)
        })
    }
}

/// Answers a call that came in with an error, which stays the caller's. Else as micro_reply.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_reply_error(
    runtime: *mut micro_runtime,
    call: micro_id,
    error: *const micro_error,
    trailers: micro_slice,
) -> micro_status {
    // SAFETY: the caller promises live objects or NULL, and readable trailers.
    unsafe {
        act(runtime, |runtime| {
            let error = at(error)?.clone().into_core();
            runtime.reply(Id::from_raw(call), Err(error), trailers.bytes("trailers")?)
        })
    }
}

/// Sets headers of the answer to a call that came in, a block made by micro_meta_add. Without effect once they were sent, with a
/// stream's first message or by micro_call_send_headers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_call_headers(
    runtime: *mut micro_runtime,
    call: micro_id,
    headers: micro_slice,
) -> micro_status {
    // SAFETY: the caller promises a live runtime or NULL, and readable headers.
    unsafe {
        act(runtime, |runtime| runtime.set_headers(Id::from_raw(call), headers.bytes("headers")?))
    }
}

/// Sends the headers of a stream's answer now, before its first message. Without effect once they were sent; headers that are set
/// afterwards may be lost. MICRO_ARG where the answer is one message, which its headers come with.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_call_send_headers(
    runtime: *mut micro_runtime,
    call: micro_id,
) -> micro_status {
    // SAFETY: the caller promises a live runtime or NULL.
    unsafe { act(runtime, |runtime| runtime.send_headers(Id::from_raw(call))) }
}

/// What is known of a call that came in, a JSON object with service, endpoint, caller, peer, trace_id, span_id, and the path of one
/// that the endpoint "*" answers. The caller owns `out`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_call_describe(
    runtime: *mut micro_runtime,
    call: micro_id,
    out: *mut micro_bytes,
) -> micro_status {
    // SAFETY: the caller promises a live runtime or NULL, and a writable `out`.
    unsafe {
        act(runtime, |runtime| {
            let text = runtime.describe(Id::from_raw(call))?;
            // What stands there is not known to be owned, so it is only overwritten.
            put(place(out, "text")?, micro_bytes::give(text.into()))
        })
    }
}
