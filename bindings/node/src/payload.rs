//! Messages on their way into JavaScript and out of it.

use bytes::Bytes;
use napi::Env;
use napi::bindgen_prelude::BufferSlice;

/// Longest message that is copied; a longer one that nothing else holds changes hands.
const COPIED: usize = 16 * 1024;

/// The first `length` bytes. JavaScript may write over its own after the call.
pub(crate) fn bytes(from: &[u8], length: u32) -> Bytes {
    let length = usize::try_from(length).unwrap_or(usize::MAX).min(from.len());
    Bytes::copy_from_slice(&from[..length])
}

/// A message as a buffer of JavaScript's own.
pub(crate) fn buffer<'env>(env: &'env Env, message: Bytes) -> napi::Result<BufferSlice<'env>> {
    if message.len() <= COPIED {
        return BufferSlice::copy_from(env, &message);
    }
    // JavaScript can write to it, so it must be alone.
    let mut message = match message.try_into_mut() {
        Ok(message) => message,
        Err(shared) => return BufferSlice::copy_from(env, &shared),
    };
    let (start, length) = (message.as_mut_ptr(), message.len());
    // SAFETY: the memory is that of `message`, which has no other owner, lives until the buffer is collected, and moves with
    // its owner no more than any vector's does.
    unsafe { BufferSlice::from_external(env, start, length, message, |_, message| drop(message)) }
}
