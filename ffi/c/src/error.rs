//! What went wrong, in words and data.

use bytes::Bytes;
use micro_bridge::core::{Detail, Error};
use micro_bridge::{Failure, Result, Status, live};

use crate::object::{self, Opaque, act, look, place, put};
use crate::{MICRO_ARG, MICRO_OK, micro_slice, micro_status};

/// What went wrong. Made by functions that take a `micro_error **`, which may be NULL, and by events; free it with
/// micro_error_free. Whatever it tells lives as long as the error.
pub struct micro_error;

impl Opaque for micro_error {
    const NAME: &'static str = "error";
    const WORD: u64 = u64::from_ne_bytes(*b"microERR");
    type Inside = Failure;
}

/// An error for the caller, or NULL.
pub(crate) fn give(failure: Option<Failure>) -> *mut micro_error {
    failure.map_or_else(std::ptr::null_mut, |failure| {
        live::add(live::ERROR);
        object::made(failure)
    })
}

/// Every exported function that can fail ends here: a status for the caller, and the error where it wants one.
///
/// # Safety
/// The caller's promise: `err` is NULL or writable.
pub(crate) unsafe fn answer(
    err: *mut *mut micro_error,
    work: impl FnOnce() -> Result<()>,
) -> micro_status {
    let failure = micro_bridge::guard(work).err();
    let status = failure.as_ref().map_or(MICRO_OK, |failure| failure.status().0);
    if !err.is_null() {
        // SAFETY: not NULL, and the caller promises that it can be written.
        unsafe { *err = give(failure) };
    }
    status
}

/// Makes an object for the caller, once there is a place for it, or says what kept it from being made.
///
/// # Safety
/// The caller's promise: `out` and `err` are NULL or writable.
pub(crate) unsafe fn make<N: Opaque>(
    out: *mut *mut N,
    err: *mut *mut micro_error,
    make: impl FnOnce() -> Result<N::Inside>,
) -> micro_status {
    // SAFETY: the caller's promise is ours.
    unsafe { answer(err, || put(place(out, N::NAME)?, object::made(make()?))) }
}

/// An error to answer a call with. `status` is one of gRPC's, 1 to 16; `id` is go-micro's: who failed, such as
/// "go.micro.srv.greeter", and may be empty. NULL for another status and for text that is not UTF-8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_error_new(
    status: micro_status,
    id: micro_slice,
    message: micro_slice,
) -> *mut micro_error {
    // SAFETY: the caller promises readable text.
    unsafe {
        told(|| {
            let told = Failure::told(Status(status), message.text("message")?)?;
            Ok(told.with_id(id.text("id")?.to_owned()))
        })
    }
}

/// As micro_error_new, for go-micro's number: one like an HTTP status, such as 404 or 418, which travels as it is. The error's
/// status follows from it, MICRO_UNKNOWN where go-micro knows none. NULL for text that is not UTF-8.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_error_from_http(
    http_code: i32,
    id: micro_slice,
    message: micro_slice,
) -> *mut micro_error {
    // SAFETY: the caller promises readable text.
    unsafe {
        told(|| {
            let (id, message) = (id.text("id")?.to_owned(), message.text("message")?.to_owned());
            Ok(Error::from_http(id, message, http_code))
        })
    }
}

/// Attaches a protobuf message for programs to read, as gRPC's error details are. `type_name` is its full name, such as
/// "google.rpc.BadRequest".
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_error_attach(
    error: *mut micro_error,
    type_name: micro_slice,
    value: micro_slice,
) -> micro_status {
    // SAFETY: the caller promises a live error that no other thread uses meanwhile, and readable bytes.
    unsafe {
        act(error, |failure| {
            let value = Bytes::copy_from_slice(value.bytes("value")?);
            let detail = Detail::new(type_name.text("type name")?, value);
            let changed = failure.clone().into_core().with_attached(detail);
            object::replace(error, changed.into())
        })
    }
}

/// The status of an error; MICRO_ARG for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_error_status(error: *const micro_error) -> micro_status {
    // SAFETY: the caller promises a live error or NULL.
    unsafe { look(error, MICRO_ARG, |failure| Ok(failure.status().0)) }
}

/// What is wrong and what to do, for people.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_error_message(error: *const micro_error) -> micro_slice {
    // SAFETY: the caller promises a live error or NULL.
    unsafe { words(error, Failure::message) }
}

/// go-micro's id: who failed, such as "go.micro.client". May be empty.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_error_id(error: *const micro_error) -> micro_slice {
    // SAFETY: the caller promises a live error or NULL.
    unsafe { words(error, Failure::id) }
}

/// go-micro's number, which is like an HTTP status, such as 404; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_error_http_code(error: *const micro_error) -> i32 {
    // SAFETY: the caller promises a live error or NULL.
    unsafe { look(error, 0, |failure| Ok(failure.http_code())) }
}

/// What kept a call from every handler, where the status alone does not tell; empty otherwise. "no_nodes": the service has no
/// node now. "no_match": the call's filters allow none of its nodes. "other_service": the address belongs to another service now.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_error_reason(error: *const micro_error) -> micro_slice {
    // SAFETY: the caller promises a live error or NULL.
    unsafe { words(error, |failure| failure.reason()) }
}

/// The service of a call that failed; empty where no call did.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_error_service(error: *const micro_error) -> micro_slice {
    // SAFETY: the caller promises a live error or NULL.
    unsafe { words(error, |failure| failure.origin().map_or("", |origin| &origin.service)) }
}

/// The endpoint of a call that failed, such as "Greeter.Hello"; empty where no call did.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_error_endpoint(error: *const micro_error) -> micro_slice {
    // SAFETY: the caller promises a live error or NULL.
    unsafe { words(error, |failure| failure.origin().map_or("", |origin| &origin.endpoint)) }
}

/// Id and address of the node of the last attempt; empty where none was chosen.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_error_node(error: *const micro_error) -> micro_slice {
    // SAFETY: the caller promises a live error or NULL.
    unsafe { words(error, |failure| failure.origin().map_or("", |origin| &origin.node)) }
}

/// Attempts made of a call that failed; 0 when it failed before the first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_error_attempts(error: *const micro_error) -> u32 {
    // SAFETY: the caller promises a live error or NULL.
    unsafe { look(error, 0, |failure| Ok(failure.origin().map_or(0, |at| at.attempts))) }
}

/// How many messages for programs are attached.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_error_detail_count(error: *const micro_error) -> usize {
    // SAFETY: the caller promises a live error or NULL.
    unsafe { look(error, 0, |failure| Ok(failure.attached().len())) }
}

/// An attached message by its number, from 0: returns the full name of its type, and puts the message into `value` unless that
/// is NULL. Empty where there is none of that number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_error_detail(
    error: *const micro_error,
    number: usize,
    value: *mut micro_slice,
) -> micro_slice {
    // SAFETY: the caller promises a live error or NULL, and that `value` is NULL or writable.
    unsafe {
        look(error, micro_slice::EMPTY, |failure| {
            let detail = failure.attached().get(number);
            let (name, bytes) =
                detail.map_or(("", &[][..]), |detail| (detail.name(), &detail.value));
            put(value, micro_slice::of(bytes))?;
            Ok(micro_slice::of(name.as_bytes()))
        })
    }
}

/// Frees an error. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_error_free(error: *mut micro_error) {
    // SAFETY: the caller promises a live error or NULL, and uses it no more.
    unsafe { object::free(error, |_| live::remove(live::ERROR)) };
}

/// An error for the caller, or NULL where none can be made.
fn told(make: impl FnOnce() -> Result<Error>) -> *mut micro_error {
    give(micro_bridge::guard(make).ok().map(Failure::from))
}

/// # Safety
/// As [`look`].
unsafe fn words(error: *const micro_error, part: impl FnOnce(&Failure) -> &str) -> micro_slice {
    // SAFETY: the caller's promise is ours.
    unsafe {
        look(error, micro_slice::EMPTY, |failure| Ok(micro_slice::of(part(failure).as_bytes())))
    }
}
