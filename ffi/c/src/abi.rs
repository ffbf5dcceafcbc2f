//! Whether a program and this library understand each other.

use micro_bridge::{Failure, Status};

use crate::object::done;
use crate::{micro_event, micro_request, micro_slice, micro_status};

/// Version of this header: the major number changes when something is taken away or means something else, the minor one when
/// something is added.
pub const MICRO_ABI_MAJOR: u32 = 1;
/// See MICRO_ABI_MAJOR.
pub const MICRO_ABI_MINOR: u32 = 0;

/// Version of the library that is loaded, major << 16 | minor.
#[unsafe(no_mangle)]
pub extern "C" fn micro_abi_version() -> u32 {
    MICRO_ABI_MAJOR << 16 | MICRO_ABI_MINOR
}

/// Compares the header a program was compiled with and the library that is loaded: MICRO_OK or MICRO_ABI. Give
/// `MICRO_ABI_MAJOR << 16 | MICRO_ABI_MINOR`, `sizeof(micro_event)` and `sizeof(micro_request)`, before anything else.
#[unsafe(no_mangle)]
pub extern "C" fn micro_abi_check(
    header: u32,
    sizeof_event: u32,
    sizeof_request: u32,
) -> micro_status {
    done(|| {
        let fits = header >> 16 == MICRO_ABI_MAJOR
            && (..=MICRO_ABI_MINOR).contains(&(header & 0xffff))
            && sizeof_event as usize <= size_of::<micro_event>()
            && sizeof_request as usize <= size_of::<micro_request>();
        let other = || Failure::new(Status::ABI, "another version of libmicro");
        fits.then_some(()).ok_or_else(other)
    })
}

/// Version of the library for people, such as "0.1.0". Lives for ever.
#[unsafe(no_mangle)]
pub extern "C" fn micro_version() -> micro_slice {
    micro_slice::of(env!("CARGO_PKG_VERSION").as_bytes())
}
