//! A signal that would end programs which have no say in it.

use std::fmt;
use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// Keeps SIGPIPE from the calling thread, and from every thread that is started meanwhile and by those, for as long as this
/// lives. Programs in C end by that signal unless they ask for something else, and a peer that goes away in the middle of a
/// write is nothing to end for: the write fails, which the core deals with. What the program itself does about signals stays
/// as it is.
///
/// A signal that came to the calling thread meanwhile comes to it when this is dropped: start threads under it, and let those
/// write.
pub struct SigpipeBlocked {
    before: libc::sigset_t,
    /// The mask is the thread's: it is not dropped on another one.
    _thread: PhantomData<*const ()>,
}

impl SigpipeBlocked {
    /// Blocks the signal until this is dropped.
    pub fn new() -> Self {
        let mut broken = MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: both sets are places of ours: `sigemptyset` fills the one, `pthread_sigmask` the other, and neither fails
        // for arguments such as these.
        unsafe {
            libc::sigemptyset(broken.as_mut_ptr());
            libc::sigaddset(broken.as_mut_ptr(), libc::SIGPIPE);
            libc::sigemptyset(before.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_BLOCK, broken.as_ptr(), before.as_mut_ptr());
            Self { before: before.assume_init(), _thread: PhantomData }
        }
    }
}

impl Default for SigpipeBlocked {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for SigpipeBlocked {
    fn drop(&mut self) {
        // SAFETY: the set was filled when this was made, and the null is for a set that nothing asks for.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut())
        };
    }
}

impl fmt::Debug for SigpipeBlocked {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("SigpipeBlocked").finish_non_exhaustive()
    }
}
