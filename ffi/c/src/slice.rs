//! Borrowed bytes and text.

use micro_bridge::{Failure, Result};

/// Borrowed bytes: valid for the call they are given to, or for as long as what they were asked of. `ptr` may be NULL when
/// `len` is 0. Text is UTF-8 and need not end in a zero.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct micro_slice {
    /// The first byte.
    pub ptr: *const u8,
    /// How many there are.
    pub len: usize,
}

impl micro_slice {
    /// No bytes.
    pub const EMPTY: Self = Self { ptr: std::ptr::null(), len: 0 };

    /// A view of `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        if bytes.is_empty() { Self::EMPTY } else { Self { ptr: bytes.as_ptr(), len: bytes.len() } }
    }

    /// The bytes, for the length of a call.
    ///
    /// # Errors
    /// `ARG` for a length without bytes, or one that no memory has.
    ///
    /// # Safety
    /// The caller's promise: `len` bytes are readable at `ptr` for as long as `'a`.
    pub(crate) unsafe fn bytes<'a>(self, what: &str) -> Result<&'a [u8]> {
        if self.len == 0 {
            return Ok(&[]);
        }
        if self.ptr.is_null() || self.len > isize::MAX as usize {
            return Err(Failure::argument(format!(
                "{what}: {} bytes at NULL or too many",
                self.len
            )));
        }
        // SAFETY: not NULL, and the caller promises that the bytes are there.
        Ok(unsafe { std::slice::from_raw_parts(self.ptr, self.len) })
    }

    /// The text, for the length of a call.
    ///
    /// # Errors
    /// As [`Self::bytes`], and for what is not UTF-8.
    ///
    /// # Safety
    /// As [`Self::bytes`].
    pub(crate) unsafe fn text<'a>(self, what: &str) -> Result<&'a str> {
        // SAFETY: the caller's promise is ours.
        std::str::from_utf8(unsafe { self.bytes(what)? })
            .map_err(|error| Failure::argument(format!("{what} is not UTF-8: {error}")))
    }
}
