//! Runtimes.

use std::time::Duration;

use micro_bridge::{Failure, Id, Result, Runtime};

use crate::error::{answer, micro_error};
use crate::object::{Named, Object};
use crate::{micro_slice, micro_status};

/// The threads that do the work, and whatever is under way on them.
pub struct micro_runtime {
    _private: [u8; 0],
}

impl Named for micro_runtime {
    const NAME: &'static str = "runtime";
    const WORD: u64 = u64::from_ne_bytes(*b"microRUN");
    type Inside = Runtime;
}

/// Name of a call, stream or watch: 53 bits, so that it is an exact JavaScript number; 0 names nothing. One that is over gives
/// MICRO_STALE, never another thing.
pub type micro_id = u64;

/// Settings of a runtime, a client or a service. Fields are only ever added: set `size` to `sizeof(micro_options)`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct micro_options {
    /// Size of this struct, as the caller knows it.
    pub size: u32,
    /// 0.
    pub flags: u32,
    /// A JSON document, or nothing; its keys are in docs/configuration.md.
    pub json: micro_slice,
}

impl micro_options {
    /// The JSON document of the caller's options; none for NULL.
    ///
    /// # Safety
    /// The caller's promise: NULL, or a struct of the size it says.
    pub(crate) unsafe fn json<'a>(options: *const Self) -> Result<&'a str> {
        if options.is_null() {
            return Ok("");
        }
        // SAFETY: not NULL; the size stands at the head of every version of the struct.
        sized::<Self>(unsafe { *options.cast::<u32>() }, "options")?;
        // SAFETY: it is at least as large as it is here.
        let options = unsafe { *options };
        if options.flags != 0 {
            return Err(Failure::argument("flags of the options: none are known, give 0"));
        }
        // SAFETY: the caller promises readable text.
        unsafe { options.json.text("options") }
    }
}

/// Refuses structs that cannot be what they are said to be.
pub(crate) fn sized<T>(size: u32, what: &str) -> Result<()> {
    let least = size_of::<T>();
    if (least..=4096).contains(&(size as usize)) {
        return Ok(());
    }
    Err(Failure::argument(format!("size of the {what} is {size}: set it to sizeof, here {least}")))
}

/// Starts threads. `options` may be NULL; its keys are `workers` (threads: as many as processors but at most 8, unless set)
/// and `log` ("off", "error", "warn", "info", "debug", "trace"; "warn" unless set, and for the whole process).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_runtime_new(
    options: *const micro_options,
    out: *mut *mut micro_runtime,
    err: *mut *mut micro_error,
) -> micro_status {
    // SAFETY: the caller promises valid options, and writable `out` and `err`.
    unsafe {
        answer(err, || {
            // Threads begin with what the thread that starts them keeps away.
            #[cfg(unix)]
            let _unbroken = crate::signal::Unbroken::new();
            notice_forks();
            Object::<micro_runtime>::give(out, || Runtime::new(micro_options::json(options)?))
        })
    }
}

/// Ends whatever is under way, in order, and returns at once: services stop accepting, deregister and finish their calls;
/// operations get `grace_ns` to end, then they are cancelled; last, every queue gets MICRO_EVENT_CLOSED. Harmless when
/// repeated.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_runtime_shutdown(
    runtime: *mut micro_runtime,
    grace_ns: u64,
) -> micro_status {
    // SAFETY: the caller promises a live runtime or NULL.
    unsafe {
        answer(std::ptr::null_mut(), || {
            Object::<micro_runtime>::at(runtime)?.shutdown(Duration::from_nanos(grace_ns))
        })
    }
}

/// Shuts down, at once unless that was asked for otherwise, waits for the end and frees the runtime. **Blocks**; never to be
/// called from a callback. Queues, clients and servers stay valid until they are freed, and say MICRO_CLOSED. NULL is fine. In
/// a child of the process it does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_runtime_free(runtime: *mut micro_runtime) {
    // SAFETY: the caller promises a live runtime or NULL, and uses it no more.
    unsafe { Object::<micro_runtime>::free(runtime, Runtime::free) };
}

/// Ends whatever `any` names: an operation, a stream or a watch gets its terminal event, the caller of a call that came in is
/// answered MICRO_CANCELLED. Harmless when late: MICRO_STALE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_cancel(runtime: *mut micro_runtime, any: micro_id) -> micro_status {
    // SAFETY: the caller promises a live runtime or NULL.
    unsafe {
        answer(std::ptr::null_mut(), || {
            Object::<micro_runtime>::at(runtime)?.cancel(Id::from_raw(any))
        })
    }
}

/// Has a child of this process know that it is one.
#[cfg(unix)]
fn notice_forks() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    extern "C" fn in_child() {
        micro_bridge::fork::in_child();
    }
    ONCE.call_once(|| {
        // SAFETY: the hook adds to an atomic number and does nothing else, which is allowed after a fork.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

#[cfg(not(unix))]
fn notice_forks() {}
