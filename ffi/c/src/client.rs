//! Clients.

use micro_bridge::{Client, Id, Queue, Request, Result};
use std::mem::offset_of;
use std::sync::Arc;

use crate::error::{answer, make, micro_error};
use crate::given::{Grows, given};
use crate::object::{self, Opaque, at, put};
use crate::runtime::json;
use crate::{
    micro_bytes, micro_id, micro_options, micro_queue, micro_runtime, micro_slice, micro_status,
};

/// Calls services by name.
pub struct micro_client;

impl Opaque for micro_client {
    const NAME: &'static str = "client";
    const WORD: u64 = u64::from_ne_bytes(*b"microCLI");
    type Inside = Client;
}

/// No deadline.
pub const MICRO_NO_TIMEOUT: u64 = 0xffff_ffff_ffff_ffff;

/// Waits for a place where MICRO_FULL would be returned.
pub const MICRO_REQUEST_WAIT: u32 = 0x100;
/// Repeating the call is harmless, whatever the endpoint says.
pub const MICRO_REQUEST_IDEMPOTENT: u32 = 0x200;
/// Repeating the call is not harmless, whatever the endpoint says.
pub const MICRO_REQUEST_NOT_IDEMPOTENT: u32 = 0x400;

/// One request, one reply; of endpoints only.
pub const MICRO_UNARY: u32 = 0;
/// Many requests, one reply.
pub const MICRO_CLIENT_STREAM: u32 = 1;
/// One request, many replies.
pub const MICRO_SERVER_STREAM: u32 = 2;
/// Many messages each way, in any order.
pub const MICRO_BIDI_STREAM: u32 = 3;

/// A call to be made. Fields are only ever added: set `size` to `sizeof(micro_request)`, and what is not needed to 0.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct micro_request {
    /// Size of this struct, as the caller knows it.
    pub size: u32,
    /// MICRO_REQUEST_* and one MICRO_CODEC_*.
    pub flags: u32,
    /// Name of the service.
    pub service: micro_slice,
    /// "Type.Method", or a path that begins with "/".
    pub method: micro_slice,
    /// Headers to send: a block made by micro_meta_add, or nothing.
    pub meta: micro_slice,
    /// The message; of a stream, the one request of a MICRO_SERVER_STREAM. Taken, also when the call fails at once.
    pub payload: micro_bytes,
    /// Nanoseconds for the whole call: 0 for the client's own (5 s; none for streams), MICRO_NO_TIMEOUT for none.
    pub timeout_ns: u64,
    /// The call that came in of which this one is part, or 0: deadline, trace and metadata go on, and it ends with that one.
    pub parent: micro_id,
    /// Everything else, a JSON document (docs/configuration.md), or nothing.
    pub options: micro_slice,
}

/// A client. `options` may be NULL; its keys are those of a client in docs/configuration.md, and `max_in_flight`: calls and
/// streams under way at once, 1024 unless set. A place is free again when the operation's terminal event has been drained.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_client_new(
    runtime: *mut micro_runtime,
    options: *const micro_options,
    out: *mut *mut micro_client,
    err: *mut *mut micro_error,
) -> micro_status {
    // SAFETY: the caller promises a live runtime or NULL, valid options, and writable `out` and `err`.
    unsafe { make(out, err, || Client::new(at(runtime)?, &json(options)?)) }
}

/// Makes a unary call, which ends in one MICRO_EVENT_REPLY with this `token`; the event may come before this returns. `id` may
/// be NULL; micro_cancel takes it.
///
/// When this fails nothing has begun and no event comes: MICRO_FULL when as many operations are under way as may be, MICRO_ARG
/// or MICRO_INVALID_ARGUMENT for a wrong request, MICRO_CANCELLED when the parent is over, MICRO_CLOSED, MICRO_FORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_client_call(
    client: *mut micro_client,
    queue: *mut micro_queue,
    request: *const micro_request,
    token: u64,
    id: *mut micro_id,
    err: *mut *mut micro_error,
) -> micro_status {
    // SAFETY: the caller promises live objects or NULL, a valid request, and writable `id` and `err`.
    unsafe { begin(client, queue, request, id, err, |at, on, it| at.call(on, it, token)) }
}

/// Opens a stream of the `shape` MICRO_CLIENT_STREAM, MICRO_SERVER_STREAM or MICRO_BIDI_STREAM. It tells MICRO_EVENT_OPENED
/// when headers come, MICRO_EVENT_MESSAGE for each message that micro_stream_grant made room for, and ends in one
/// MICRO_EVENT_END. Fails as micro_client_call does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_client_open(
    client: *mut micro_client,
    queue: *mut micro_queue,
    request: *const micro_request,
    shape: u32,
    token: u64,
    stream: *mut micro_id,
    err: *mut *mut micro_error,
) -> micro_status {
    // SAFETY: as for `micro_client_call`.
    unsafe {
        begin(client, queue, request, stream, err, |at, on, it| {
            at.open(on, it, micro_bridge::shape(shape)?, token)
        })
    }
}

/// Frees a client. Its operations under way go on to their ends. NULL is fine. In a child of the process it does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_client_free(client: *mut micro_client) {
    // SAFETY: the caller promises a live client or NULL, and uses it no more.
    unsafe { object::free(client, drop) };
}

impl Grows for micro_request {
    const NAME: &'static str = "request";
    const LEAST: usize = offset_of!(Self, options) + size_of::<micro_slice>();
    type Read<'a> = Request<'a>;

    unsafe fn read<'a>(self) -> Result<Request<'a>> {
        // SAFETY: the slices' promise is the caller's.
        unsafe {
            let payload = self.payload.take("payload")?;
            Ok(Request {
                service: self.service.text("service")?,
                endpoint: self.method.text("method")?,
                payload,
                meta: self.meta.bytes("metadata")?,
                timeout_ns: self.timeout_ns,
                parent: Id::from_raw(self.parent),
                options: self.options.text("options")?,
                flags: self.flags,
            })
        }
    }
}

/// Begins an operation of a client. What is `asked` is read first: what it gives away is taken, also when this fails.
///
/// # Safety
/// The caller's promise: live objects or NULL, a valid struct, and writable `id` and `err`.
pub(crate) unsafe fn begin<'a, A: Grows>(
    client: *mut micro_client,
    queue: *mut micro_queue,
    asked: *const A,
    id: *mut micro_id,
    err: *mut *mut micro_error,
    begin: impl FnOnce(&Client, &Arc<Queue>, A::Read<'a>) -> Result<Id>,
) -> micro_status {
    // SAFETY: the caller's promise is ours.
    unsafe {
        answer(err, || {
            let asked = given(asked)?;
            put(id, begin(at(client)?, at(queue)?, asked)?.to_raw())
        })
    }
}

#[cfg(test)]
mod tests {
    use micro_bridge::{Shape, request_flags};

    use super::*;

    #[test]
    fn numbers_are_the_bridges() {
        assert_eq!(MICRO_NO_TIMEOUT, micro_bridge::NO_TIMEOUT);
        let shapes = [MICRO_UNARY, MICRO_CLIENT_STREAM, MICRO_SERVER_STREAM, MICRO_BIDI_STREAM];
        let shapes = shapes.map(|number| micro_bridge::shape(number).expect("a shape"));
        let known = [Shape::Unary, Shape::ClientStream, Shape::ServerStream, Shape::BidiStream];
        assert_eq!(shapes, known);
        assert_eq!(MICRO_REQUEST_WAIT, request_flags::WAIT);
        assert_eq!(MICRO_REQUEST_IDEMPOTENT, request_flags::IDEMPOTENT);
        assert_eq!(MICRO_REQUEST_NOT_IDEMPOTENT, request_flags::NOT_IDEMPOTENT);
    }
}
