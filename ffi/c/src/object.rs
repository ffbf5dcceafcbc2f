//! Objects behind pointers.

use std::marker::PhantomData;

use micro_bridge::stamp::Stamp;
use micro_bridge::{Failure, Result};

/// A type that C sees as a name only: what it is called, the word at its head, and what is behind it.
pub(crate) trait Named {
    const NAME: &'static str;
    const WORD: u64;
    type Inside;
}

/// What a pointer of the caller points at: an object of one type, made in one process.
#[repr(C)]
pub(crate) struct Object<N: Named> {
    word: u64,
    stamp: Stamp,
    inside: N::Inside,
    kind: PhantomData<N>,
}

impl<N: Named> Object<N> {
    /// Gives an object to the caller. It is made once there is a place for it.
    ///
    /// # Errors
    /// `ARG` when there is nowhere to put it, and what making it fails with.
    ///
    /// # Safety
    /// The caller's promise: `out` is NULL or writable.
    pub(crate) unsafe fn give(
        out: *mut *mut N,
        make: impl FnOnce() -> Result<N::Inside>,
    ) -> Result<()> {
        if out.is_null() {
            return Err(Failure::argument(format!("no place for the {}: `out` is NULL", N::NAME)));
        }
        let inside = make()?;
        let object =
            Box::new(Self { word: N::WORD, stamp: Stamp::now(), inside, kind: PhantomData });
        // SAFETY: not NULL, and the caller promises that it can be written.
        unsafe { *out = Box::into_raw(object).cast() };
        Ok(())
    }

    /// What is behind a pointer of the caller.
    ///
    /// # Errors
    /// `ARG` for NULL and for what is no such object.
    ///
    /// # Safety
    /// The caller's promise: the pointer is NULL, or an object of this library that is not freed.
    pub(crate) unsafe fn at<'a>(pointer: *const N) -> Result<&'a N::Inside> {
        if pointer.is_null() {
            return Err(Failure::argument(format!("the {} is NULL", N::NAME)));
        }
        // SAFETY: not NULL, and the caller promises a live object.
        let object = unsafe { &*pointer.cast::<Self>() };
        if object.word != N::WORD {
            return Err(Failure::argument(format!(
                "this is no {}, or one that was freed",
                N::NAME
            )));
        }
        Ok(&object.inside)
    }

    /// Puts something else behind a pointer.
    ///
    /// # Errors
    /// As [`Self::at`].
    ///
    /// # Safety
    /// As [`Self::at`], and no other thread uses the object meanwhile.
    pub(crate) unsafe fn replace(pointer: *mut N, inside: N::Inside) -> Result<()> {
        // SAFETY: the caller's promise is ours; after this look nothing borrows from the object.
        unsafe {
            Self::at(pointer)?;
            (*pointer.cast::<Self>()).inside = inside;
        }
        Ok(())
    }

    /// Takes an object from the caller and has `end` end it. Does nothing for what cannot be taken.
    ///
    /// # Safety
    /// As [`Self::take`].
    pub(crate) unsafe fn free(pointer: *mut N, end: impl FnOnce(N::Inside)) {
        let _ = micro_bridge::guard(|| {
            // SAFETY: the caller's promise is ours.
            if let Some(inside) = unsafe { Self::take(pointer) } {
                end(inside);
            }
            Ok(())
        });
    }

    /// Takes an object from the caller; `None` for NULL, for what is not one, and in a child of its process, where it is left
    /// alone.
    ///
    /// # Safety
    /// As [`Self::at`], and the pointer is not used from now on.
    unsafe fn take(pointer: *mut N) -> Option<N::Inside> {
        // Most events have no error to free, and that is no mistake to be described.
        if pointer.is_null() {
            return None;
        }
        // SAFETY: the caller's promise is ours.
        unsafe { Self::at(pointer) }.ok()?;
        let object = pointer.cast::<Self>();
        // SAFETY: `at` has looked at it.
        if unsafe { (*object).stamp.is_foreign() } {
            return None;
        }
        // SAFETY: it comes from `give`, and is used up here. The word is overwritten for a caller that uses it all the same.
        let mut object = unsafe {
            std::ptr::write_volatile(&raw mut (*object).word, 0);
            Box::from_raw(object)
        };
        object.word = 0;
        Some(object.inside)
    }
}
