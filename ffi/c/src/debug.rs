//! For tests of programs that use the library.

use micro_bridge::live;

use crate::object::{at, done};
use crate::{micro_bytes, micro_queue, micro_runtime, micro_status};

/// Everything.
pub const MICRO_LIVE_ALL: u32 = 0;
/// Runtimes.
pub const MICRO_LIVE_RUNTIME: u32 = 1;
/// Queues.
pub const MICRO_LIVE_QUEUE: u32 = 2;
/// Clients.
pub const MICRO_LIVE_CLIENT: u32 = 3;
/// Servers.
pub const MICRO_LIVE_SERVER: u32 = 4;
/// Operations, streams and watches that are not over.
pub const MICRO_LIVE_OPERATION: u32 = 5;
/// Calls that came in and are not over.
pub const MICRO_LIVE_CALL: u32 = 6;
/// Bytes that the caller owns.
pub const MICRO_LIVE_BYTES: u32 = 7;
/// Errors that the caller owns.
pub const MICRO_LIVE_ERROR: u32 = 8;

/// How many things of a kind, MICRO_LIVE_*, are alive in this process; 0 of all once everything was freed.
#[unsafe(no_mangle)]
pub extern "C" fn micro_debug_live(kind: u32) -> u64 {
    live::count(kind)
}

/// Panics, to see what becomes of it: in the call itself, which returns MICRO_PANIC, where `queue` is NULL; otherwise in an
/// operation that ends in MICRO_EVENT_REPLY with that status.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_debug_panic(
    runtime: *mut micro_runtime,
    queue: *mut micro_queue,
    token: u64,
) -> micro_status {
    // SAFETY: the caller promises live objects or NULL.
    unsafe {
        done(|| {
            #[allow(clippy::panic, reason = "that is what it is for")]
            if queue.is_null() {
                panic!("asked for by a test");
            }
            at(runtime)?.panic_inside(at(queue)?, token).map(drop)
        })
    }
}

/// An operation that comes back with its payload at once, in MICRO_EVENT_REPLY: what crossing the border costs, without a
/// network. The payload is taken, also when this fails.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_debug_echo(
    runtime: *mut micro_runtime,
    queue: *mut micro_queue,
    payload: micro_bytes,
    token: u64,
) -> micro_status {
    // SAFETY: the caller promises live objects or NULL, and bytes that are what they say.
    unsafe {
        done(|| {
            let payload = payload.take("payload")?;
            at(runtime)?.echo_inside(at(queue)?, payload, token).map(drop)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_bridges() {
        let here = [
            MICRO_LIVE_RUNTIME,
            MICRO_LIVE_QUEUE,
            MICRO_LIVE_CLIENT,
            MICRO_LIVE_SERVER,
            MICRO_LIVE_OPERATION,
            MICRO_LIVE_CALL,
            MICRO_LIVE_BYTES,
            MICRO_LIVE_ERROR,
        ];
        let there = [
            live::RUNTIME,
            live::QUEUE,
            live::CLIENT,
            live::SERVER,
            live::OPERATION,
            live::CALL,
            live::BYTES,
            live::ERROR,
        ];
        assert_eq!(here, there);
    }
}
