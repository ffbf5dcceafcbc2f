//! Threads of the library that call a function of the caller: events as callbacks.

use std::ffi::c_void;

use micro_bridge::Failure;

use crate::error::{answer, micro_error};
use crate::event::{micro_event, micro_event_release};
use crate::lent::Lent;
use crate::object::at;
use crate::{micro_fn, micro_queue, micro_status};

/// A function that is told events. It may keep what the event holds by emptying the field it took; what is left is released
/// when it returns.
pub type micro_event_fn = Option<unsafe extern "C" fn(ctx: *mut c_void, event: *mut micro_event)>;

/// Tells events to `on_event(ctx, event)` on `threads` (1 to 64) threads of the library's own; with one thread, in order and
/// never two at a time. The function may block and may call anything here but micro_runtime_free and micro_queue_free.
/// `drop(ctx)` is called once, after the last call of `on_event`, or at once when this fails. A queue is run once, and is
/// drained in no other way then. micro_queue_free waits for the threads.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_queue_run(
    queue: *mut micro_queue,
    threads: u32,
    on_event: micro_event_fn,
    ctx: *mut c_void,
    drop: micro_fn,
    err: *mut *mut micro_error,
) -> micro_status {
    let lent = Lent { ctx, drop };
    // SAFETY: the caller promises a live queue or NULL, and a writable `err`; and the function for calls with this context,
    // until that is given back. What it leaves in an event is ours to release.
    unsafe {
        answer(err, || {
            let missing = || Failure::argument("run a queue with a function: on_event is NULL");
            let (queue, on_event) = (at(queue)?, on_event.ok_or_else(missing)?);
            queue.run(threads, move |event| {
                let mut event = micro_event::from(event);
                on_event(lent.get(), &raw mut event);
                micro_event_release(&raw mut event);
            })
        })
    }
}
