//! Forks noticed, and the parent's sockets and locked files closed in the child.

use std::fmt;
use std::marker::PhantomData;
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU32, Ordering};

/// What to do around each fork. A panic in one of these ends it and goes no further.
pub trait Forks: 'static {
    /// Called before a fork, on the thread that forks.
    fn before();

    /// Called after a fork, on the same thread, in the process that goes on.
    fn in_parent();

    /// Called after a fork, in the child, which has that thread alone. After it, what the child has of the core's sockets and
    /// locked files is closed.
    fn in_child();
}

/// Hooks that the system calls around each fork of the process, once they are registered. Made to be a `static`.
pub struct Hooks<F> {
    /// The process that registers them at this moment, [`UNREGISTERED`] or [`REGISTERED`].
    state: AtomicU32,
    _of: PhantomData<fn() -> F>,
}

const UNREGISTERED: u32 = 0;
const REGISTERED: u32 = u32::MAX;

impl<F: Forks> Hooks<F> {
    /// Hooks that are not registered yet.
    pub const fn new() -> Self {
        Self { state: AtomicU32::new(UNREGISTERED), _of: PhantomData }
    }

    /// Registers the hooks, unless they are: with the process, its children get them. If the system has no memory for them,
    /// forks go unnoticed.
    // Not with a `Once`: a fork in the middle of one would leave a child that waits for ever.
    pub fn register(&self) {
        let here = std::process::id();
        loop {
            match self.state.load(Ordering::Acquire) {
                REGISTERED => return,
                // Another thread is about to be done.
                busy if busy == here => std::thread::yield_now(),
                // Unregistered, or the thread of a parent, which is not here.
                seen => {
                    let taken = self.state.compare_exchange(
                        seen,
                        here,
                        Ordering::AcqRel,
                        Ordering::Relaxed,
                    );
                    if taken.is_ok() {
                        // SAFETY: the three functions live as long as the program, because a library with threads of its own
                        // is never unloaded. They do not unwind, and the system calls them on the thread that forks.
                        unsafe {
                            libc::pthread_atfork(
                                Some(before::<F>),
                                Some(in_parent::<F>),
                                Some(in_child::<F>),
                            )
                        };
                        self.state.store(REGISTERED, Ordering::Release);
                        return;
                    }
                }
            }
        }
    }
}

impl<F: Forks> Default for Hooks<F> {
    fn default() -> Self {
        Self::new()
    }
}

impl<F> fmt::Debug for Hooks<F> {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_registered = self.state.load(Ordering::Relaxed) == REGISTERED;
        to.debug_struct("Hooks").field("is_registered", &is_registered).finish()
    }
}

extern "C" fn before<F: Forks>() {
    let _ = catch_unwind(F::before);
}

extern "C" fn in_parent<F: Forks>() {
    let _ = catch_unwind(F::in_parent);
}

extern "C" fn in_child<F: Forks>() {
    let _ = catch_unwind(F::in_child);
    let _ = catch_unwind(close_inherited);
}

/// Puts nothing in the places of the parent's sockets and locked files. Their numbers stay taken: whatever owns them is still
/// there, although it is not used.
fn close_inherited() {
    // SAFETY: the path ends in NUL.
    let nothing = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
    // SAFETY: both numbers are open descriptors. What owned the second is never used in this process: it belongs to the runtime
    // of a parent, and a child has none of the threads of that.
    micro::fork::let_go(|descriptor| unsafe {
        if nothing < 0 || libc::dup2(nothing, descriptor) < 0 {
            libc::close(descriptor);
        } else {
            libc::fcntl(descriptor, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    });
    if nothing >= 0 {
        // SAFETY: opened above, and nothing else has it.
        unsafe { libc::close(nothing) };
    }
}
