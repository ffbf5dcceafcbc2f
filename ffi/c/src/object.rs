//! Objects behind pointers.

use micro_bridge::stamp::Stamp;
use micro_bridge::{Failure, Result};

use crate::{MICRO_OK, micro_status};

/// A type that C sees as a name only: what it is called, the word at its head, and what is behind it.
pub(crate) trait Opaque {
    const NAME: &'static str;
    const WORD: u64;
    type Inside;
}

/// What a pointer of the caller points at: an object of one type, made in one process.
#[repr(C)]
struct Object<N: Opaque> {
    word: u64,
    stamp: Stamp,
    inside: N::Inside,
}

/// An object for the caller.
pub(crate) fn made<N: Opaque>(inside: N::Inside) -> *mut N {
    let (word, stamp) = (N::WORD, Stamp::now());
    Box::into_raw(Box::new(Object::<N> { word, stamp, inside })).cast()
}

/// What is behind a pointer of the caller.
///
/// # Errors
/// `ARG` for NULL and for what is no such object.
///
/// # Safety
/// The caller's promise: the pointer is NULL, or an object of this library that is not freed.
pub(crate) unsafe fn at<'a, N: Opaque>(pointer: *const N) -> Result<&'a N::Inside> {
    if pointer.is_null() {
        return Err(Failure::argument(format!("the {} is NULL", N::NAME)));
    }
    // SAFETY: not NULL, and the caller promises a live object.
    let object = unsafe { &*pointer.cast::<Object<N>>() };
    if object.word != N::WORD {
        return Err(Failure::argument(format!("this is no {}, or one that was freed", N::NAME)));
    }
    Ok(&object.inside)
}

/// A function that can fail, and makes no error of it: a status for the caller.
pub(crate) fn done(work: impl FnOnce() -> Result<()>) -> micro_status {
    micro_bridge::guard(work).map_or_else(|failure| failure.status().0, |()| MICRO_OK)
}

/// Does something with an object of the caller, and says how that ended.
///
/// # Safety
/// As [`at`].
pub(crate) unsafe fn act<N: Opaque>(
    pointer: *const N,
    work: impl FnOnce(&N::Inside) -> Result<()>,
) -> micro_status {
    // SAFETY: the caller's promise is ours.
    done(|| work(unsafe { at(pointer)? }))
}

/// Looks at an object of the caller; `none` where there is none.
///
/// # Safety
/// As [`at`].
pub(crate) unsafe fn look<N: Opaque, T>(
    pointer: *const N,
    none: T,
    look: impl FnOnce(&N::Inside) -> Result<T>,
) -> T {
    // SAFETY: the caller's promise is ours.
    micro_bridge::guard(|| look(unsafe { at(pointer)? })).unwrap_or(none)
}

/// Puts something else behind a pointer.
///
/// # Errors
/// As [`at`].
///
/// # Safety
/// As [`at`], and no other thread uses the object meanwhile.
pub(crate) unsafe fn replace<N: Opaque>(pointer: *mut N, inside: N::Inside) -> Result<()> {
    // SAFETY: the caller's promise is ours; after this look nothing borrows from the object.
    unsafe {
        at(pointer)?;
        (*pointer.cast::<Object<N>>()).inside = inside;
    }
    Ok(())
}

/// Takes an object from the caller and has `end` end it. Does nothing for NULL, for what is not one, and in a child of its
/// process, where it is left alone.
///
/// # Safety
/// As [`at`], and the pointer is not used from now on.
pub(crate) unsafe fn free<N: Opaque>(pointer: *mut N, end: impl FnOnce(N::Inside)) {
    // Most events have no error to free, and that is no mistake to be described.
    if pointer.is_null() {
        return;
    }
    let _ = micro_bridge::guard(|| {
        let object = pointer.cast::<Object<N>>();
        // SAFETY: the caller's promise is ours: what `at` finds comes from `made`, and is used up here. The word is overwritten
        // for a caller that uses it all the same.
        unsafe {
            at(pointer)?;
            if !(*object).stamp.is_foreign() {
                std::ptr::write_volatile(&raw mut (*object).word, 0);
                end(Box::from_raw(object).inside);
            }
        }
        Ok(())
    });
}

/// Where the caller wants something.
///
/// # Errors
/// `ARG` for NULL.
pub(crate) fn place<T>(out: *mut T, what: &str) -> Result<*mut T> {
    let missing = || Failure::argument(format!("no place for the {what}: `out` is NULL"));
    (!out.is_null()).then_some(out).ok_or_else(missing)
}

/// Puts a value where the caller wants it.
///
/// # Safety
/// The caller's promise: NULL or writable.
pub(crate) unsafe fn put<T>(out: *mut T, value: T) -> Result<()> {
    if !out.is_null() {
        // SAFETY: not NULL.
        unsafe { *out = value };
    }
    Ok(())
}
