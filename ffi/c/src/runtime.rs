//! Runtimes.

use std::borrow::Cow;
use std::ffi::{CStr, c_char};
use std::mem::offset_of;
use std::time::Duration;

use micro_bridge::{Failure, Id, Result, Runtime, flags};

use crate::error::{make, micro_error};
use crate::given::{Grows, given};
use crate::object::{self, Opaque, act};
use crate::{micro_slice, micro_status};

/// The threads that do the work, and whatever is under way on them.
pub struct micro_runtime;

impl Opaque for micro_runtime {
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
    /// Of a service: how many arguments the program was started with, without its name.
    pub argc: u32,
    /// 0.
    pub reserved: u32,
    /// They, each ending in a zero: `argv + 1` of main. They become flags, which come before variables, documents and `json`; the
    /// key `args` in `json`, a list of texts, is the same. NULL leaves them to the program.
    pub argv: *const *const c_char,
}

impl Grows for micro_options {
    const NAME: &'static str = "options";
    const LEAST: usize = offset_of!(Self, json) + size_of::<micro_slice>();
    type Read<'a> = Cow<'a, str>;

    unsafe fn read<'a>(self) -> Result<Cow<'a, str>> {
        flags::check(self.flags, 0, Self::NAME)?;
        if self.argv.is_null() && self.argc > 0 {
            return Err(Failure::argument("options: argc counts arguments, and argv is NULL"));
        }
        // SAFETY: the caller promises readable text, and as many arguments as it says.
        unsafe {
            let argument = |n: usize| {
                let argument = *self.argv.add(n);
                let missing = || Failure::argument(format!("options: argument {n} is NULL"));
                let argument = (!argument.is_null()).then(|| CStr::from_ptr(argument));
                Ok(argument.ok_or_else(missing)?.to_string_lossy().into_owned())
            };
            let arguments = || (0..self.argc as usize).map(argument).collect::<Result<_>>();
            let arguments = (!self.argv.is_null()).then(arguments).transpose()?;
            micro_bridge::with_args(self.json.text(Self::NAME)?, arguments)
        }
    }
}

/// The JSON document of the caller's options; none for NULL.
///
/// # Safety
/// The caller's promise: NULL, or a struct of the size it says.
pub(crate) unsafe fn json<'a>(options: *const micro_options) -> Result<Cow<'a, str>> {
    // SAFETY: the caller's promise is ours.
    if options.is_null() { Ok("".into()) } else { unsafe { given(options) } }
}

/// Starts threads. `options` may be NULL; its keys are `workers` (threads: as many as processors but at most 8, unless set)
/// and `log` ("off", "error", "warn", "info", "debug", "trace"; "warn" unless set, and for the whole process). That a service has
/// started is told from "warn" on, unless it is `quiet`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_runtime_new(
    options: *const micro_options,
    out: *mut *mut micro_runtime,
    err: *mut *mut micro_error,
) -> micro_status {
    // SAFETY: the caller promises valid options, and writable `out` and `err`.
    unsafe {
        make(out, err, || {
            // Threads begin with what the thread that starts them keeps away.
            #[cfg(unix)]
            let _blocked = micro_process::signal::SigpipeBlocked::new();
            Runtime::new(&json(options)?)
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
    unsafe { act(runtime, |runtime| runtime.shutdown(Duration::from_nanos(grace_ns))) }
}

/// Shuts down, at once unless that was asked for otherwise, waits for the end and frees the runtime. **Blocks**; never to be
/// called from a callback. Queues, clients and servers stay valid until they are freed, and say MICRO_CLOSED. NULL is fine. In
/// a child of the process it does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_runtime_free(runtime: *mut micro_runtime) {
    // SAFETY: the caller promises a live runtime or NULL, and uses it no more.
    unsafe { object::free(runtime, Runtime::free) };
}

/// Ends whatever `any` names: an operation, a stream or a watch gets its terminal event, the caller of a call that came in is
/// answered MICRO_CANCELLED. Harmless when late: MICRO_STALE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_cancel(runtime: *mut micro_runtime, any: micro_id) -> micro_status {
    // SAFETY: the caller promises a live runtime or NULL.
    unsafe { act(runtime, |runtime| runtime.cancel(Id::from_raw(any))) }
}
