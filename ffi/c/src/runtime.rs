//! Runtimes.

use std::mem::{MaybeUninit, offset_of};
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
        // Where the first version of the struct ends.
        let least = offset_of!(Self, json) + size_of::<micro_slice>();
        // SAFETY: not NULL, and of the size it says.
        let options = unsafe { given(options, least, "options")? };
        if options.flags != 0 {
            return Err(Failure::argument("flags of the options: none are known, give 0"));
        }
        // SAFETY: the caller promises readable text.
        unsafe { options.json.text("options") }
    }
}

/// A struct of the caller, as far as the caller knows it: fields that came later are 0. `least` is where its first version
/// ends.
///
/// # Errors
/// `ARG` for a size that no version has.
///
/// # Safety
/// The caller's promise: not NULL, and of the size that its first number says. A `T` of zeros is one.
pub(crate) unsafe fn given<T: Copy>(pointer: *const T, least: usize, what: &str) -> Result<T> {
    // SAFETY: the size stands at the head of every version.
    let size = unsafe { *pointer.cast::<u32>() } as usize;
    if !(least..=4096).contains(&size) {
        let here = size_of::<T>();
        let wrong = format!("size of the {what} is {size}: set it to sizeof, here {here}");
        return Err(Failure::argument(wrong));
    }
    let mut known = MaybeUninit::<T>::zeroed();
    let common = size.min(size_of::<T>());
    // SAFETY: both have as many bytes, and whatever is not copied is 0.
    unsafe {
        let bytes = known.as_mut_ptr().cast::<u8>();
        std::ptr::copy_nonoverlapping(pointer.cast::<u8>(), bytes, common);
        Ok(known.assume_init())
    }
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
            let _blocked = micro_process::signal::SigpipeBlocked::new();
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

#[cfg(test)]
mod tests {
    use super::*;

    /// The options as a later version may have them.
    #[repr(C)]
    #[derive(Clone, Copy)]
    struct Grown {
        first: micro_options,
        added: u64,
    }

    fn options(size: usize) -> micro_options {
        micro_options { size: size as u32, flags: 0, json: micro_slice::EMPTY }
    }

    #[test]
    fn what_a_program_does_not_know_yet_is_zero() {
        let least = size_of::<micro_options>();
        let old = options(least);
        // SAFETY: the struct has the size it says, and nothing behind it is read.
        let given = unsafe { given((&raw const old).cast::<Grown>(), least, "options") };
        assert_eq!(given.expect("an old program").added, 0);
    }

    #[test]
    fn what_this_version_does_not_know_is_left_alone() {
        let new = Grown { first: options(size_of::<Grown>()), added: 7 };
        let least = size_of::<micro_options>();
        // SAFETY: the struct has the size it says.
        let given = unsafe { given(&raw const new.first, least, "options") };
        assert_eq!(given.expect("a new program").size as usize, size_of::<Grown>());
        for wrong in [0, least - 1, 4097] {
            let wrong = options(wrong);
            // SAFETY: a size that is refused is not read.
            assert!(unsafe { super::given(&raw const wrong, least, "options") }.is_err());
        }
    }
}
