//! Content types of the program's own.

use micro_bridge::flags;

use crate::error::{answer, micro_error};
use crate::object::put;
use crate::{micro_slice, micro_status};

/// Gives a content type of the program's own a number, which goes where MICRO_CODEC_* do: for `msgpack`, calls are made and taken
/// as `application/grpc+msgpack`, and by Connect's `application/msgpack`. What their messages mean is the program's business. The
/// same name has the same number for as long as the process runs; it may have 12 of them.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn micro_codec(
    name: micro_slice,
    out: *mut u16,
    err: *mut *mut micro_error,
) -> micro_status {
    // SAFETY: the caller promises a readable name, and writable `out` and `err`.
    unsafe { answer(err, || put(out, flags::declare(name.text("codec")?)?)) }
}
