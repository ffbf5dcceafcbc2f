//! Numbers for how things end.

use micro_bridge::Status;

use crate::slice::micro_slice;

/// How an operation or a function ended: 0 is success, 1 to 16 are gRPC's codes, from 1000 on this library's own. Numbers are
/// only ever added: take one you do not know for a failure.
pub type micro_status = i32;

/// Success.
pub const MICRO_OK: micro_status = 0;
/// The caller gave up.
pub const MICRO_CANCELLED: micro_status = 1;
/// Something failed and no cause was given.
pub const MICRO_UNKNOWN: micro_status = 2;
/// The request is wrong, whatever the state of the service.
pub const MICRO_INVALID_ARGUMENT: micro_status = 3;
/// The deadline passed.
pub const MICRO_DEADLINE_EXCEEDED: micro_status = 4;
/// The thing asked for, or the service itself, does not exist.
pub const MICRO_NOT_FOUND: micro_status = 5;
/// The thing to create exists.
pub const MICRO_ALREADY_EXISTS: micro_status = 6;
/// The account may not do this.
pub const MICRO_PERMISSION_DENIED: micro_status = 7;
/// A limit was reached: quota, concurrency or size.
pub const MICRO_RESOURCE_EXHAUSTED: micro_status = 8;
/// The state of the service forbids the operation.
pub const MICRO_FAILED_PRECONDITION: micro_status = 9;
/// A conflict with a concurrent operation; try the whole transaction again.
pub const MICRO_ABORTED: micro_status = 10;
/// Past the valid range.
pub const MICRO_OUT_OF_RANGE: micro_status = 11;
/// The endpoint does not exist or does not speak this content type.
pub const MICRO_UNIMPLEMENTED: micro_status = 12;
/// A bug or a broken invariant on the far side.
pub const MICRO_INTERNAL: micro_status = 13;
/// No node can serve this now; trying again may help.
pub const MICRO_UNAVAILABLE: micro_status = 14;
/// Data was lost or damaged for good.
pub const MICRO_DATA_LOSS: micro_status = 15;
/// The caller is not known.
pub const MICRO_UNAUTHENTICATED: micro_status = 16;
/// The id names nothing that is still there: the call, stream or watch is over.
pub const MICRO_STALE: micro_status = 1000;
/// Made before this process was forked: make a new runtime in the child.
pub const MICRO_FORKED: micro_status = 1001;
/// A bug in this library: something panicked. The operation is over.
pub const MICRO_PANIC: micro_status = 1002;
/// The runtime, the queue or the sending side of the stream is closed.
pub const MICRO_CLOSED: micro_status = 1003;
/// A limit is reached: drain, or wait for MICRO_EVENT_WRITABLE, then try again.
pub const MICRO_FULL: micro_status = 1004;
/// The program was compiled for another version of this library.
pub const MICRO_ABI: micro_status = 1005;
/// An argument is wrong; the error says which, and what is right.
pub const MICRO_ARG: micro_status = 1006;

/// The spelling of a status, such as "DEADLINE_EXCEEDED" or "STALE"; "UNKNOWN" for an unknown number. Lives for ever.
#[unsafe(no_mangle)]
pub extern "C" fn micro_status_name(status: micro_status) -> micro_slice {
    micro_slice::of(Status(status).name().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_bridges() {
        for (number, status) in [
            (MICRO_STALE, Status::STALE),
            (MICRO_FORKED, Status::FORKED),
            (MICRO_PANIC, Status::PANIC),
            (MICRO_CLOSED, Status::CLOSED),
            (MICRO_FULL, Status::FULL),
            (MICRO_ABI, Status::ABI),
            (MICRO_ARG, Status::ARG),
        ] {
            assert_eq!(Status(number), status);
        }
        assert_eq!(Status(MICRO_UNAUTHENTICATED).name(), "UNAUTHENTICATED");
    }
}
