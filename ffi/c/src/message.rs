//! Messages of topics.

use std::mem::offset_of;

use micro_bridge::{Id, Publication, Result};

use crate::client::begin;
use crate::error::{answer, micro_error};
use crate::given::Grows;
use crate::object::{act, at, put};
use crate::{
    micro_bytes, micro_client, micro_id, micro_queue, micro_runtime, micro_server, micro_slice,
    micro_status,
};

/// It was handled.
pub const MICRO_ACK: u32 = 0;
/// It is to be delivered again, unless that was tried too often already.
pub const MICRO_RETRY: u32 = 1;
/// It is a dead letter.
pub const MICRO_REJECT: u32 = 2;
/// It is still being handled: its lease begins anew.
pub const MICRO_EXTEND: u32 = 3;

/// A message to be published. Fields are only ever added: set `size` to `sizeof(micro_message)`, and what is not needed to 0.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct micro_message {
    /// Size of this struct, as the caller knows it.
    pub size: u32,
    /// MICRO_REQUEST_WAIT and one MICRO_CODEC_*.
    pub flags: u32,
    /// What it is about: 1 to 512 bytes of text without control characters.
    pub topic: micro_slice,
    /// Headers to send: a block made by micro_meta_add, or nothing.
    pub meta: micro_slice,
    /// The message. Taken, also when the function fails at once.
    pub payload: micro_bytes,
    /// Nanoseconds to wait until the broker has it: 0 for 10 s, MICRO_NO_TIMEOUT for ever. A shorter deadline of the parent wins.
    pub timeout_ns: u64,
    /// The call or message that came in of which this is part, or 0: trace and metadata go on, and it ends with that one.
    pub parent: micro_id,
    /// Everything else, a JSON document (docs/configuration.md), or nothing.
    pub options: micro_slice,
}

/// Publishes a message with the client's broker, which ends in one MICRO_EVENT_REPLY with this `token`, without a payload, once
/// the message is as safe as the broker makes messages. `id` may be NULL. As many are under way at once as calls may be.
///
/// With the option "task": true the payload of the reply is the id by which MICRO_TASK_RESULT asks for the answer of a worker.
///
/// Fails as micro_client_call does.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_publish(
    client: *mut micro_client,
    queue: *mut micro_queue,
    message: *const micro_message,
    token: u64,
    id: *mut micro_id,
    err: *mut *mut micro_error,
) -> micro_status {
    // SAFETY: the caller promises live objects or NULL, a valid message, and writable `id` and `err`.
    unsafe { begin(client, queue, message, id, err, |at, on, it| at.publish(on, it, token)) }
}

/// Subscribes a service to a topic, before it is started. `options` is a JSON document (docs/configuration.md), or nothing. `method`
/// gets the number by which events name it, in one row with those of micro_server_method.
///
/// Each message comes as MICRO_EVENT_CALL with that number; its `meta` is that of MICRO_EVENT_DELIVERY. An empty micro_reply says
/// that it was handled, an error that it was not: then it is delivered again, where the broker can, and a dead letter in the end.
/// micro_settle says more.
///
/// With the option "task": true it is a worker: the payload of its micro_reply is the answer of the task, and has the codec of
/// its message.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_server_subscribe(
    server: *mut micro_server,
    topic: micro_slice,
    options: micro_slice,
    method: *mut u32,
    err: *mut *mut micro_error,
) -> micro_status {
    // SAFETY: the caller promises a live server or NULL, readable text, and writable `method` and `err`.
    unsafe {
        answer(err, || {
            let (topic, options) = (topic.text("topic")?, options.text("options")?);
            put(method, at(server)?.subscribe(topic, options)?)
        })
    }
}

/// Adds a job to a service, before it is started. `options` is a JSON document (docs/configuration.md) that says "every" or "cron".
/// `method` gets the number by which events name it, in one row with those of micro_server_method.
///
/// Each run comes as MICRO_EVENT_CALL with that number, without a payload. Its `meta` is a block of headers, and, behind
/// micro_meta_rest, one of what is known of the run: job (its name), time (when it was to run, milliseconds since 1970) and
/// attempt. An empty micro_reply says that it is done, an error that it failed; micro_settle says more, as of a message. What
/// makes no sense, or is more than the broker can do, is found out by the start.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_server_job(
    server: *mut micro_server,
    options: micro_slice,
    method: *mut u32,
    err: *mut *mut micro_error,
) -> micro_status {
    // SAFETY: the caller promises a live server or NULL, readable text, and writable `method` and `err`.
    unsafe { answer(err, || put(method, at(server)?.job(options.text("options")?)?)) }
}

/// Says what became of a message that MICRO_EVENT_DELIVERY lent, or that came to a subscriber of a service: MICRO_ACK, MICRO_RETRY
/// after `delay_ns`, MICRO_REJECT or MICRO_EXTEND. `reason` is for whoever reads the dead letter. A broker that cannot be told
/// delivers the message again.
///
/// MICRO_STALE when it was settled, or its subscription has ended. MICRO_ARG for an unknown verdict, and for what is no message.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_settle(
    runtime: *mut micro_runtime,
    message: micro_id,
    verdict: u32,
    delay_ns: u64,
    reason: micro_slice,
) -> micro_status {
    // SAFETY: the caller promises a live runtime or NULL, and readable text.
    unsafe {
        act(runtime, |runtime| {
            runtime.settle(Id::from_raw(message), verdict, delay_ns, reason.text("reason")?)
        })
    }
}

impl Grows for micro_message {
    const NAME: &'static str = "message";
    const LEAST: usize = offset_of!(Self, options) + size_of::<micro_slice>();
    type Read<'a> = Publication<'a>;

    unsafe fn read<'a>(self) -> Result<Publication<'a>> {
        // SAFETY: the slices' promise is the caller's.
        unsafe {
            let payload = self.payload.take("payload")?;
            Ok(Publication {
                topic: self.topic.text("topic")?,
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

#[cfg(test)]
mod tests {
    use micro_bridge::verdict;

    use super::*;

    #[test]
    fn numbers_are_the_bridges() {
        let known = [verdict::ACK, verdict::RETRY, verdict::REJECT, verdict::EXTEND];
        assert_eq!([MICRO_ACK, MICRO_RETRY, MICRO_REJECT, MICRO_EXTEND], known);
    }
}
