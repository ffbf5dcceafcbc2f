//! Threads of the library that call a function of the caller: events as callbacks.

use std::ffi::c_void;
use std::sync::PoisonError;

use micro_bridge::Failure;

use crate::error::{answer, micro_error};
use crate::event::{micro_event, micro_event_release};
use crate::object::Object;
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
    let host = Host { on_event, ctx, drop };
    // SAFETY: the caller promises a live queue or NULL, and a writable `err`.
    unsafe {
        answer(err, || {
            let events = Object::<micro_queue>::at(queue)?;
            if on_event.is_none() {
                return Err(Failure::argument("run a queue with a function: on_event is NULL"));
            }
            // Before its lock, which a thread that is not there may hold.
            events.queue.check()?;
            let mut slot = events.dispatchers.lock().unwrap_or_else(PoisonError::into_inner);
            if slot.is_some() {
                return Err(Failure::argument("the queue runs already: make another queue"));
            }
            *slot = Some(events.queue.run(threads, move |event| host.tell(event.into()))?);
            Ok(())
        })
    }
}

/// The caller's function; dropped with the last thread, it is given back.
struct Host {
    on_event: micro_event_fn,
    ctx: *mut c_void,
    drop: micro_fn,
}

// SAFETY: the caller of `micro_queue_run` promises that the functions may be called on any thread.
unsafe impl Send for Host {}
// SAFETY: as above; with more than one thread it is called on several at once, which the caller asked for.
unsafe impl Sync for Host {}

impl Host {
    fn tell(&self, mut event: micro_event) {
        if let Some(on_event) = self.on_event {
            // SAFETY: the caller gave the function for calls with this context, until it is dropped. What it leaves in the
            // event is ours to release.
            unsafe {
                on_event(self.ctx, &raw mut event);
                micro_event_release(&raw mut event);
            }
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if let Some(drop) = self.drop {
            // SAFETY: no thread calls `on_event` any more.
            unsafe { drop(self.ctx) };
        }
    }
}
