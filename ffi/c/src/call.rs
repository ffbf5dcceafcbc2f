//! Calls that came in.

use micro_bridge::core::Error;
use micro_bridge::{Failure, Id, Result, Status};

use crate::client::give_text;
use crate::error::{answer, micro_error};
use crate::object::Object;
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
        answer(std::ptr::null_mut(), || {
            let payload = payload.take("payload")?;
            let answer = match Status(status) {
                Status::OK => Ok(payload),
                failed => Err(error(failed, &payload)?),
            };
            let trailers = trailers.bytes("trailers")?;
            Object::<micro_runtime>::at(runtime)?.reply(Id::from_raw(call), answer, trailers)
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
        answer(std::ptr::null_mut(), || {
            let error = Object::<micro_error>::at(error)?.to_core();
            let trailers = trailers.bytes("trailers")?;
            Object::<micro_runtime>::at(runtime)?.reply(Id::from_raw(call), Err(error), trailers)
        })
    }
}

/// Sets headers of the answer to a call that came in, a block made by micro_meta_add. Without effect once a stream's first
/// message was sent.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_call_headers(
    runtime: *mut micro_runtime,
    call: micro_id,
    headers: micro_slice,
) -> micro_status {
    // SAFETY: the caller promises a live runtime or NULL, and readable headers.
    unsafe {
        answer(std::ptr::null_mut(), || {
            let headers = headers.bytes("headers")?;
            Object::<micro_runtime>::at(runtime)?.set_headers(Id::from_raw(call), headers)
        })
    }
}

/// What is known of a call that came in, a JSON object with service, endpoint, caller, peer, trace_id and span_id. The caller
/// owns `out`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_call_describe(
    runtime: *mut micro_runtime,
    call: micro_id,
    out: *mut micro_bytes,
) -> micro_status {
    // SAFETY: the caller promises a live runtime or NULL, and a writable `out`.
    unsafe {
        answer(std::ptr::null_mut(), || {
            give_text(out, Object::<micro_runtime>::at(runtime)?.describe(Id::from_raw(call))?)
        })
    }
}

/// The error of an answer that is no reply.
fn error(status: Status, message: &[u8]) -> Result<Error> {
    let code = status.code().filter(|code| code.grpc() == status.0).ok_or_else(|| {
        Failure::argument(format!("{} is no status of an answer: give 0 to 16", status.0))
    })?;
    Ok(Error::new(code, String::from_utf8_lossy(message).into_owned()))
}
