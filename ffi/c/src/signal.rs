//! A signal that would end programs which have no say in it.

use std::mem::MaybeUninit;

/// Keeps SIGPIPE from the calling thread, and from every thread that is started meanwhile and by those, for as long as this
/// lives. Programs in C end by that signal unless they ask for something else, and a peer that goes away in the middle of a
/// write is nothing to end for: the write fails, which the core deals with. What the program itself does about signals stays
/// as it is.
pub(crate) struct Unbroken(libc::sigset_t);

impl Unbroken {
    pub(crate) fn new() -> Self {
        let mut broken = MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: both sets are places of ours: `sigemptyset` fills the one, `pthread_sigmask` the other, and neither fails
        // for arguments such as these.
        unsafe {
            libc::sigemptyset(broken.as_mut_ptr());
            libc::sigaddset(broken.as_mut_ptr(), libc::SIGPIPE);
            libc::sigemptyset(before.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_BLOCK, broken.as_ptr(), before.as_mut_ptr());
            Self(before.assume_init())
        }
    }
}

impl Drop for Unbroken {
    fn drop(&mut self) {
        // SAFETY: the set was filled when this was made.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut())
        };
    }
}
