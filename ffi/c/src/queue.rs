//! Queues.

use std::ffi::c_void;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use micro_bridge::{Callback, Dispatchers, Event, Failure, NO_TIMEOUT, Queue, Result};

use crate::error::{answer, micro_error};
use crate::event::Places;
use crate::object::{Named, Object};
use crate::{micro_event, micro_fn, micro_runtime, micro_status};

/// Where everything is told. Use one of three ways: wait for micro_queue_fd in a loop of your own and drain; block in
/// micro_queue_wait; or hand a function to micro_queue_run.
pub struct micro_queue {
    _private: [u8; 0],
}

impl Named for micro_queue {
    const NAME: &'static str = "queue";
    const WORD: u64 = u64::from_ne_bytes(*b"microQUE");
    type Inside = Events;
}

/// What is behind a [`micro_queue`].
pub(crate) struct Events {
    pub(crate) queue: Arc<Queue>,
    pub(crate) dispatchers: Mutex<Option<Dispatchers>>,
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
        answer(err, || {
            if flags & !MICRO_QUEUE_LOGS != 0 {
                return Err(Failure::argument(format!(
                    "flags {flags:#x} of a queue are not known"
                )));
            }
            let queue = Object::<micro_runtime>::at(runtime)?.new_queue()?;
            if flags & MICRO_QUEUE_LOGS != 0 {
                queue.receive_logs()?;
            }
            Object::<micro_queue>::give(out, || Ok(Events { queue, dispatchers: Mutex::default() }))
        })
    }
}

/// A descriptor that is readable while the queue holds something, for poll, epoll and the like. It belongs to the queue: do
/// not read or close it; draining makes it unreadable. -1 when there is none, as on Windows.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_queue_fd(queue: *const micro_queue) -> i32 {
    #[cfg(unix)]
    // SAFETY: the caller promises a live queue or NULL.
    let descriptor = micro_bridge::guard(|| unsafe { at(queue)?.descriptor() }).unwrap_or(-1);
    #[cfg(not(unix))]
    let descriptor = {
        let _ = queue;
        -1
    };
    descriptor
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
    let hook = Hook { call: wake, ctx, drop };
    // SAFETY: the caller promises a live queue or NULL.
    unsafe { answer(std::ptr::null_mut(), || at(queue)?.set_wake(Callback(move || hook.call()))) }
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
    micro_bridge::guard(|| Ok(unsafe { at(queue)? }.len())).unwrap_or(0)
}

/// How long the oldest event has waited, in nanoseconds, within a second.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_queue_age(queue: *const micro_queue) -> u64 {
    // SAFETY: the caller promises a live queue or NULL.
    let age = micro_bridge::guard(|| Ok(unsafe { at(queue)? }.age()));
    age.map_or(0, |age| u64::try_from(age.as_nanos()).unwrap_or(u64::MAX))
}

/// Closes the queue: what it holds is dropped, calls that the program has not seen are answered, nothing more comes in, and
/// micro_queue_wait returns. Operations under way go on, and their end is not told.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_queue_close(queue: *mut micro_queue) -> micro_status {
    // SAFETY: the caller promises a live queue or NULL.
    unsafe {
        answer(std::ptr::null_mut(), || {
            let queue = at(queue)?;
            queue.check()?;
            queue.close();
            Ok(())
        })
    }
}

/// Closes the queue, waits for the threads of micro_queue_run, and frees it. **Blocks** for as long as a function given to
/// micro_queue_run runs; not to be called from it. NULL is fine. In a child of the process it does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_queue_free(queue: *mut micro_queue) {
    // SAFETY: the caller promises a live queue or NULL, and uses it no more.
    unsafe {
        Object::<micro_queue>::free(queue, |events| {
            events.queue.close();
            // Its drop waits for the threads.
            drop(events);
        });
    }
}

/// The queue behind a pointer of the caller.
///
/// # Safety
/// The caller's promise: a live queue or NULL.
pub(crate) unsafe fn at<'a>(queue: *const micro_queue) -> Result<&'a Arc<Queue>> {
    // SAFETY: the caller's promise is ours.
    Ok(&unsafe { Object::<micro_queue>::at(queue)? }.queue)
}

/// # Safety
/// The caller's promise: a live queue or NULL, and room for as many events as `take` hands over.
unsafe fn hand_over(
    queue: *mut micro_queue,
    events: *mut c_void,
    stride: usize,
    take: impl FnOnce(&Queue, &mut dyn FnMut(Event)) -> usize,
) -> usize {
    let taken = micro_bridge::guard(|| {
        // SAFETY: the caller's promise is ours.
        let queue = unsafe { at(queue)? };
        if events.is_null() || stride < micro_event::LEAST {
            return Err(Failure::argument("events go to an array of micro_event"));
        }
        let mut places = Places::new(events, stride);
        // SAFETY: as above.
        Ok(take(queue, &mut |event| unsafe { places.put(event) }))
    });
    taken.unwrap_or(0)
}

/// A function of the caller and what it is called with; dropped, it is given back.
struct Hook {
    call: micro_fn,
    ctx: *mut c_void,
    drop: micro_fn,
}

// SAFETY: the caller of `micro_queue_set_wake` promises that both functions may be called on any thread.
unsafe impl Send for Hook {}

impl Hook {
    fn call(&self) {
        if let Some(call) = self.call {
            // SAFETY: the caller gave the function for calls with this context, until it is dropped.
            unsafe { call(self.ctx) };
        }
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        if let Some(drop) = self.drop {
            // SAFETY: as above; nothing calls it after this.
            unsafe { drop(self.ctx) };
        }
    }
}
