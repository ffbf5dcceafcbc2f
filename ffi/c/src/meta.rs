//! Metadata: one block of bytes, built and read.

use micro_bridge::{Failure, Headers};

use crate::error::{answer, micro_error};
use crate::{micro_bytes, micro_bytes_release, micro_slice, micro_status};

/// A walk over metadata; begin with `{ blocks, 0, 0 }`.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct micro_meta {
    /// `meta` of an event, what micro_meta_add made, or the rest of one of them.
    pub blocks: micro_slice,
    /// Bytes read, 0 at the beginning.
    pub at: usize,
    /// Entries read, 0 at the beginning.
    pub read: u32,
}

/// The next entry of the first block; false after the last. Values under names that end in "-bin" are bytes as they are, all
/// others printable ASCII. Where trailers follow the headers, go on with micro_meta_rest.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_meta_next(
    walk: *mut micro_meta,
    name: *mut micro_slice,
    value: *mut micro_slice,
) -> bool {
    if walk.is_null() || name.is_null() || value.is_null() {
        return false;
    }
    // SAFETY: none is NULL, and the caller promises that they are what they seem and that the blocks live.
    let entry = micro_bridge::guard(|| unsafe {
        let micro_meta { blocks, at, read } = &mut *walk;
        Ok(Headers::step(blocks.bytes("metadata")?, at, read))
    });
    let Ok(Some((found, bytes))) = entry else { return false };
    // SAFETY: as above.
    unsafe {
        *name = micro_slice::of(found);
        *value = micro_slice::of(bytes);
    }
    true
}

/// What follows the first block: trailers, or nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_meta_rest(blocks: micro_slice) -> micro_slice {
    // SAFETY: the caller promises readable bytes.
    let rest = micro_bridge::guard(|| Ok(Headers::after(unsafe { blocks.bytes("metadata")? })));
    rest.map_or(micro_slice::EMPTY, micro_slice::of)
}

/// Adds an entry to a block, which begins as `{ NULL, 0, NULL }` and belongs to the caller. A name may come several times;
/// bytes go under a name that ends in "-bin". For a name or value that cannot be sent it fails with MICRO_INVALID_ARGUMENT,
/// and the block stays as it was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_meta_add(
    block: *mut micro_bytes,
    name: micro_slice,
    value: micro_slice,
    err: *mut *mut micro_error,
) -> micro_status {
    // SAFETY: the caller promises that `block` is NULL or a block it owns, readable name and value, and a writable `err`.
    unsafe {
        answer(err, || {
            let block = block.as_mut().ok_or_else(|| Failure::argument("the block is NULL"))?;
            let so_far = micro_slice { ptr: block.ptr, len: block.len }.bytes("metadata")?;
            let added =
                micro_bridge::add(so_far, name.text("metadata name")?, value.bytes("value")?)?;
            micro_bytes_release(std::mem::replace(block, micro_bytes::give(added)));
            Ok(())
        })
    }
}
