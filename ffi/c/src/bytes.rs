//! Bytes that change hands.

use std::ffi::c_void;

use bytes::Bytes;
use micro_bridge::{Failure, Result, live};

use crate::lent::{Lent, micro_fn};

/// Bytes that change hands. They are owned where `own` is not NULL: release them once, with micro_bytes_release, or pass them
/// to a function that takes them; it owns them then, also when it fails. Where `own` is NULL they are borrowed, and copied by
/// a function that keeps them. Copies of the struct are the same bytes.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct micro_bytes {
    /// The first byte; NULL when there is none.
    pub ptr: *const u8,
    /// How many there are.
    pub len: usize,
    /// Who owns them; for this library alone.
    pub own: *mut c_void,
}

impl micro_bytes {
    /// No bytes.
    pub const EMPTY: Self = Self { ptr: std::ptr::null(), len: 0, own: std::ptr::null_mut() };

    /// Gives `bytes` to the caller.
    pub(crate) fn give(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            return Self::EMPTY;
        }
        live::add(live::BYTES);
        let (ptr, len) = (bytes.as_ptr(), bytes.len());
        Self { ptr, len, own: Box::into_raw(Box::new(bytes)).cast() }
    }

    /// Takes the bytes from the caller, or copies those it lends.
    ///
    /// # Safety
    /// The caller's promise: owned bytes come from this library and are used nowhere else; lent ones are readable.
    pub(crate) unsafe fn take(self, what: &str) -> Result<Bytes> {
        if self.own.is_null() {
            let lent = crate::micro_slice { ptr: self.ptr, len: self.len };
            // SAFETY: the caller's promise is ours.
            return Ok(Bytes::copy_from_slice(unsafe { lent.bytes(what)? }));
        }
        // SAFETY: `own` comes from `give` or from `micro_bytes_wrap`, and is used up here.
        let owned = unsafe { Box::from_raw(self.own.cast::<Bytes>()) };
        live::remove(live::BYTES);
        // The caller may have moved the window over its bytes.
        let start = (self.ptr as usize).wrapping_sub(owned.as_ptr() as usize);
        match start.checked_add(self.len) {
            _ if self.len == 0 => Ok(Bytes::new()),
            Some(end) if end <= owned.len() => Ok(owned.slice(start..end)),
            _ => Err(Failure::argument(format!("{what}: `ptr` and `len` are not within `own`"))),
        }
    }
}

/// A copy of `len` bytes, owned by the caller.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_bytes_copy(ptr: *const u8, len: usize) -> micro_bytes {
    let lent = micro_bytes { ptr, len, own: std::ptr::null_mut() };
    // SAFETY: the caller promises `len` readable bytes.
    micro_bytes::give(unsafe { lent.take("bytes") }.unwrap_or_default())
}

/// Memory of the caller as bytes, without a copy. `release(ctx)` is called once, on any thread, when the memory is no longer
/// needed; until then it must not change. It must return at once and call nothing of this library.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_bytes_wrap(
    ptr: *const u8,
    len: usize,
    release: micro_fn,
    ctx: *mut c_void,
) -> micro_bytes {
    let lent = Lent { ctx, drop: release };
    let slice = crate::micro_slice { ptr, len };
    // SAFETY: the caller promises `len` readable bytes until the release.
    match unsafe { slice.bytes("bytes") } {
        Ok(bytes) if len > 0 => {
            micro_bytes::give(Bytes::from_owner(Wrapped { bytes, _lent: lent }))
        }
        // Dropping it releases the memory.
        _ => micro_bytes::EMPTY,
    }
}

/// Gives bytes back. Does nothing for borrowed ones.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_bytes_release(bytes: micro_bytes) {
    if !bytes.own.is_null() {
        // SAFETY: owned bytes come from this library, and the caller uses them no more.
        drop(unsafe { bytes.take("bytes") });
    }
}

/// Memory of the caller that this library reads, until it is given back.
struct Wrapped {
    bytes: &'static [u8],
    _lent: Lent,
}

impl AsRef<[u8]> for Wrapped {
    fn as_ref(&self) -> &[u8] {
        self.bytes
    }
}
