//! Queues.

use std::ffi::c_void;
use std::mem::offset_of;
use std::sync::Arc;
use std::time::Duration;

use micro_bridge::{Callback, Event, Failure, NO_TIMEOUT, Queue, flags};

use crate::error::{make, micro_error};
use crate::lent::Lent;
use crate::object::{self, Opaque, act, at, look};
use crate::{micro_event, micro_fn, micro_runtime, micro_status};

/// Where everything is told. Use one of three ways: wait for micro_queue_fd in a loop of your own and drain; block in
/// micro_queue_wait; or hand a function to micro_queue_run.
pub struct micro_queue;

impl Opaque for micro_queue {
    const NAME: &'static str = "queue";
    const WORD: u64 = u64::from_ne_bytes(*b"microQUE");
    type Inside = Arc<Queue>;
}

/// The queue receives the log records of the library, instead of stderr or of the queue that did.
pub const MICRO_QUEUE_LOGS: u32 = 1;

/// A queue. `flags`: 0 or MICRO_QUEUE_LOGS.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_queue_new(
    runtime: *mut micro_runtime,
    flags: u32,
    out: *mut *mut micro_queue,
    err: *mut *mut micro_error,
) -> micro_status {
    // SAFETY: the caller promises a live runtime or NULL, and writable `out` and `err`.
    unsafe {
        make(out, err, || {
            flags::check(flags, MICRO_QUEUE_LOGS, "queue")?;
            let queue = at(runtime)?.new_queue()?;
            if flags & MICRO_QUEUE_LOGS != 0 {
                queue.receive_logs()?;
            }
            Ok(queue)
        })
    }
}

/// A descriptor that is readable while the queue holds something, for poll, epoll and the like. It belongs to the queue: do
/// not read or close it; draining makes it unreadable. -1 when there is none, as on Windows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_queue_fd(queue: *const micro_queue) -> i32 {
    // SAFETY: the caller promises a live queue or NULL.
    unsafe { look(queue, -1, |queue| queue.descriptor()) }
}

/// Calls `wake(ctx)` on any thread when the queue is no longer empty, and again after a drain that left something. It must
/// return at once and call nothing of this library. `drop(ctx)` is called once, after the last `wake`: when another takes its
/// place, when the queue ends or is freed, or at once when this fails. Either may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_queue_set_wake(
    queue: *mut micro_queue,
    wake: micro_fn,
    ctx: *mut c_void,
    drop: micro_fn,
) -> micro_status {
    let lent = Lent { ctx, drop };
    let call = move || {
        // SAFETY: the caller gave the function for calls with this context, until that is given back.
        let _ = wake.map(|wake| unsafe { wake(lent.get()) });
    };
    // SAFETY: the caller promises a live queue or NULL.
    unsafe { act(queue, |queue| queue.set_wake(Callback(call))) }
}

/// Takes up to `max` events, oldest first and at most 1024 at a time; returns how many. They go to `events`, `stride` bytes
/// apart: give `sizeof(micro_event)`. Does not block.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_queue_drain(
    queue: *mut micro_queue,
    events: *mut c_void,
    stride: usize,
    max: usize,
) -> usize {
    // SAFETY: the caller promises a live queue or NULL, and room for `max` events of `stride` bytes.
    unsafe { hand_over(queue, events, stride, |queue, put| queue.drain(max, put)) }
}

/// As micro_queue_drain, once there is something, the queue has ended, or `timeout_ns` is over; MICRO_NO_TIMEOUT waits for
/// ever. **Blocks**; never to be called from a callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_queue_wait(
    queue: *mut micro_queue,
    events: *mut c_void,
    stride: usize,
    max: usize,
    timeout_ns: u64,
) -> usize {
    let timeout = (timeout_ns != NO_TIMEOUT).then(|| Duration::from_nanos(timeout_ns));
    // SAFETY: as for `micro_queue_drain`.
    unsafe { hand_over(queue, events, stride, |queue, put| queue.wait(max, timeout, put)) }
}

/// Events that wait to be drained.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_queue_length(queue: *const micro_queue) -> usize {
    // SAFETY: the caller promises a live queue or NULL.
    unsafe { look(queue, 0, |queue| Ok(queue.len())) }
}

/// How long the oldest event has waited, in nanoseconds, within a second.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_queue_age(queue: *const micro_queue) -> u64 {
    let nanos = |age: Duration| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX);
    // SAFETY: the caller promises a live queue or NULL.
    unsafe { look(queue, 0, |queue| Ok(nanos(queue.age()))) }
}

/// Closes the queue: what it holds is dropped, calls that the program has not seen are answered, nothing more comes in, and
/// micro_queue_wait returns. Operations under way go on, and their end is not told.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_queue_close(queue: *mut micro_queue) -> micro_status {
    // SAFETY: the caller promises a live queue or NULL.
    unsafe { act(queue, |queue| queue.close()) }
}

/// Closes the queue, waits for the threads of micro_queue_run, and frees it. **Blocks** for as long as a function given to
/// micro_queue_run runs; not to be called from it. NULL is fine. In a child of the process it does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_queue_free(queue: *mut micro_queue) {
    // SAFETY: the caller promises a live queue or NULL, and uses it no more.
    unsafe { object::free(queue, |queue| queue.free()) };
}

/// # Safety
/// The caller's promise: a live queue or NULL, and room for as many events as `take` hands over.
unsafe fn hand_over(
    queue: *mut micro_queue,
    events: *mut c_void,
    stride: usize,
    take: impl FnOnce(&Queue, &mut dyn FnMut(Event)) -> usize,
) -> usize {
    let take = |queue: &Arc<Queue>| {
        // Where the first version of the struct ends: programs that were compiled with it have no more room.
        let least = offset_of!(micro_event, error) + size_of::<*mut micro_error>();
        if events.is_null() || stride < least {
            return Err(Failure::argument("events go to an array of micro_event"));
        }
        let mut next = events.cast::<u8>();
        Ok(take(queue, &mut |event| {
            let event = micro_event::from(event);
            let (from, size) = ((&raw const event).cast::<u8>(), stride.min(size_of_val(&event)));
            // SAFETY: the caller promises room for one more; a longer stride leaves what is not known here alone.
            unsafe {
                std::ptr::copy_nonoverlapping(from, next, size);
                next = next.add(stride);
            }
        }))
    };
    // SAFETY: the caller's promise is ours.
    unsafe { look(queue, 0, take) }
}
